"""Points: they stay on what stays, follow what moves, and what is not there is NaN."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lightning_binding.crw.points import coordinates, gaussians, track
from lightning_binding.crw.settings import PRESETS, PropagationSettings
from lightning_binding.errors import InputError

STRIDE, ROWS, COLUMNS = 8, 12, 16
SETTINGS = PropagationSettings(context=4, radius=4)


def numbered(dy: int = 0, dx: int = 0) -> Tensor:
    """A frame in which every cell of 8 x 8 pixels has a grey of its own, rolled by cells: uint8 (3, 96, 128)."""
    cells = torch.arange(ROWS * COLUMNS, dtype=torch.uint8).view(ROWS, COLUMNS).roll((dy, dx), (0, 1))
    return cells.repeat_interleave(STRIDE, 0).repeat_interleave(STRIDE, 1).expand(3, -1, -1)


def directions(frames: Tensor) -> Tensor:
    """Features in which every grey has a direction of its own, (F, 192, 12, 16)."""
    return torch.eye(ROWS * COLUMNS)[frames[:, 0, ::STRIDE, ::STRIDE].long()].permute(0, 3, 1, 2)


def random_points(count: int, margin: float) -> Tensor:
    size = torch.tensor([COLUMNS * STRIDE, ROWS * STRIDE])
    return margin + torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * (size - 2 * margin)


@pytest.mark.parametrize(("subcell", "cells"), [(False, 0.85), (True, 0.25)])
def test_points_stay_in_a_still_video(subcell: bool, cells: float) -> None:
    points = random_points(30, margin=STRIDE)
    found = list(track([numbered()] * 5, points, directions, SETTINGS, subcell=subcell))
    assert torch.equal(found[0], points)
    for later in found[1:]:
        assert (later - points).norm(dim=1).max() < cells * STRIDE
        torch.testing.assert_close(later, found[1])


@pytest.mark.parametrize("subcell", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
def test_points_follow_what_moves(subcell: bool, batch: int) -> None:
    points = random_points(20, margin=4 * STRIDE) - 2 * STRIDE
    video = (numbered(time // 2, time) for time in range(4))  # a stream
    found = list(track(video, points, directions, SETTINGS, batch=batch, subcell=subcell))
    assert len(found) == 4
    for time, later in enumerate(found):
        moved = points + STRIDE * torch.tensor([time, time // 2])
        assert (later - moved).norm(dim=1).max() < 0.85 * STRIDE


def test_a_cell_is_read_out_as_the_mean_of_its_three_best_cells() -> None:
    labels = torch.zeros(4, 5, 2)
    labels[1, 2, 0], labels[1, 3, 0], labels[2, 2, 0], labels[0, 0, 0] = 0.5, 0.25, 0.25, 0.1
    labels[3, 4, 1] = 1
    torch.testing.assert_close(coordinates(labels), torch.tensor([[2.25, 1.25], [4.0, 3.0]]))
    torch.testing.assert_close(coordinates(labels, cells=1), torch.tensor([[2.0, 1.0], [4.0, 3.0]]))
    torch.testing.assert_close(coordinates(labels, cells=5)[0], torch.tensor([2.25, 1.25]) / 1.1)


def test_the_settings_say_how_many_cells_a_point_is_read_out_from() -> None:
    points = torch.tensor([[41.0, 42.0]])
    found = {
        cells: list(track([numbered()] * 2, points, directions, PropagationSettings(context=0, point_cells=cells)))[1]
        for cells in (1, 3)
    }
    assert found[1].tolist() == [[40.0, 40.0]]  # the cell itself
    assert found[1].tolist() != found[3].tolist()


@given(st.floats(1, 14), st.floats(1, 10))
def test_gaussians(x: float, y: float) -> None:
    point = torch.tensor([[x, y]], dtype=torch.float64)
    rounded, exact = gaussians(point, ROWS, COLUMNS), gaussians(point, ROWS, COLUMNS, subcell=True)
    row, column = int(y + 0.5), int(x + 0.5)
    assert rounded[row, column] == 1
    assert rounded.count_nonzero() == 9  # three deviations are one cell and a half
    torch.testing.assert_close(rounded[row - 1, column], torch.exp(torch.tensor([-2.0], dtype=torch.float64)))
    squared = torch.tensor((row - y) ** 2 + (column - x) ** 2, dtype=torch.float64)
    torch.testing.assert_close(exact[row, column, 0], torch.exp(-2 * squared))
    assert ((coordinates(exact) - point).abs() < 0.2).all()


def test_what_is_not_there_is_nan() -> None:
    points = torch.tensor([[40.0, 40.0], [float("nan"), 8.0], [-90.0, 8.0], [60.0, 500.0]])
    found = torch.stack(list(track([numbered()] * 3, points, directions, SETTINGS)))
    assert not found[:, 0].isnan().any()
    assert found[1:, 1:].isnan().all()
    assert torch.equal(found[0].nan_to_num(-1), points.nan_to_num(-1))


def test_a_point_is_lost_where_nothing_resembles_its_surroundings() -> None:
    corner = torch.zeros(3, ROWS * STRIDE, COLUMNS * STRIDE, dtype=torch.uint8)  # everywhere as the first cell
    nearest = PropagationSettings(context=1, top_k=1, pad_with_first_frame=False)
    found = list(track([numbered(), corner, numbered()], torch.tensor([[40.0, 40.0]]), directions, nearest))
    assert found[1].isnan().all()
    assert (found[2] - found[0]).norm() < STRIDE  # the first frame is always looked at again


def test_a_grid_that_does_not_divide_the_video() -> None:
    """107 cells of a video of 854 pixels: places are in proportion, as in the protocol."""
    video = torch.zeros(2, 3, 40, 60, dtype=torch.uint8)

    def encode(frames: Tensor) -> Tensor:
        return torch.eye(7 * 11).view(1, -1, 7, 11).expand(len(frames), -1, -1, -1)

    points = torch.tensor([[60 / 11 * 5, 40 / 7 * 3]])
    assert ((list(track(video, points, encode, SETTINGS))[1] - points).abs() < 1).all()


def test_the_preset_of_the_protocol_squeezes_the_frames() -> None:
    """Points are in pixels of the video, whatever the size that it is encoded at."""
    sizes: list[tuple[int, ...]] = []

    def encode(frames: Tensor) -> Tensor:
        sizes.append(tuple(frames.shape))
        return torch.eye(40 * 40).view(1, -1, 40, 40)

    points = random_points(15, STRIDE)
    found = list(track([numbered()] * 3, points, encode, PRESETS["crw_jhmdb"]))
    assert sizes == [(1, 3, 320, 320)] * 3
    assert ((found[2] - points).abs() < 0.7 * torch.tensor([128 / 40, 96 / 40])).all()


@pytest.mark.parametrize(
    ("video", "points", "message"),
    [
        ([numbered()], torch.zeros(2, 3), r"shape \(2, 3\), expected x and y"),
        ([numbered()], torch.zeros(0, 2), r"shape \(0, 2\), expected x and y of one or more"),
        ([], torch.ones(1, 2), "the video has no frame"),
    ],
)
def test_bad_input_is_explained(video: list[Tensor], points: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(track(video, points, directions, SETTINGS))
