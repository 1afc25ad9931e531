"""Options that are changed when a run goes on: each does what the command line says of it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_binding import InputError
from lightning_binding.carml.covariance import DiagonalCovariance, FullCovariance
from lightning_binding.carml.encoders import MLP
from lightning_binding.carml.features import DiscriminativeFeatures, SmallPictures
from lightning_binding.carml.matching import match_components
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.module import CARML
from lightning_binding.carml.reservoir import Reservoir
from lightning_binding.carml.rnd import RNDPretraining
from lightning_binding.carml.scaffold import CHOSEN, NEXT_FIT, RANDOM, Features, Scaffold
from lightning_binding.carml.worlds import PointWorld
from lightning_binding.cli import main

SCAFFOLD = "--model.scaffold.components"
ARGS = ["--model=CARML", "--model.world=PointWorld", "--model.world.episodes=2", "--model.world.horizon=4"]
ARGS += ["--model.memory=GRU", "--model.memory.hidden=4", "--model.first_trajectories=16", "--model.refit_period=1"]
ARGS += ["--model.organise_steps=2", "--model.scaffold=lightning_binding.carml.scaffold.Scaffold"]
ARGS += ["--data=TrialsDataModule", "--data.envs=8", "--data.minibatches=2", "--data.passes=1"]
ARGS += ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.logger=false"]
ARGS += ["--trainer.limit_val_batches=0", "--trainer.enable_model_summary=false"]


def fit(folder: Path, *options: str) -> Any:
    return main(["fit", *ARGS, f"--trainer.default_root_dir={folder}", *options])


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint after the first of two fits, of four tasks."""
    run = fit(tmp_path_factory.mktemp("first"), f"{SCAFFOLD}=4", "--trainer.max_epochs=1")
    assert run.model.scaffold.mixture.components == 4
    return str(run.trainer.checkpoint_callback.best_model_path)


@pytest.mark.parametrize("count", [6, 3])
def test_another_number_of_tasks_holds_from_the_next_fit_on(
    count: int, stopped: str, tmp_path: Path, told: list[str]
) -> None:
    run = fit(tmp_path, f"{SCAFFOLD}={count}", "--trainer.max_epochs=2", f"--ckpt_path={stopped}")
    said = f"model.init_args.scaffold.init_args.components: {count} {NEXT_FIT}; the checkpoint has 4."
    assert said in told
    assert run.model.organised == 2
    assert run.model.scaffold.mixture.components == count
    assert int(run.model.latest.tasks.max()) < count


def test_until_then_the_tasks_stay(stopped: str, tmp_path: Path) -> None:
    options = ["--model.refit_period=9", "--trainer.max_epochs=2", f"--ckpt_path={stopped}"]
    run = fit(tmp_path, f"{SCAFFOLD}=6", *options)
    assert run.model.organised == 1
    assert run.model.scaffold.mixture.components == 4


def test_without_a_fit_to_come_it_is_said_not_to_be_used(stopped: str, tmp_path: Path, told: list[str]) -> None:
    options = ["--model.organise_steps=1", "--trainer.max_epochs=2", f"--ckpt_path={stopped}"]
    run = fit(tmp_path, f"{SCAFFOLD}=6", "--seed_everything=5", "--model.scaffold.seed=5", "--data.seed=5", *options)
    key = "model.init_args.scaffold.init_args"
    assert f"{key}.components: 6 is not used, as all organise steps are done; the checkpoint has 4." in told
    assert f"{key}.seed: 5 {RANDOM}; the checkpoint has 0." in told
    evaluated = "data.init_args.seed: 5 is used in evaluation alone, as random states go on"
    assert f"{evaluated}; the run of the checkpoint had 0." in told
    assert "model.init_args.organise_steps: 1 is used; the checkpoint has 2." in told
    assert run.model.scaffold.mixture.components == 4


