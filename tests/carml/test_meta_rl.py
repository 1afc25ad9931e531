"""MetaRL in Lightning: it learns within trials, goes on after a kill, is exact over ranks, and speaks SB3."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

from lightning_binding.carml.collector import Collector
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.encoders import MLP
from lightning_binding.carml.memory import GRU, LSTM
from lightning_binding.carml.meta_rl import MetaRL, summary
from lightning_binding.carml.ppo import trial_advantages
from lightning_binding.carml.recall import Recall
from lightning_binding.carml.trials import Trials
from lightning_binding.carml.worlds import BernoulliBandit, Corridor, FindTheArm, PointWorld, World
from lightning_binding.errors import InputError


def adam(groups: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, lr=5e-3, eps=1e-5, fused=True)


def small(world: World | None = None, **options: Any) -> MetaRL:
    torch.manual_seed(0)
    defaults: dict[str, Any] = {"memory": LSTM(16), "optimizer": adam}
    return MetaRL(world or FindTheArm(3, 4), **{**defaults, **options})


def trainer_of(folder: Path, **options: Any) -> Trainer:
    defaults: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "limit_val_batches": 0,
        "default_root_dir": folder,
    }
    return Trainer(**{**defaults, **options})


def weights(module: MetaRL) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


class Order(Callback):
    """Notes what happens when."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: Any) -> None:
        self.seen.append("epoch")

    def on_train_batch_end(self, *args: Any) -> None:
        self.seen.append("step")


@pytest.mark.parametrize("minibatches", [1, 3])
def test_steps_of_accumulated_minibatches_are_whole(minibatches: int, tmp_path: Path) -> None:
    data = TrialsDataModule(envs=6, minibatches=minibatches, eval_trials=8)
    message = rf"accumulate_grad_batches=2, .* {minibatches} of a pass .* --data.minibatches {2 * minibatches} for"
    with pytest.raises(InputError, match=message):
        trainer_of(tmp_path, max_epochs=1, accumulate_grad_batches=2).fit(small(), data)
    trainer = trainer_of(tmp_path, max_epochs=1, accumulate_grad_batches=2)
    trainer.fit(small(), TrialsDataModule(envs=6, minibatches=2 * minibatches, passes=2, eval_trials=8))
    assert trainer.global_step == 2 * minibatches


def test_accumulation_that_is_scheduled_is_whole_too(tmp_path: Path) -> None:
    scheduler = GradientAccumulationScheduler({0: 1, 5: 4})
    data = TrialsDataModule(envs=6, minibatches=2, eval_trials=8)
    with pytest.raises(InputError, match=r"accumulate_grad_batches=4, .* puts 4 minibatches"):
        trainer_of(tmp_path, max_epochs=1, callbacks=[scheduler]).fit(small(), data)


def test_an_epoch_is_one_rollout_and_nothing_is_collected_ahead(tmp_path: Path) -> None:
    order, module = Order(), small()
    module.on_rollout = lambda rollout: order.seen.append("rollout")  # type: ignore[method-assign]
    trainer = trainer_of(tmp_path, max_epochs=2, callbacks=[order])
    trainer.fit(module, TrialsDataModule(envs=4, minibatches=2, passes=2))
    assert order.seen == (["epoch", "rollout"] + ["step"] * 4) * 2
    assert (trainer.global_step, module.num_env_steps) == (8, 2 * 4 * 4)
    assert trainer.num_training_batches == 4


