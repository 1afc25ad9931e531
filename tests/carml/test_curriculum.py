"""The curriculum of the quickstart, from organise step to organise step."""

import csv
from pathlib import Path
from statistics import mean

import pytest

from lightning_binding.cli import main

QUICKSTART = Path(__file__).parents[2] / "configs" / "carml" / "quickstart.yaml"
STEP = 60  # rollouts of an organise step


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_tasks_places_and_transfer_grow(seed: int, tmp_path: Path) -> None:
    """No step has to be better than the one before, for the tasks are made anew; the third is better than the first."""
    options = [f"--seed_everything={seed}", f"--trainer.max_epochs={3 * STEP}", "--trainer.callbacks=null"]
    options += [f"--trainer.default_root_dir={tmp_path}", "--trainer.enable_progress_bar=false"]
    main(["fit", f"--config={QUICKSTART}", *options])
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))

    def of_step(name: str, step: int) -> float:
        epochs = range(STEP * (step - 1), STEP * step)
        return mean(float(row[name]) for row in rows if row.get(name) and int(row["epoch"]) in epochs)

    assert of_step("train/organised", 3) == 3
    assert of_step("train/information", 3) > of_step("train/information", 1) + 0.3  # nats
    assert of_step("train/coverage", 3) > of_step("train/coverage", 1) + 0.2
    assert of_step("train/paid", 3) > of_step("train/paid", 1) + 1
    assert of_step("val/success_last", 3) > of_step("val/success_last", 1) + 0.05  # at the end of each
    assert of_step("val/success_last", 3) > 0.3  # 0.04 at the random start