def test_what_cannot_be_taken_up_is_a_sentence_and_nothing_else_is_said(
    stopped: str, tmp_path: Path, told: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        fit(tmp_path, f"{SCAFFOLD}=4", "--model.scaffold.features=DiscriminativeFeatures", f"--ckpt_path={stopped}")
    assert "are of Features, and `features` of the scaffold are DiscriminativeFeatures" in capfd.readouterr().err
    assert not [line for line in told if "features" in line]


def test_weights_to_start_from_are_said_not_to_be_used(stopped: str, tmp_path: Path, told: list[str]) -> None:
    options = [f"{SCAFFOLD}=4", "--trainer.max_epochs=1", f"--model.init_from={stopped}", f"--ckpt_path={stopped}"]
    fit(tmp_path, *options)
    (said,) = (line for line in told if "init_from" in line)
    assert "is not used, as the weights are the checkpoint's; the checkpoint has None." in said


def carml(**options: Any) -> CARML:
    given: dict[str, Any] = {"scaffold": Scaffold(3), "reservoir": Reservoir(50), "memory": GRU(4), **options}
    return CARML(PointWorld(episodes=2, horizon=4), **given)


def saved(module: CARML, organised: int = 1) -> dict[str, Any]:
    """What a checkpoint of the module has, after a fit to 40 trajectories."""
    trajectories = torch.randn(40, 4, 2, generator=torch.Generator().manual_seed(0))
    module.reservoir.add(trajectories)
    module.scaffold.fit(trajectories)
    module.organised = organised
    checkpoint: dict[str, Any] = {}
    module.on_save_checkpoint(checkpoint)
    return checkpoint


@pytest.fixture(scope="module")
def states() -> dict[int, dict[str, Any]]:
    """Checkpoints after one, five, and ninety-nine fits."""
    return {organised: saved(carml(), organised) for organised in (1, 5, 99)}


@pytest.mark.parametrize(
    ("option", "becomes"),
    [
        ("lam", None),
        ("refit_period", None),
        ("organise_steps", None),
        ("reward_bound", None),
        ("reservoir.capacity", None),
        ("reservoir.seed", RANDOM),
        ("scaffold", NEXT_FIT),
        ("scaffold.components", NEXT_FIT),
        ("scaffold.covariance", NEXT_FIT),
        ("scaffold.covariance.floor", NEXT_FIT),
        ("scaffold.state_level", NEXT_FIT),
        ("scaffold.calibrated", NEXT_FIT),
        ("scaffold.mean_over_time", None),
        ("scaffold.iterations", NEXT_FIT),
        ("scaffold.features.rounds", NEXT_FIT),
        ("scaffold.held_out", None),
        ("scaffold.seed", RANDOM),
        ("fit_trajectories", NEXT_FIT),
        ("first_trajectories", "is not used, as the first fit is done"),
        ("init_from", "is not used, as the weights are the checkpoint's"),
    ],
)
def test_what_becomes_of_an_option(option: str, becomes: str | None, states: dict[int, dict[str, Any]]) -> None:
    module = carml()
    assert module.when_resumed(option, states[1]) == becomes
    if becomes == NEXT_FIT:
        assert module.when_resumed(option, states[5]) == "is not used, as all organise steps are done"
    assert carml(organise_steps=None).when_resumed("scaffold.components", states[99]) == NEXT_FIT


def test_before_the_first_fit_all_is_used() -> None:
    fresh: dict[str, Any] = {}
    carml().on_save_checkpoint(fresh)
    for option in ("scaffold.components", "scaffold.features", "scaffold.candidates", "first_trajectories", "observed"):
        assert carml().when_resumed(option, fresh) is None
    chosen = carml(scaffold=Scaffold(3, DiscriminativeFeatures(width=2)))
    chosen.on_load_checkpoint(fresh)
    assert not chosen.scaffold.fitted


def test_chosen_numbers_of_tasks_stay() -> None:
    module = carml(scaffold=Scaffold(3, candidates=[2, 4]))
    checkpoint = saved(carml())
    for name in ("components", "candidates"):
        assert module.when_resumed(f"scaffold.{name}", checkpoint) == CHOSEN
    module.on_load_checkpoint(checkpoint)
    module.organise()
    assert module.scaffold.mixture.components == 3  # those of the first fit
    freed = carml(scaffold=Scaffold(5))
    freed.on_load_checkpoint(saved(carml(scaffold=Scaffold(3, candidates=[2]))))
    freed.organise()
    assert freed.scaffold.mixture.components == 5


def test_other_options_of_the_scaffold_hold_from_the_next_fit_on() -> None:
    checkpoint, states = saved(carml()), torch.randn(9, 2)
    before = carml()
    before.on_load_checkpoint(checkpoint)
    other = carml(scaffold=Scaffold(3, covariance=DiagonalCovariance(0.5), state_level=True, iterations=2))
    other.on_load_checkpoint(checkpoint)
    assert torch.equal(other.scaffold.log_likelihood(states), before.scaffold.log_likelihood(states))
    told = other.organise()
    assert other.scaffold.mixture.scale.shape == (3, 2)  # deviations along the axes
    assert float(other.scaffold.mixture.scale.min()) >= 0.5**0.5 - 1e-6
    assert told["organise/iterations"] <= 2


def test_tasks_keep_their_numbers_where_others_come_or_go() -> None:
    middle = torch.tensor([[-6.0, 0.0], [6.0, 0.0], [0.0, 6.0], [0.0, -6.0]])
    trajectories = middle[torch.arange(80) % 4][:, None] + torch.randn(80, 5, 2)
    first = Scaffold(4)
    first.fit(trajectories)
    labels = first.assign(trajectories)
    more, fewer = Scaffold(6), Scaffold(3)
    for other in (more, fewer):
        other.load_state_dict(first.state_dict())
    assert more.fit(trajectories).kept > 0.5
    assert more.mixture.components == 6
    same = more.assign(trajectories) == labels
    assert all(bool(same[labels == task].any()) for task in range(4))  # the others come last
    assert 0.5 < fewer.fit(trajectories).kept < 1
    assert fewer.mixture.components == 3


def test_the_order_of_more_and_of_fewer() -> None:
    old = torch.eye(3).repeat(4, 1)
    new = torch.zeros(12, 5)
    new[torch.arange(12), torch.tensor([4, 0, 2]).repeat(4)] = 1
    heir = match_components(new, old)
    assert heir[:3].tolist() == [4, 0, 2]
    assert sorted(heir.tolist()) == [0, 1, 2, 3, 4]
    back = match_components(old, new)
    assert [back[k].item() for k in (4, 0, 2)] == [0, 1, 2]
    assert sorted(back[[1, 3]].tolist()) == [3, 4]


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [
        (DiscriminativeFeatures(width=3), DiscriminativeFeatures(width=4), r"layers\.1\.weight is \(3, 256\) there"),
        (DiscriminativeFeatures(MLP((8,))), DiscriminativeFeatures(MLP((9,))), "another encoder or width"),
        (DiscriminativeFeatures(width=3), None, "are of DiscriminativeFeatures, and `features`.* are Features"),
        (None, SmallPictures(), "are of Features, and `features` of the scaffold are SmallPictures"),
    ],
)
def test_tasks_of_other_features_are_refused(was: Features | None, now: Features | None, sentence: str) -> None:
    for each in (was, now):
        if isinstance(each, DiscriminativeFeatures):
            each.rounds = each.epochs = 1
    checkpoint = saved(carml(scaffold=Scaffold(3, was)))
    module = carml(scaffold=Scaffold(3, now))
    option = "scaffold.features.width" if type(was) is type(now) else "scaffold.features"
    with pytest.raises(InputError, match=sentence):
        module.when_resumed(option, checkpoint)
    with pytest.raises(InputError, match=sentence):
        module.on_load_checkpoint(checkpoint)
    assert carml(scaffold=Scaffold(3, was)).when_resumed(option, checkpoint) == NEXT_FIT