@torch.no_grad()
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_before_a_step_the_ratio_is_one(precision: str, tmp_path: Path) -> None:
    """H1, as the loss sees it, in the precision that learns."""
    module = small(PointWorld(episodes=2, horizon=3), separate_critic=True, normalise_advantages=False)
    module.trainer = trainer_of(tmp_path, precision=precision)
    collector = Collector(module.world.make(6, 0), module.world)
    rollout = module.collect(collector)
    with module.trainer.precision_plugin.forward_context():
        found = module.losses(rollout.batch(torch.arange(6)))
    assert rollout.log_probs is not None
    assert abs(float(found.kl)) < 1e-6
    assert float(found.clipped) == 0
    assert rollout.advantages is not None
    torch.testing.assert_close(found.policy, -rollout.advantages.mean())
    torch.testing.assert_close(found.value, rollout.advantages.square().mean())


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_the_critic_may_have_other_targets_than_the_advantages(scale: float, tmp_path: Path) -> None:
    """With value_lambda 1 they are the discounted returns, whatever the critic says; both in units of return_scale."""
    module = small(gamma=0.9, gae_lambda=0.3, value_lambda=1.0, return_scale=scale, normalise_advantages=False)
    module.trainer = trainer_of(tmp_path)
    rollout = module.collect(Collector(module.world.make(6, 0), module.world))
    seen = rollout.recall[1:, :, -2]
    torch.testing.assert_close(seen, rollout.rewards[:-1])  # the agent sees what the world pays
    returns = [sum(0.9**later * rollout.rewards[now + later] for later in range(4 - now)) for now in range(4)]
    assert rollout.returns is not None
    torch.testing.assert_close(rollout.returns, torch.stack(returns) / scale)  # type: ignore[arg-type]
    assert rollout.values is not None
    expected = trial_advantages(rollout.rewards / scale, rollout.values, 0.9, 0.3)
    torch.testing.assert_close(rollout.advantages, expected)


def test_rewards_are_not_divided_by_zero() -> None:
    with pytest.raises(InputError, match=r"return_scale is 0.*positive"):
        small(return_scale=0)


@pytest.mark.parametrize("stop", [4, 6, 8])
def test_killed_anywhere_it_goes_on_as_if_nothing_had_happened(stop: int, tmp_path: Path) -> None:
    def data() -> TrialsDataModule:
        return TrialsDataModule(envs=6, minibatches=2, passes=2, seed=3)

    saved = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=1, save_top_k=-1)
    whole = small()
    options: dict[str, Any] = {"max_epochs": 3, "enable_checkpointing": True, "callbacks": [saved]}
    trainer_of(tmp_path, **options).fit(whole, data())
    half = small()
    with torch.no_grad():
        for weight in half.parameters():
            weight.zero_()
    trainer = trainer_of(tmp_path, max_epochs=3)
    trainer.fit(half, data(), ckpt_path=str(tmp_path / f"step={stop}.ckpt"), weights_only=True)
    assert trainer.global_step == 12
    assert torch.equal(weights(half), weights(whole))
    assert half.num_env_steps == whole.num_env_steps == 3 * 24


def test_a_checkpoint_holds_world_and_agent(tmp_path: Path) -> None:
    module = small(PointWorld(horizon=5, goals=[[0.5, 0.5]]), encoder=MLP([8]), memory=GRU(12))
    trainer = trainer_of(tmp_path, max_epochs=1)
    trainer.fit(module, TrialsDataModule(envs=4))
    trainer.save_checkpoint(tmp_path / "point.ckpt")
    again = MetaRL.from_checkpoint(tmp_path / "point.ckpt")
    assert isinstance(again.world, PointWorld)
    assert (again.world.horizon, again.world.goals) == (5, [[0.5, 0.5]])
    assert torch.equal(weights(again), weights(module))


def test_it_learns_to_look_and_to_remember(tmp_path: Path) -> None:
    """The best return is 1/3 + 2/3 + 1 + 1 = 3, that without memory 4/3."""
    module = small(gae_lambda=0.3, separate_critic=True)
    trainer = trainer_of(tmp_path, max_epochs=25, limit_val_batches=None, check_val_every_n_epoch=25)
    trainer.fit(module, TrialsDataModule(envs=64, steps=16, eval_trials=2000))
    found = float(trainer.callback_metrics["val/return"])
    assert found > 2.9
    envs = VecMonitor(Recall(FindTheArm(3, 4).make(16, 5)))
    returns, _ = evaluate_policy(module, envs, n_eval_episodes=320, deterministic=True)
    assert returns == pytest.approx(found, abs=0.15)  # by stable-baselines3
    rewards: list[Any] = []
    seen, state = envs.reset(), None
    for _ in range(200):
        actions, state = module.predict(seen, state, np.ones(16, bool), deterministic=True)  # cleared at every step
        seen, paid, *_ = envs.step(actions)
        rewards.append(paid)
    assert 4 * np.mean(rewards) < 2.7


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_find_the_arm(seed: int, tmp_path: Path) -> None:
    from lightning_binding.cli import main

    config = Path(__file__).parents[2] / "configs" / "carml" / "find_the_arm.yaml"
    run = main(["fit", "--config", str(config), f"--seed_everything={seed}", f"--trainer.default_root_dir={tmp_path}"])
    assert float(run.trainer.callback_metrics["val/return"]) >= 4.45


