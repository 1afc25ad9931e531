"""CARML: the alternation, what is paid, and that a stop leaves no trace."""

from pathlib import Path
from typing import Any

import pytest
import torch
from gloo_pool import GlooPool
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.module import CARML
from lightning_binding.carml.reservoir import Reservoir
from lightning_binding.carml.reward import task_reward
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.carml.worlds import PointWorld

HORIZON, ENVS = 5, 8


def world(**options: Any) -> PointWorld:
    return PointWorld(**{"episodes": 3, "horizon": HORIZON, "rewarded": False, **options})


def module(**options: Any) -> CARML:
    torch.manual_seed(0)
    given: dict[str, Any] = {"scaffold": Scaffold(3), "reservoir": Reservoir(100), "first_trajectories": 40}
    given |= {"refit_period": 2, "organise_steps": 3, "memory": GRU(8), "reward_scale": 0.1, **options}
    return CARML(given.pop("world", world()), optimizer=lambda p: torch.optim.Adam(p, 1e-3), **given)


def data() -> TrialsDataModule:
    return TrialsDataModule(envs=ENVS, minibatches=2, passes=1, eval_trials=8, seed=1)


def trainer(**options: Any) -> Trainer:
    given = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    given |= {"enable_model_summary": False, "limit_val_batches": 0, **options}
    return Trainer(**given)


class Watch(Callback):
    """Keeps what happens in a training."""

    def __init__(self) -> None:
        self.rollouts: list[Rollout] = []
        self.organised: list[int] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        assert isinstance(pl_module, CARML)
        if batch_idx == 0:
            self.rollouts.append(pl_module.trainer.datamodule._trials._rollout)
            self.organised.append(pl_module.organised)


def test_tasks_are_organised_every_period_and_no_more_often() -> None:
    carml, watch = module(), Watch()
    running = trainer(max_epochs=9, callbacks=[watch])
    running.fit(carml, data())
    assert watch.organised == [1, 1, 2, 2, 3, 3, 3, 3, 3]
    random, learnt = 3, 9  # 16 trajectories a rollout make 48, of which 40 were asked for
    assert carml.num_env_steps == (random + learnt) * ENVS * 3 * HORIZON
    assert carml.reservoir.seen == (random + 4) * ENVS * 2  # those after the last fit are not kept
    told = {name: float(value) for name, value in running.callback_metrics.items()}
    assert {"train/information", "train/coverage", "organise/kept", "time/organise"} <= set(told)
    assert 0 <= told["train/task_entropy"] <= torch.tensor(3.0).log() + 1e-6
    assert told["train/organised"] == 3


def test_no_end_of_organising_without_a_limit() -> None:
    carml, watch = module(organise_steps=None, refit_period=1), Watch()
    trainer(max_epochs=5, callbacks=[watch]).fit(carml, data())
    assert watch.organised == [1, 2, 3, 4, 5]


def test_a_static_distribution_is_fitted_once() -> None:
    carml, watch = module(organise_steps=1), Watch()
    trainer(max_epochs=5, callbacks=[watch]).fit(carml, data())
    assert watch.organised == [1] * 5


def test_the_first_fit_is_to_what_an_agent_does_that_has_learnt_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    carml = module()
    before = {name: value.clone() for name, value in carml.agent.state_dict().items()}
    organise, seen = carml.organise, []

    def watched() -> dict[str, float]:
        if not carml.scaffold.fitted:
            assert carml.trainer.global_step == 0
            assert all(torch.equal(value, before[name]) for name, value in carml.agent.state_dict().items())
            seen.append(carml.reservoir.trajectories())
        return organise()

    monkeypatch.setattr(carml, "organise", watched)
    paid: list[Tensor] = []

    def on_rollout(rollout: Rollout) -> None:
        paid.append(rollout.rewards)
        CARML.on_rollout(carml, rollout)

    monkeypatch.setattr(carml, "on_rollout", on_rollout)
    trainer(max_epochs=1).fit(carml, data())
    assert [trajectories.shape for trajectories in seen] == [(48, HORIZON, 2)]
    assert [bool((rewards == 0).all()) for rewards in paid] == [True, True, True, False]


def test_every_step_is_paid_for_what_it_led_to() -> None:
    carml, watch = module(lam=0.7, reward_scale=0.5, reward_bound=1.0), Watch()
    trainer(max_epochs=1, callbacks=[watch]).fit(carml, data())
    rollout = watch.rollouts[0]
    states = rollout.states()["observation"]  # (E, T, B, 2)
    assert rollout.tasks is not None
    density = carml.scaffold.log_likelihood(states)
    expected = task_reward(density, carml.scaffold.log_prior, rollout.tasks, 0.7).clamp(-1, 1) / 2
    torch.testing.assert_close(rollout.rewards, expected.flatten(0, 1), atol=1e-5, rtol=1e-5)
    assert float(rollout.rewards.abs().max()) == pytest.approx(0.5)
    torch.testing.assert_close(rollout.recall[1:, :, -2], rollout.rewards[:-1])  # the agent is told of it