def test_small_pictures_of_another_size_are_refused() -> None:
    scaffold, other = (Scaffold(2, SmallPictures(size), FullCovariance()) for size in (2, 3))
    scaffold.fit(torch.randint(255, (9, 2, 3, 6, 6), dtype=torch.uint8))
    with pytest.raises(InputError, match=r"small pictures with \{'size': 2"):
        other.load_state_dict(scaffold.state_dict())


def test_tasks_of_another_observation_are_refused() -> None:
    checkpoint = saved(carml())
    checkpoint["carml"]["observed"] = "picture"
    for call in (carml().on_load_checkpoint, lambda found: carml().when_resumed("observed", found)):
        with pytest.raises(InputError, match="observed is 'observation', and the tasks in the checkpoint are of 'pict"):
            call(checkpoint)


def test_novelty_goes_on_at_the_rate_that_is_set() -> None:
    def rnd(**options: Any) -> RNDPretraining:
        return RNDPretraining(PointWorld(), memory=GRU(4), **options)

    checkpoint: dict[str, Any] = {}
    first = rnd(novelty_lr=1e-3)
    first.reward_model.learn(torch.randn(64, 2))
    first.on_save_checkpoint(checkpoint)
    second = rnd(novelty_lr=5e-4)
    assert second.when_resumed("novelty_lr", checkpoint) is None
    second.on_load_checkpoint(checkpoint)
    assert second.reward_model.optimizer.param_groups[0]["lr"] == 5e-4
    assert second.when_resumed("novelty.layers", checkpoint) == "is used, with the weights of the checkpoint"
    with pytest.raises(InputError, match=r"another encoder or width: 1\.weight is \(64, 64\) there and \(8, 64\) here"):
        rnd(novelty_width=8).on_load_checkpoint(checkpoint)
    checkpoint["rnd"]["observed"] = "picture"
    with pytest.raises(InputError, match="the novelty in the checkpoint is of 'picture'"):
        rnd().when_resumed("observed", checkpoint)
