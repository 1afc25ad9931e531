"""Scores of sequences: what is logged, written, drawn and left alone, with one process and with two."""

import csv
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from layouts import DAVIS, moving_squares, write_davis, write_jhmdb, write_vip
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_binding.callbacks import MaskScores, ParsingScores, PoseScores
from lightning_binding.data import DAVISDataModule, JHMDBDataModule, VIPDataModule
from lightning_binding.errors import InputError
from lightning_binding.masks import overlay, read_mask
from lightning_binding.metrics import JaccardBoundary

pytestmark = pytest.mark.filterwarnings("ignore:Experiment logs directory")


def late(annotations: Tensor) -> Tensor:
    """Annotations that come a frame late: a result which is good, and not right."""
    return torch.cat([annotations[:1], annotations[:-1]])


class Follower(LightningModule):
    """Returns an annotation a frame late, under its own key; it fails at the sequence of a name."""

    def __init__(self, fails_at: str = "") -> None:
        super().__init__()
        self.fails_at = fails_at
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor]:
        if batch["name"] == self.fails_at:
            raise InputError("no more")
        key = "mask" if "mask" in batch else "points"
        masks = batch[key]
        return {key: late(masks) if len(masks) > 1 else masks.expand(len(batch["video"]), -1, -1)}

    test_step = predict_step = validation_step

    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> Tensor:
        return self.weight**2

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(folder: Path, *callbacks: Any, **options: Any) -> Trainer:
    settings = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    logger = CSVLogger(folder, name="", version="")
    return Trainer(accelerator="cpu", logger=logger, callbacks=list(callbacks), **{**settings, **options})  # type: ignore[arg-type]


