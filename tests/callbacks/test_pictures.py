"""What callbacks draw: samples over training, and the plot of metrics."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_binding.callbacks import MetricPlot, SampleGrid
from lightning_binding.images import make_grid, save_png
from lightning_binding.module import BindingModule


class Painter(BindingModule):
    """Draws pictures whose red is the step and whose green is the index."""

    def __init__(self) -> None:
        super().__init__(optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1))
        self.save_hyperparameters()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = self.weight**2
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/loss", self.weight**2)

    def sample(self, num: int, *, steps: int | None, generator: torch.Generator | None) -> Tensor:
        pictures = torch.zeros(num, 3, 4, 4, dtype=torch.uint8)
        pictures[:, 0] = 10 * self.trainer.global_step
        pictures[:, 1] = torch.arange(num, dtype=torch.uint8)[:, None, None]
        return pictures


def fit(folder: Path, callbacks: list[Any], logger: Any, steps: int = 6) -> None:
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        callbacks=callbacks,
        logger=logger,
        accelerator="cpu",
        enable_progress_bar=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_checkpointing=False,
    )
    loader = DataLoader([torch.zeros(1)] * 3)  # type: ignore[arg-type]
    trainer.fit(Painter(), loader, loader)


def test_grids_are_written_at_the_start_and_at_every_validation(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    fit(tmp_path, [SampleGrid(num=6, columns=3, scale=1)], logger)
    folder = Path(logger.log_dir) / "samples"
    assert sorted(path.name for path in folder.glob("step-*.png")) == [
        "step-00000000.png",
        "step-00000003.png",
        "step-00000006.png",
    ]
    progress = np.asarray(Image.open(folder / "progress.png"))
    assert progress.shape == (3 * 6 + 2, 3 * 6 + 2, 3)  # three times, three columns, oldest on top
    for row, step in enumerate((0, 3, 6)):
        for column in range(3):
            assert tuple(progress[6 * row + 3, 6 * column + 3]) == (10 * step, column, 0)


def test_progress_goes_on_when_a_run_does(tmp_path: Path) -> None:
    logger, first = CSVLogger(tmp_path), SampleGrid(num=2, columns=2, scale=1)
    fit(tmp_path, [first], logger, steps=3)
    second = SampleGrid(num=2, columns=2, scale=1)
    second.load_state_dict(first.state_dict())
    fit(tmp_path, [second], logger, steps=6)
    progress = np.asarray(Image.open(Path(logger.log_dir) / "samples" / "progress.png"))
    assert progress.shape[0] == 3 * 6 + 2  # steps 0, 3 and 6


def test_grids_no_more_often_than_asked(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path)
    fit(tmp_path, [SampleGrid(num=2, every_n_steps=5)], logger)
    names = [path.name for path in (Path(logger.log_dir) / "samples").glob("step-*.png")]
    assert sorted(names) == ["step-00000000.png", "step-00000006.png"]


def test_validate_draws_the_samples_of_a_checkpoint_again(tmp_path: Path, told: list[str]) -> None:
    loader = DataLoader([torch.zeros(1)] * 3)  # type: ignore[arg-type]
    options: dict[str, Any] = {"default_root_dir": tmp_path, "accelerator": "cpu", "enable_progress_bar": False}
    trainer = Trainer(max_steps=3, callbacks=[SampleGrid(num=2)], logger=CSVLogger(tmp_path), **options)
    trainer.fit(Painter(), loader, loader)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    trainer = Trainer(callbacks=[SampleGrid(num=2)], logger=CSVLogger(tmp_path), **options)
    trainer.validate(Painter(), loader, ckpt_path=tmp_path / "run.ckpt", weights_only=True)
    assert len(list((Path(trainer.log_dir or "") / "samples").glob("step-*.png"))) == 1
    del told[:]
    Trainer(fast_dev_run=1, callbacks=[SampleGrid(num=2)], **options).fit(Painter(), loader, loader)
    assert not [line for line in told if "Samples" in line]  # none were drawn


def test_tensorboard_gets_the_grid(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(tmp_path)
    fit(tmp_path, [SampleGrid(num=4)], logger)
    logger.finalize("success")
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert [event.step for event in events.Images("samples")] == [0, 3, 6]


def test_the_plot_holds_every_metric(tmp_path: Path) -> None:
    logger, plot = CSVLogger(tmp_path), MetricPlot(every_n_steps=1)
    fit(tmp_path, [plot], logger)
    assert sorted(plot.history) == ["train/loss", "val/loss"]
    assert sorted(plot.history["train/loss"]) == [1, 2, 3, 4, 5, 6]
    assert sorted(plot.history["val/loss"]) == [3, 6]
    picture = Image.open(Path(logger.log_dir) / "metrics.png")
    assert picture.size[0] > 300
    assert len(np.unique(np.asarray(picture.convert("L")))) > 10

    again = MetricPlot()
    again.load_state_dict(plot.state_dict())
    assert again.history == plot.history


class Once(Callback):
    """Shows a value of its own at the start, as a callback that measures rarely does."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.callback_metrics["val/rare"] = torch.tensor(3.0)


def test_a_value_that_was_not_measured_again_is_one_point(tmp_path: Path) -> None:
    plot = MetricPlot(every_n_steps=1)
    fit(tmp_path, [Once(), plot], CSVLogger(tmp_path))
    assert plot.history["val/rare"] == {0: 3.0}
    assert sorted(plot.history["val/loss"]) == [3, 6]


def test_a_grid_puts_images_row_by_row(tmp_path: Path) -> None:
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, 1, 2, 2)
    grid = make_grid(images, columns=3, padding=1, background=255)
    assert grid.shape == (1, 7, 10)
    assert grid[0, 1, 7] == 2
    assert grid[0, 4, 1] == 3
    assert (grid[0, 4:6, 7:9] == 255).all()
    path = save_png(grid, tmp_path / "new" / "grid.png", scale=2)
    assert np.array_equal(np.asarray(Image.open(path))[::2, ::2], grid[0].numpy())
