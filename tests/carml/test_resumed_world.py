"""A world that is changed when a run goes on: new trials begin, and a sentence says so."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_binding import InputError
from lightning_binding.callbacks import SkillMaps
from lightning_binding.carml.agent import Agent
from lightning_binding.carml.collector import Collector
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.module import CARML
from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.carml.worlds import BernoulliBandit, FindTheArm, PointWorld, TabularMDP, World
from lightning_binding.cli import main


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def collector_of(world: World, count: int = 5) -> Collector:
    return Collector(world.make(count, 3), world, seed=3)


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [
        (TabularMDP(4, 3, episodes=2, horizon=3), TabularMDP(4, 3, episodes=5, horizon=3), "episodes is 5 and was 2"),
        (TabularMDP(4, 3, episodes=2, horizon=3), TabularMDP(4, 3, episodes=2, horizon=7), "horizon is 7 and was 3"),
        (BernoulliBandit(3, 4), BernoulliBandit(3, 6), "horizon is 6 and was 4, pulls is 6 and was 4"),
        (BernoulliBandit(3, 4), FindTheArm(3, 4), "FindTheArm and was .*BernoulliBandit"),
        (PointWorld(horizon=3), PointWorld(horizon=3, reach=0.1), "reach is 0.1 and was 0.2"),
    ],
)
def test_new_trials_begin(was: World, now: World, sentence: str, told: list[str], tmp_path: Path) -> None:
    agent = Agent(was.observation_space, was.action_space, memory=GRU(4))
    first, second, alone = collector_of(was), collector_of(now), collector_of(now)
    first.collect(agent)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    (said,) = told
    assert said.startswith("The world is not that of the checkpoint: ")
    assert said.endswith(". New trials begin.")
    assert re.search(sentence, said)
    alone.seed, alone.rollouts = 3, 1  # what follows a first rollout
    alone.generator.set_state(first.generator.get_state())
    found, expected = second.collect(agent), alone.collect(agent)
    assert torch.equal(found.rewards, expected.rewards)
    assert (found.length, found.trials) == (now.trial_length, 5)


def test_the_same_world_goes_on_without_a_word(told: list[str]) -> None:
    world, agent = TabularMDP(4, 3, 2, 3), Agent(*spaces(TabularMDP(4, 3, 2, 3)), memory=GRU(4))
    first, second = collector_of(world), collector_of(TabularMDP(4, 3, 2, 3))
    first.collect(agent)
    second.load_state_dict(first.state_dict())
    assert told == []
    assert torch.equal(first.collect(agent).rewards, second.collect(agent).rewards)
    before = {name: value for name, value in first.state_dict().items() if name != "world"}
    second.load_state_dict(before)  # of a checkpoint that does not tell its world
    assert told == []


def spaces(world: World) -> tuple[Any, Any]:
    return world.observation_space, world.action_space


def trainer(**options: Any) -> Trainer:
    given: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return Trainer(**given, enable_model_summary=False, limit_val_batches=0, **options)


def test_what_is_left_of_a_rollout_is_learnt_before(tmp_path: Path, told: list[str]) -> None:
    def module(episodes: int) -> MetaRL:
        return MetaRL(TabularMDP(4, 3, episodes, 3), memory=GRU(4), optimizer=lambda p: torch.optim.Adam(p, 1e-3))

    def data(**options: int) -> TrialsDataModule:
        return TrialsDataModule(**{"envs": 8, "minibatches": 2, "passes": 2, **options})

    saving = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_top_k=-1, filename="{step}")
    trainer(max_epochs=1, callbacks=[saving]).fit(module(2), data())
    middle = tmp_path / "step=3.ckpt"
    longer = module(5)
    trainer(max_epochs=2, enable_checkpointing=False).fit(longer, data(), ckpt_path=middle, weights_only=True)
    assert [line for line in told if "episodes is 5 and was 2" in line]
    assert longer.trainer.global_step == 8
    assert longer.num_env_steps == 8 * 3 * (2 + 5)
    for options in ({"minibatches": 4}, {"passes": 3}):
        with pytest.raises(InputError, match="the checkpoint was written while a rollout was learnt from"):
            trainer(max_epochs=2).fit(module(2), data(**options), ckpt_path=middle, weights_only=True)


def test_trajectories_of_another_length_are_no_data_for_the_scaffold() -> None:
    def module(horizon: int, **options: Any) -> CARML:
        given: dict[str, Any] = {"first_trajectories": 16, "memory": GRU(4), **options}
        return CARML(PointWorld(episodes=2, horizon=horizon), Scaffold(3), **given)

    def data(**options: Any) -> TrialsDataModule:
        return TrialsDataModule(envs=8, minibatches=1, passes=1, **options)

    first = trainer(max_epochs=1, callbacks=[SkillMaps()])
    first.fit(module(4), data())
    path = first.checkpoint_callback.best_model_path  # type: ignore[union-attr]
    sentence = "trajectories of 4 steps, and an episode of the world has 6: give the world's horizon as it was"
    with pytest.raises(InputError, match=sentence):
        trainer(max_epochs=2).fit(module(6), data(), ckpt_path=path, weights_only=True)
    other = data(world=PointWorld(episodes=2, horizon=6))
    with pytest.raises(InputError, match=sentence):
        trainer(max_epochs=2).fit(module(4), other, ckpt_path=path, weights_only=True)
    done = module(6, organise_steps=1)  # without fits to come the tasks hold for episodes of any length
    again = trainer(max_epochs=2, callbacks=[SkillMaps()])
    again.fit(done, data(), ckpt_path=path, weights_only=True)
    assert done.latest is not None
    assert done.latest.length == 12


ARGS = ["--model=MetaRL", "--model.world=TabularMDP", "--model.world.states=4", "--model.world.moves=3"]
ARGS += ["--model.memory=GRU", "--model.memory.hidden=4", "--data=TrialsDataModule", "--data.envs=8"]
ARGS += ["--data.minibatches=1", "--data.passes=1", "--data.eval_trials=8", "--trainer.accelerator=cpu"]
ARGS += ["--trainer.enable_progress_bar=false", "--trainer.logger=false", "--trainer.enable_model_summary=false"]


def test_on_the_command_line(tmp_path: Path, told: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    base = [*ARGS, f"--trainer.default_root_dir={tmp_path}"]
    run = main(["fit", *base, "--trainer.max_epochs=1"])
    path = run.trainer.checkpoint_callback.best_model_path
    longer = ["--model.world.episodes=3", "--data.eval_world=TabularMDP", "--data.eval_world.states=4"]
    longer += ["--data.eval_world.moves=3", "--data.eval_world.episodes=4", f"--ckpt_path={path}"]
    again = main(["fit", *base, *longer, "--trainer.max_epochs=2"])
    assert "model.init_args.world.init_args.episodes: 3 is used; the checkpoint has 10." in told
    assert "The world is not that of the checkpoint: episodes is 3 and was 10. New trials begin." in told
    assert again.model.num_env_steps == 8 * 10 * (10 + 3)
    longer[-1] = f"--ckpt_path={again.trainer.checkpoint_callback.best_model_path}"
    judged = main(["validate", *base, *longer])  # nothing of the evaluation of before goes on
    assert judged.trainer.callback_metrics["val/return"] == again.trainer.callback_metrics["val/return"]
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *base, "--model.world.states=6", f"--ckpt_path={path}"])
    asked = "Was this agent made for other observations or actions, or with another encoder, memory, or heads?"
    assert asked in capfd.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["fit", *base, "--model.memory.hidden=6", f"--model.init_from={path}"])
    assert asked in capfd.readouterr().err