def table(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize(("stage", "subset"), [("validate", "val"), ("test", "test")])
def test_masks_are_scored_and_written(tmp_path: Path, stage: str, subset: str, told: list[str]) -> None:
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    (logged,) = getattr(trainer(tmp_path / "run", MaskScores()), stage)(Follower(), data, verbose=False)
    metric, folder = JaccardBoundary(), tmp_path / "run" / "davis"
    for seed, (name, frames) in enumerate(DAVIS.items()):
        truth = moving_squares(1 + seed, frames, seed=seed)[1]
        paths = sorted((folder / name).iterdir())
        assert [path.name for path in paths] == [f"{time:05d}.png" for time in range(frames)]
        assert {Image.open(path).mode for path in paths} == {"P"}
        found = torch.stack([read_mask(path) for path in paths])
        assert torch.equal(found, late(truth))
        metric.update(found, truth, name)
    expected = {name: float(value) for name, value in metric.compute().items()}
    assert logged[f"{subset}/j_and_f"] == pytest.approx(expected["J&F-Mean"], abs=1e-6)
    assert 0.5 < expected["J-Mean"] < 1
    keys = ["j_and_f", "j", "j_recall", "j_decay", "f", "f_recall", "f_decay", "frames_per_second"]
    assert set(logged) == {f"{subset}/{key}" for key in keys}
    assert logged[f"{subset}/f_decay"] == pytest.approx(expected["F-Decay"], abs=1e-6)
    overall = table(folder / f"global_results-{subset}.csv")
    assert overall == [list(expected), [f"{value:.3f}" for value in expected.values()]]
    each = table(folder / f"per-sequence_results-{subset}.csv")
    assert [row[0] for row in each] == ["Sequence", "bear_1", "two-dogs_1", "two-dogs_2"]
    assert any(line.startswith("davis: 2 sequences, 11 frames") and "j_and_f 0." in line for line in told)


class Adapting(Follower):
    """Counts half a second for each frame, as `crw.adaptation.Adaptation` counts what it takes."""

    def __init__(self) -> None:
        super().__init__()
        self.adaptation = SimpleNamespace(seconds=100.0, frames=7)  # of an earlier pass

    def validation_step(self, batch: Mapping[str, Any], batch_idx: int) -> dict[str, Tensor]:
        self.adaptation.seconds += 0.5 * len(batch["video"])
        self.adaptation.frames += len(batch["video"])
        return super().validation_step(batch, batch_idx)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("devices", [1, 2])
def test_the_time_of_adaptation_is_logged(tmp_path: Path, devices: int, told: list[str]) -> None:
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    run = trainer(tmp_path, MaskScores(write=False), devices=devices, strategy="auto" if devices == 1 else "ddp_fork")
    run.validate(Adapting(), data, verbose=False)
    names, values = table(tmp_path / "metrics.csv")
    assert float(dict(zip(names, values, strict=True))["val/adaptation_seconds_per_frame"]) == pytest.approx(0.5)
    if devices == 1:
        assert any("Adaptation took 0.500 s of each frame." in line for line in told)


def test_a_mask_of_the_first_frame_alone_is_propagated_and_not_scored(tmp_path: Path, told: list[str]) -> None:
    root = write_davis(tmp_path / "DAVIS")
    for path in (root / "Annotations" / "480p" / "two-dogs").glob("*[1-9].png"):
        path.unlink()
    data = DAVISDataModule(str(root), num_workers=0)
    (logged,) = trainer(tmp_path, MaskScores()).validate(Follower(), data, verbose=False)
    assert [row[0] for row in table(tmp_path / "davis" / "per-sequence_results-val.csv")] == ["Sequence", "bear_1"]
    assert len(list((tmp_path / "davis" / "two-dogs").iterdir())) == 5
    assert "val/j_and_f" in logged
    assert any("1 sequences are not scored: only their first frame is annotated" in line for line in told)
    for path in (root / "Annotations" / "480p" / "bear").glob("*[1-9].png"):
        path.unlink()
    shutil.rmtree(tmp_path / "davis")
    (logged,) = trainer(tmp_path, MaskScores()).validate(Follower(), data, verbose=False)
    assert set(logged) == {"val/frames_per_second"}
    assert sorted(path.name for path in (tmp_path / "davis").iterdir()) == ["bear", "two-dogs"]


def test_prediction_writes_and_scores_nothing(tmp_path: Path) -> None:
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    found = trainer(tmp_path, MaskScores()).predict(Follower(), data)
    assert found is not None
    assert sorted(path.name for path in (tmp_path / "davis").iterdir()) == ["bear", "two-dogs"]
    for number, name in enumerate(DAVIS):
        masks = torch.stack([read_mask(path) for path in sorted((tmp_path / "davis" / name).iterdir())])
        assert torch.equal(masks, found[number]["mask"])  # type: ignore[index, call-overload]


def test_what_is_written_stays_when_a_later_sequence_fails(tmp_path: Path) -> None:
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    with pytest.raises(InputError, match="no more"):
        trainer(tmp_path, MaskScores()).validate(Follower("two-dogs"), data, verbose=False)
    assert len(list((tmp_path / "davis" / "bear").iterdir())) == 6


def test_each_pass_begins_anew_and_a_checkpoint_can_watch(tmp_path: Path) -> None:
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    data.setup("fit")
    watching = ModelCheckpoint(tmp_path / "best", monitor="val/j_and_f", mode="max")
    run = trainer(tmp_path, MaskScores(), watching, max_epochs=2, enable_checkpointing=True, log_every_n_steps=1)
    clips = DataLoader([torch.zeros(1)])  # type: ignore[arg-type, var-annotated]
    run.fit(Follower(), clips, data.val_dataloader())
    (alone,) = trainer(tmp_path / "alone", MaskScores()).validate(Follower(), data, verbose=False)
    assert watching.best_model_score is not None
    assert float(watching.best_model_score) == pytest.approx(alone["val/j_and_f"], abs=1e-6)


@pytest.mark.parametrize(
    ("scores", "options"), [(MaskScores(), {"fast_dev_run": True}), (MaskScores(write=False, pictures=0), {})]
)
def test_nothing_is_written_where_it_is_not_wanted(
    tmp_path: Path, scores: MaskScores, options: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    (logged,) = trainer(tmp_path / "here" / "run", scores, **options).validate(Follower(), data, verbose=False)
    assert logged["val/j_and_f"] > 0.5
    assert {path.name for path in (tmp_path / "here").glob("**/*.*")} <= {"metrics.csv"}


def test_pictures_show_results_above_the_truth(tmp_path: Path) -> None:
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    trainer(tmp_path, MaskScores(folder="masks", pictures=1)).validate(Follower(), data, verbose=False)
    assert [path.name for path in (tmp_path / "masks_pictures").iterdir()] == ["bear.png"]
    picture = torch.from_numpy(np.array(Image.open(tmp_path / "masks_pictures" / "bear.png"))).permute(2, 0, 1)
    sequence = data.eval_set()[0]
    assert picture.shape == (3, 2 + 2 * (48 + 2), 2 + 6 * (64 + 2))
    for row, masks in enumerate((late(sequence["mask"]), sequence["mask"])):
        for column in range(6):
            top, left = 2 + 50 * row, 2 + 66 * column
            shown = picture[:, top : top + 48, left : left + 64]
            assert torch.equal(shown, overlay(sequence["video"][column], masks[column]))


def test_joints(tmp_path: Path) -> None:
    data = JHMDBDataModule(str(write_jhmdb(tmp_path / "JHMDB")), num_workers=0)
    scores = PoseScores(thresholds=(0.1, 0.11))
    (logged,) = trainer(tmp_path, scores).validate(Follower(), data, verbose=False)
    assert 0.1 < 2 / (0.6 * np.hypot(16, 28)) < 0.11  # the joints fill 16 x 28 px, and are found 2 px away
    assert logged["val/pck_0.1"] == 0
    assert logged["val/pck_0.11"] == 100
    written = np.load(tmp_path / "jhmdb" / "catch" / "A_clip_of_0.npz")
    np.testing.assert_array_equal(written["points"], late(data.eval_set()[0]["points"]).numpy())
    assert written["frames"].tolist() == ["00001", "00002", "00003", "00004", "00005"]
    assert table(tmp_path / "jhmdb" / "results-val.csv")[0] == ["pck_0.1", "pck_0.11"]
    assert {path.name for path in (tmp_path / "jhmdb_pictures").iterdir()} == {
        "catch-A_clip_of_0.png",
        "walk-A_clip_of_1.png",
    }


def test_parts(tmp_path: Path) -> None:
    data = VIPDataModule(str(write_vip(tmp_path / "VIP")), num_workers=0)
    (logged,) = trainer(tmp_path, ParsingScores()).validate(Follower(), data, verbose=False)
    shared, either = torch.zeros(20), torch.zeros(20)
    for sequence in (data.eval_set()[index] for index in range(2)):
        for number in range(20):
            found, truth = late(sequence["mask"]) == number, sequence["mask"] == number
            shared[number] += (found & truth).sum()
            either[number] += (found | truth).sum()
    expected = float((shared / either)[either > 0].mean())
    assert 0.5 < expected < 1
    assert logged["val/miou"] == pytest.approx(expected, abs=1e-6)
    assert (tmp_path / "vip" / "videos2" / "000000000100.png").is_file()
    assert table(tmp_path / "vip" / "results-val.csv") == [["miou"], [f"{expected:.4f}"]]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("scores", "module", "write"),
    [
        (MaskScores, DAVISDataModule, lambda root: write_davis(root, {"a": 6, "b": 5, "c": 3})),
        (PoseScores, JHMDBDataModule, lambda root: write_jhmdb(root, clips=3)),
        (ParsingScores, VIPDataModule, lambda root: write_vip(root, sequences=3)),
    ],
)
def test_two_ranks_score_and_write_what_one_does(
    tmp_path: Path, scores: Callable[[], Any], module: Callable[..., Any], write: Callable[[Path], Path]
) -> None:
    root = str(write(tmp_path / "data"))
    written = []
    for devices, strategy in ((1, "auto"), (2, "ddp_fork")):
        folder = tmp_path / strategy
        run = trainer(folder, scores(), devices=devices, strategy=strategy)
        run.validate(Follower(), module(root, num_workers=0), verbose=False)
        results = next(path for path in folder.iterdir() if path.is_dir() and not path.name.endswith("_pictures"))
        written.append({str(path.relative_to(results)): path.read_bytes() for path in results.glob("**/*.*")})
        (values,) = table(folder / "metrics.csv")[1:]
        written[-1]["log"] = [  # type: ignore[assignment]
            f"{float(value):.5f}"
            for key, value in zip(table(folder / "metrics.csv")[0], values, strict=True)
            if not key.endswith("second")
        ]
    assert written[0] == written[1]


@pytest.mark.filterwarnings("ignore")
def test_a_rank_without_annotations_takes_part(tmp_path: Path) -> None:
    root = write_davis(tmp_path / "DAVIS")
    for path in (root / "Annotations" / "480p" / "two-dogs").glob("*[1-9].png"):
        path.unlink()
    run = trainer(tmp_path, MaskScores(), devices=2, strategy="ddp_fork")
    run.validate(Follower(), DAVISDataModule(str(root), num_workers=0), verbose=False)
    assert [row[0] for row in table(tmp_path / "davis" / "per-sequence_results-val.csv")] == ["Sequence", "bear_1"]


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    data = DAVISDataModule(str(write_davis(tmp_path / "DAVIS")), num_workers=0)
    with pytest.raises(InputError, match="PoseScores needs a 'points' in each sequence, which has video, mask, name"):
        trainer(tmp_path, PoseScores()).validate(Follower(), data, verbose=False)

    class Silent(Follower):
        def validation_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
            return None

    with pytest.raises(InputError, match="MaskScores needs a 'mask' in each output of the model's step, which is None"):
        trainer(tmp_path, MaskScores()).validate(Silent(), data, verbose=False)
    with pytest.raises(InputError, match="pictures is -1; it must be 0"):
        MaskScores(pictures=-1)