def test_tasks_are_drawn_by_their_weights() -> None:
    carml = module()
    carml.scaffold.fit(torch.cat([torch.randn(90, 4, 2), 20 + torch.randn(10, 4, 2)]))
    drawn = carml.reward_model.draw(20_000, torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=3) / 20_000
    torch.testing.assert_close(share, carml.scaffold.log_prior.exp(), atol=0.02, rtol=0)


def test_the_rewards_of_the_world_are_not_looked_at() -> None:
    weights = []
    for rewarded in (False, True):
        carml = module(world=world(rewarded=rewarded))
        trainer(max_epochs=3).fit(carml, data())
        weights.append(torch.cat([value.flatten() for value in carml.agent.state_dict().values()]))
    assert torch.equal(*weights)


def test_trajectories_are_those_of_later_episodes_of_valid_trials() -> None:
    carml = module()
    seen = torch.arange(3 * HORIZON).view(-1, 1, 1).expand(-1, ENVS, 2).float() + 100 * torch.arange(ENVS)[:, None]
    finals = 1000 + torch.arange(3).view(3, 1, 1).expand(3, ENVS, 2).float()
    flat = torch.zeros(3 * HORIZON, ENVS)
    valid = torch.ones(ENVS, dtype=torch.bool)
    valid[2] = False
    rollout = Rollout(3, {"observation": seen}, flat, flat, flat, flat, valid, {"observation": finals})
    found = carml.adapted_trajectories(rollout)
    assert found.shape == (2 * (ENVS - 1), HORIZON, 2)
    assert found[0, :, 0].tolist() == [6, 7, 8, 9, 1001]
    assert found[ENVS - 1, :, 0].tolist() == [11, 12, 13, 14, 1002]
    assert found[2, 0, 0] == 306


def state_of(carml: CARML) -> list[Tensor]:
    mixture = carml.scaffold.mixture.tensors()
    return [*carml.agent.state_dict().values(), *mixture.values(), carml.reservoir.trajectories()]


@pytest.mark.parametrize("steps", [2, 3, 4, 5, 8])  # of two an epoch: between and within rollouts, about fits
def test_a_stop_leaves_no_trace(steps: int, tmp_path: Path) -> None:
    whole = module()
    trainer(max_steps=12, max_epochs=-1).fit(whole, data())
    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    trainer(max_steps=steps, max_epochs=-1, callbacks=[saving], enable_checkpointing=True).fit(module(), data())
    resumed, stop = module(), tmp_path / f"step={steps}.ckpt"
    trainer(max_steps=12, max_epochs=-1).fit(resumed, data(), ckpt_path=stop, weights_only=True)
    assert (resumed.organised, resumed.updates) == (whole.organised, whole.updates)
    assert resumed.reservoir.seen == whole.reservoir.seen
    assert resumed.num_env_steps == whole.num_env_steps
    for ours, expected in zip(state_of(resumed), state_of(whole), strict=True):
        assert torch.equal(ours, expected)


def test_a_checkpoint_is_enough(tmp_path: Path) -> None:
    carml = CARML(world(), Scaffold(4), Reservoir(64), first_trajectories=20, memory=GRU(8), lam=0.5)
    running = trainer(max_epochs=1)
    running.fit(carml, data())
    running.save_checkpoint(tmp_path / "carml.ckpt")
    found = CARML.from_checkpoint(tmp_path / "carml.ckpt")
    assert found.reward_model.lam == 0.5
    states = torch.randn(7, 2)
    torch.testing.assert_close(found.scaffold.log_likelihood(states), carml.scaffold.log_likelihood(states))
    assert len(found.reservoir) == len(carml.reservoir)


def save(rank: int, world_size: int) -> dict[str, Any]:
    carml = module()
    carml.reservoir.add(torch.full((3 + rank, 2, 2), float(rank)))
    carml.scaffold.fit(torch.arange(24.0).view(6, 2, 2) + rank)
    checkpoint: dict[str, Any] = {}
    carml.on_save_checkpoint(checkpoint)
    return checkpoint


def test_a_checkpoint_holds_the_reservoirs_of_all_ranks(gloo: GlooPool) -> None:
    first, second = gloo(save)
    for checkpoint in (first, second):
        kept = [state["kept"] for state in checkpoint["carml"]["reservoirs"]]
        assert [len(each) for each in kept] == [3, 4]
        assert [float(each.mean()) for each in kept] == [0, 1]
    alone = module()
    alone.on_load_checkpoint(first)
    assert len(alone.reservoir) == 7
    assert alone.reservoir.seen == 7
    assert float(alone.reservoir.trajectories().sum()) == 4 * 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"world": PointWorld(episodes=1)}, "set the world's episodes to 2 or more"),
        ({"refit_period": 0}, "refit_period is 0"),
        ({"first_trajectories": 0}, "first_trajectories is 0"),
        ({"observed": "picture"}, "the observations have observation"),
        ({"lam": 1.2}, "lam is 1.2"),
        ({"reward_bound": 0.0}, "bound is 0.0"),
    ],
)
def test_wrong_input(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        module(**options)


def test_more_tasks_than_trajectories() -> None:
    with pytest.raises(InputError, match="200 components cannot be fitted to 48 trajectories"):
        trainer(max_epochs=1).fit(module(scaffold=Scaffold(200)), data())