@pytest.mark.long
def test_a_corridor_is_remembered(tmp_path: Path) -> None:
    """The end that was found in the first episode: half of the first episodes succeed, all of the second."""
    module = small(Corridor(5, episodes=2), memory=LSTM(32), separate_critic=True)
    trainer = trainer_of(tmp_path, max_epochs=150, limit_val_batches=None, check_val_every_n_epoch=150)
    trainer.fit(module, TrialsDataModule(envs=64, steps=20, eval_trials=4000))
    assert float(trainer.callback_metrics["val/success_first"]) == pytest.approx(0.5, abs=0.03)
    assert float(trainer.callback_metrics["val/success_last"]) > 0.98


def test_gradients_and_advantages_are_those_of_recurrent_ppo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One episode a trial, one minibatch: the same network with the same weights on the same rollout."""
    monkeypatch.setattr(np.random, "randint", lambda *_: 0)  # theirs would cut a trial at a random place
    world = BernoulliBandit(3, 5)
    envs = Recall(world.make(8, 0), flat=True)
    size = 12
    other = RecurrentPPO(
        "MlpLstmPolicy",
        envs,
        n_steps=10,
        batch_size=80,
        n_epochs=1,
        gamma=0.9,
        gae_lambda=0.7,
        ent_coef=0.02,
        vf_coef=0.3,
        max_grad_norm=1e9,
        policy_kwargs={"lstm_hidden_size": size, "net_arch": {"pi": [], "vf": []}, "optimizer_class": torch.optim.SGD},
        device="cpu",
    )
    other.learn(80)  # the gradient of its one step stays
    module = small(
        world, memory=LSTM(size), separate_critic=True, gamma=0.9, gae_lambda=0.7, entropy_weight=0.02, value_weight=0.3
    )
    module.trainer = trainer_of(tmp_path)
    buffer, policy, agent = other.rollout_buffer, other.policy, module.agent
    rate = policy.optimizer.param_groups[0]["lr"]
    pairs = [
        (policy.lstm_actor, agent.memory.network),
        (policy.lstm_critic, agent.critic_memory.network),  # type: ignore[union-attr]
        (policy.action_net, agent.actor),
        (policy.value_net, agent.critic),
    ]
    with torch.no_grad():
        for theirs, ours in pairs:
            for (_, one), (_, two) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
                two.copy_(one + rate * one.grad)  # its weights before the step
    # Their buffer is flat, environment by environment; ours has time first, trial by trial.
    rollout = module.collect(Collector(world.make(8, 0), world, 10))

    def by_trial(values: Any, width: int) -> torch.Tensor:
        shaped = torch.as_tensor(np.asarray(values), dtype=torch.float).view(8, 2, 5, width)  # env, trial, time
        return shaped.permute(2, 1, 0, 3).reshape(5, 16, width)

    rollout.recall = by_trial(buffer.observations, 6)[..., 1:]
    rollout.features = by_trial(buffer.observations, 6)[..., :1]
    rollout.actions = by_trial(buffer.actions, 1)[..., 0].long()
    rollout.rewards = by_trial(buffer.rewards.swapaxes(0, 1), 1)[..., 0]
    rollout.valid[:] = True
    module.prepare(rollout)
    old = by_trial(buffer.log_probs, 1)[..., 0]
    torch.testing.assert_close(rollout.log_probs, old, atol=1e-5, rtol=1e-5)
    theirs = by_trial(buffer.advantages, 1)[..., 0]
    torch.testing.assert_close(
        rollout.advantages, (theirs - theirs.mean()) / (theirs.std() + 1e-8), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(rollout.returns, by_trial(buffer.returns, 1)[..., 0], atol=1e-5, rtol=1e-5)
    module.losses(rollout.batch(torch.arange(16))).loss.backward()  # type: ignore[no-untyped-call]
    for theirs_, ours in pairs:
        for (name, one), (_, two) in zip(theirs_.named_parameters(), ours.named_parameters(), strict=True):
            torch.testing.assert_close(
                two.grad, one.grad, atol=2e-5, rtol=1e-3, msg=lambda text, n=name: f"{n}: {text}"
            )


def test_what_is_logged(tmp_path: Path) -> None:
    module = small(PointWorld(horizon=3))
    trainer = trainer_of(tmp_path, max_epochs=1, limit_val_batches=None)
    trainer.fit(module, TrialsDataModule(envs=4, eval_trials=10))
    logged = trainer.logged_metrics
    parts = {
        f"train/{name}" for name in ("loss", "policy", "value", "entropy", "kl", "clipped", "env_steps", "dropped")
    }
    of_trials = {f"{name}_{place}" for name in ("return", "success") for place in ("first", "last")} | {"return"}
    times = {f"time/{name}" for name in ("environment", "reward", "policy", "learning")}
    expected = parts | times | {f"{stage}/{name}" for stage in ("train", "val") for name in of_trials}
    assert set(logged) == expected
    assert logged["train/env_steps"] == 4 * 6


@pytest.mark.parametrize("saved", [[2, 3], 5])
def test_one_rank_takes_up_what_several_dropped(saved: Any) -> None:
    module = small()
    module.on_load_checkpoint({"dropped": saved, "num_env_steps": 70, "state_dict": module.state_dict()})
    assert (module.dropped, module.num_env_steps) == (5, 70)


def test_evaluation_is_the_same_every_time(tmp_path: Path) -> None:
    module, data = small(), TrialsDataModule(envs=4, eval_trials=50, deterministic=False)
    trainer = trainer_of(tmp_path, limit_val_batches=None, limit_test_batches=None)
    first, second = (trainer.validate(module, data, verbose=False)[0]["val/return"] for _ in range(2))
    assert first == second
    assert trainer.test(module, data, verbose=False)[0]["test/return"] == first
    predicted = trainer.predict(module, data)
    assert predicted is not None
    assert sum(part["rewards"].shape[1] for part in predicted) == 52  # type: ignore[call-overload, index, union-attr]


def test_summary_leaves_out_what_was_broken() -> None:
    module = small(PointWorld(episodes=2, horizon=3))
    rollout = Collector(module.world.make(4, 0), module.world).collect(module.agent)
    rollout.world_rewards[:] = torch.tensor([1.0, 2.0, 100.0, 3.0])
    rollout.valid[2] = False
    rollout.successes = torch.tensor([[True, False, True, False], [True, True, False, True]])
    found = summary(rollout)
    assert found["return"] == 12
    assert (found["return_first"], found["return_last"]) == (6, 6)
    assert (found["success_first"], found["success_last"]) == (pytest.approx(1 / 3), 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"envs": 0}, "envs is 0; it must be 1 or more"),
        ({"envs": 2}, "a rollout of 2 trials cannot be divided into 4 minibatches, 4 times: give more envs or steps"),
        ({"steps": 6}, "steps is 6, which does not hold whole trials"),
        ({"world": FindTheArm(5, 4)}, r"the action_space of data.world is Discrete\(5\).*made for Discrete\(3\)"),
    ],
)
def test_data_that_do_not_fit_are_explained(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        trainer_of(tmp_path, max_epochs=1).fit(small(), TrialsDataModule(**options))


def test_trials_go_through_every_trial_in_every_pass() -> None:
    module = small()
    rollout = Collector(module.world.make(7, 0), module.world).collect(module.agent)
    rollout.log_probs = rollout.values = rollout.advantages = rollout.returns = rollout.rewards
    rollout.actions = torch.arange(7).expand(4, 7)
    trials = Trials(lambda: rollout, trials=7, minibatches=3, passes=2, seed=0)
    batches = [batch["actions"][0].tolist() for batch in trials]
    assert len(batches) == len(trials) == 6
    for batch in (batches[:3], batches[3:]):
        assert sorted(index for part in batch for index in part) == list(range(7))
        assert [len(part) for part in batch] == [3, 2, 2]
    assert batches[:3] != batches[3:]
