"""The tours run from the first cell to the last."""

import os
import runpy
import warnings
from pathlib import Path

import jupytext
import matplotlib
import pytest
from forks import Fork

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path) -> None:
    notebook = jupytext.read(path)
    assert [cell.cell_type for cell in notebook.cells].count("code") > 3

    def tour() -> None:
        os.chdir(tmp_path)
        matplotlib.use("Agg")
        warnings.simplefilter("ignore")
        runpy.run_path(str(path), run_name="__main__")

    fork = Fork(tour)
    status, text = fork.wait(300)
    fork.close()
    assert status == 0, text[-3000:]
