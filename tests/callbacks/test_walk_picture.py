"""Pictures of walks: who starts, where the colour goes, and when they are drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_binding.callbacks import WalkPicture
from lightning_binding.callbacks.walk_picture import HEAT, TRAINING_STEPS, draw_walks, starts


def test_objects_come_first_and_nobody_twice() -> None:
    mask = torch.zeros(40, 40, dtype=torch.uint8)
    mask[8:16, 24:32] = 3
    mask[32:40, 0:8] = 1
    mask[0, 0] = 255
    assert starts(mask, 25, 4)[:2] == [20, 8]  # ids in order: 1 in the last row, 3 in the second
    chosen = starts(mask, 25, 9)
    assert len(set(chosen)) == len(chosen) <= 9
    assert starts(None, 4, 9) == [1, 2, 3, 0] or set(starts(None, 4, 9)) == {0, 1, 2, 3}


def test_colour_lies_where_the_walker_is() -> None:
    video = torch.full((3, 3, 16, 16), 100, dtype=torch.uint8)
    places = torch.zeros(3, 4, 4)
    places[0] = torch.eye(4)
    places[1:, 0, 3] = 1  # a walker of the first node stands on the last in both later frames
    picture = draw_walks(video, places, [0])
    frames = [picture[:, 2:18, 2 + 18 * time : 18 + 18 * time] for time in range(3)]
    assert frames[0][:, 0, 0].tolist() == list(HEAT)  # the frame of the start
    assert frames[0][:, 12, 12].tolist() == [100, 100, 100]
    for frame in frames[1:]:
        expected = [round(100 * 0.3 + value * 0.7) for value in HEAT]
        assert frame[:, 15, 15].tolist() == expected
        assert frame[:, 0, 0].tolist() == [100, 100, 100]


class Still(LightningModule):
    """Walkers of this module stay where they are."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[int, ...]] = []

    def walk_from(self, video: Tensor) -> Tensor:
        self.seen.append(tuple(video.shape))
        return torch.eye(4).expand(len(video), -1, -1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.weight**2

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        return None

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


def pictures(folder: Path, picture: WalkPicture, steps: int, validation: Any = None, **options: Any) -> list[int]:
    """At which steps a run draws."""
    video = torch.full((4, 3, 16, 16), 100, dtype=torch.uint8)
    mask = torch.zeros(4, 16, 16, dtype=torch.uint8)
    mask[:, 8:, 8:] = 1
    clips = DataLoader([{"video": video, "mask": mask}] * 12, batch_size=3)  # type: ignore[arg-type, var-annotated]
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, callbacks=[picture], **{**quiet, **options}
    )
    trainer.fit(Still(), clips, validation)
    return sorted(int(path.stem.removeprefix("step-")) for path in (folder / "walks").glob("*.png"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"limit_val_batches": 0}, {"validation": []}])
def test_without_validation_training_clips_are_drawn(tmp_path: Path, options: dict[str, Any]) -> None:
    if options == {"limit_val_batches": 0}:
        options = {**options, "validation": DataLoader([{"video": torch.zeros(2, 3, 16, 16)}], batch_size=None)}  # type: ignore[arg-type, dict-item]
    assert pictures(tmp_path, WalkPicture(walkers=2, frames=3, every_n_steps=4, scale=1), 11, **options) == [1, 5, 9]
    drawn = torch.from_numpy(np.array(Image.open(tmp_path / "walks" / "step-00000009.png"))).permute(2, 0, 1)
    assert drawn.shape == (3, 2 + 2 * 18, 2 + 3 * 18)
    assert drawn[:, 2 + 8, 2 + 8].tolist() == list(HEAT)  # the object's node is the first walker's
    assert drawn[:, 2 + 15, 2 + 18 + 15].tolist() == [round(100 * 0.3 + value * 0.7) for value in HEAT]


@pytest.mark.filterwarnings("ignore")
def test_training_clips_are_drawn_rarely_where_nothing_is_said(tmp_path: Path) -> None:
    assert pictures(tmp_path, WalkPicture(), 9) == [1]
    assert TRAINING_STEPS == 1000


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("every_n_steps", [None, 1])
def test_with_validation_it_alone_is_drawn(tmp_path: Path, every_n_steps: int | None) -> None:
    sequence = {"video": torch.zeros(5, 3, 16, 16, dtype=torch.uint8)}
    held_out = DataLoader([sequence, sequence], batch_size=None)  # type: ignore[arg-type, var-annotated]
    drawn = pictures(tmp_path, WalkPicture(every_n_steps=every_n_steps), 8, held_out, val_check_interval=2)
    assert drawn == [2, 4, 6, 8]
