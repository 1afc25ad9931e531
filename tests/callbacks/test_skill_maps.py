"""Pictures of tasks: what is kept, what is drawn, and for whom they are."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from matplotlib.collections import LineCollection
from PIL import Image

from lightning_binding import InputError
from lightning_binding.callbacks import ClusterMontage, SkillMaps
from lightning_binding.callbacks.cluster_montage import draw_clusters
from lightning_binding.callbacks.skill_maps import draw_skills
from lightning_binding.carml.covariance import DiagonalCovariance
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.features import SmallPictures
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.module import CARML
from lightning_binding.carml.reservoir import Reservoir
from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.carml.worlds import BernoulliBandit, PointWorld


def carml(pictures: bool = False, **options: Any) -> CARML:
    torch.manual_seed(0)
    scaffold = Scaffold(3, SmallPictures(4), DiagonalCovariance()) if pictures else Scaffold(3)
    world = PointWorld(episodes=2, horizon=4, rewarded=False, pictures=pictures)
    given = {"first_trajectories": 16, "refit_period": 1, "organise_steps": 3, "memory": GRU(8), **options}
    return CARML(world, scaffold, Reservoir(64), **given)


def fit(module: MetaRL, folder: Path, *callbacks: Any, epochs: int = 4, **options: Any) -> Trainer:
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, default_root_dir=folder, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(module, TrialsDataModule(envs=16, minibatches=1, passes=1), **options)
    return trainer


def test_a_figure_shows_the_trajectories_of_each_step() -> None:
    places = torch.rand(30, 5, 2) * 2 - 1
    kept = {"places": places, "tasks": torch.arange(30) % 3, "entropy": torch.rand(30)}
    figure = draw_skills({1: kept, 2: {name: value[:9] for name, value in kept.items()}}, ((-1, 1), (-1, 1)))
    panels = figure.axes
    assert len(panels) == 6
    lines = [each for each in panels[0].collections if isinstance(each, LineCollection)]
    segments = lines[0].get_segments()
    assert torch.allclose(torch.from_numpy(segments[7]).float(), places[7])
    colours = lines[0].get_colors()
    assert [bool((colours[0] == colours[other]).all()) for other in (1, 2, 3)] == [False, False, True]
    assert panels[0].get_title() == "organise step 1"
    visits = [panel.images[0].get_array() for panel in panels if panel.images]
    counted = [sum(math.expm1(float(value)) for value in each.ravel()) for each in visits]
    assert counted == pytest.approx([150, 45], rel=1e-4)


def test_maps_are_kept_for_every_organise_step(tmp_path: Path, told: list[str]) -> None:
    maps = SkillMaps(trajectories=20)
    module = carml()
    fit(module, tmp_path, maps)
    path = tmp_path / "skills" / "progress.png"
    assert Image.open(path).size[0] > 500
    assert [line for line in told if "Skill maps:" in line]
    assert sorted(maps._steps) == [1, 2, 3]
    assert [len(kept["places"]) for _, kept in sorted(maps._steps.items())] == [16, 16, 20]  # 3 is that of two epochs
    assert module.latest is not None
    last = module.latest.positions.view(2, 4, 16, 2)[1].movedim(1, 0)
    assert torch.equal(maps._steps[3]["places"][:16], last)
    assert torch.equal(maps._steps[3]["tasks"][:16], module.latest.tasks)
    resumed = SkillMaps()
    resumed.load_state_dict(maps.state_dict())
    assert torch.equal(resumed._steps[1]["entropy"], maps._steps[1]["entropy"])
    assert bool((resumed._steps[1]["entropy"] <= math.log(3) + 1e-5).all())


def test_a_row_of_clusters_has_the_surest_trajectories() -> None:
    seen = (torch.arange(6)[:, None, None, None, None] * 10 + torch.arange(4)[:, None, None, None]).expand(
        6, 4, 1, 2, 2
    )
    sure = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.99, 0.01], [0.2, 0.8], [0.8, 0.2], [0.7, 0.3]]).log()
    picture = draw_clusters(seen.to(torch.uint8), sure, 2, 2)
    assert picture.shape == (1, 2 + 2 * 4, 2 + 4 * 4)
    assert picture[0, 2, 2::4].tolist() == [22, 23, 2, 3]  # trajectories 2 and 0, at times 2 and 3
    assert picture[0, 6, 2::4].tolist() == [32, 33, 0, 0]  # one trajectory alone is the second task's


def test_montages_are_drawn_after_every_organise_step_and_change_nothing(tmp_path: Path) -> None:
    module = carml(pictures=True)
    fit(module, tmp_path, ClusterMontage(trajectories=2, frames=2))
    names = sorted(path.name for path in (tmp_path / "clusters").iterdir())
    assert names == ["organise-01.png", "organise-02.png", "organise-03.png"]
    assert Image.open(tmp_path / "clusters" / names[0]).size == (2 + 4 * 66, 2 + 3 * 66)
    plain = carml(pictures=True)
    fit(plain, tmp_path)
    for ours, expected in zip(module.agent.parameters(), plain.agent.parameters(), strict=True):
        assert torch.equal(ours, expected)


def test_they_are_for_carml_and_what_it_sees(tmp_path: Path) -> None:
    bandit = MetaRL(BernoulliBandit(2, 3), memory=GRU(4))
    for callback in (SkillMaps(), ClusterMontage()):
        with pytest.raises(InputError, match="MetaRL has none"):
            fit(bandit, tmp_path, callback)
    with pytest.raises(InputError, match="choose a world with pictures"):
        fit(carml(), tmp_path, ClusterMontage())
