"""DAVIS, VIP and JHMDB from the command line: the files that are written, scored again by another hand."""

import mask_scores  # noqa: F401  # isort: skip  (vos-benchmark without libGL)

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from layouts import DAVIS, write_davis, write_jhmdb, write_vip
from PIL import Image
from vos_benchmark.benchmark import VideoEvaluator

from lightning_binding.cli import main
from lightning_binding.masks import read_mask
from lightning_binding.metrics import JaccardBoundary

CONFIGS = Path(__file__).parents[2] / "configs" / "crw"
SMALL = ["--model.backbone=resnet10t", "--data.num_workers=0", "--trainer.accelerator=cpu"]
AS_IT_IS = "--model.propagation_options={}"  # frames keep their size


def validate(name: str, root: Path, run: Path, *options: str) -> dict[str, torch.Tensor]:
    """The log of a recipe on a tiny dataset, with a tiny network."""
    options = (f"--data.root={root}", f"--trainer.default_root_dir={run}", *SMALL, *options)
    cli = main(["validate", "--config", str(CONFIGS / name), *options])
    found: dict[str, torch.Tensor] = cli.trainer.callback_metrics
    return found


def test_davis(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "DAVIS")
    logged = validate("davis.yaml", root, tmp_path / "run")
    results, truth = tmp_path / "run" / "davis", root / "Annotations" / "480p"
    metric, by_others = JaccardBoundary(), []
    for name, frames in DAVIS.items():
        paths = sorted((results / name).iterdir())
        assert [path.name for path in paths] == [f"{time:05d}.png" for time in range(frames)]
        assert {(picture.mode, picture.size) for picture in map(Image.open, paths)} == {("P", (64, 48))}
        masks = [torch.stack([read_mask(folder / name / path.name) for path in paths]) for folder in (results, truth)]
        assert torch.equal(masks[0][0], masks[1][0])
        metric.update(*masks, name)
        _, areas, outlines = VideoEvaluator(str(truth), str(results))(name)
        by_others += [(areas[number], outlines[number]) for number in areas]
    assert float(logged["val/j_and_f"]) == pytest.approx(float(metric.compute()["J&F-Mean"]), abs=1e-6)
    assert len(by_others) == 3
    assert float(logged["val/j_and_f"]) == pytest.approx(np.mean(by_others) / 100, abs=1e-6)
    with (results / "global_results-val.csv").open(newline="") as file:
        (overall,) = csv.DictReader(file)
    assert float(overall["J&F-Mean"]) == pytest.approx(float(logged["val/j_and_f"]), abs=5e-4)
    assert (results / "per-sequence_results-val.csv").read_text().count("\n") == 4
    assert (tmp_path / "run" / "davis_pictures" / "two-dogs.png").is_file()
    assert list((tmp_path / "run").glob("events.out.*"))


def test_vip(tmp_path: Path) -> None:
    logged = validate("vip.yaml", write_vip(tmp_path / "VIP"), tmp_path / "run", AS_IT_IS)
    assert 0.2 < logged["val/miou"] < 1  # a quarter of the frames is given
    assert Image.open(tmp_path / "run" / "vip" / "videos2" / "000000000025.png").size == (64, 48)


def test_jhmdb(tmp_path: Path) -> None:
    root = write_jhmdb(tmp_path / "JHMDB")
    logged = validate("jhmdb.yaml", root, tmp_path / "run", AS_IT_IS)
    assert 0 <= logged["val/pck_0.1"] <= logged["val/pck_0.5"] <= 100
    points = np.load(tmp_path / "run" / "jhmdb" / "walk" / "A_clip_of_1.npz")["points"]
    assert points.shape == (5, 15, 2)
    np.testing.assert_allclose(points[0, 3], [24, 10])


def test_a_copy_that_is_not_whole_stops_the_command_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_davis(tmp_path / "DAVIS")
    (root / "Annotations" / "480p" / "bear" / "00002.png").unlink()
    with pytest.raises(SystemExit, match="2"):
        validate("davis.yaml", root, tmp_path / "run")
    assert "has 5 annotations for 6 frames, 00002.png is missing" in capsys.readouterr().err
