"""Strips: which frames, which tints, and what they are shrunk to."""

import torch

from lightning_binding.callbacks.strips import discs, spread, strip
from lightning_binding.masks import overlay


def test_frames_are_spread_from_the_first_to_the_last() -> None:
    assert spread(11, 6) == [0, 2, 4, 6, 8, 10]
    assert spread(3, 6) == [0, 1, 2]
    assert spread(1, 6) == [0]


def test_a_row_for_each_series_of_masks() -> None:
    frames = torch.randint(256, (2, 3, 8, 10), dtype=torch.uint8)
    rows = torch.randint(3, (2, 2, 8, 10), dtype=torch.uint8)
    picture = strip(frames, list(rows))
    for row in range(2):
        for column in range(2):
            cell = picture[:, 2 + 10 * row : 10 + 10 * row, 2 + 12 * column : 12 + 12 * column]
            assert torch.equal(cell, overlay(frames[column], rows[row, column]))


def test_large_frames_are_shrunk_by_averaging() -> None:
    frames = torch.full((1, 3, 100, 200), 90, dtype=torch.uint8)
    frames[..., ::2] = 110
    picture = strip(frames, [torch.zeros(1, 100, 200, dtype=torch.uint8)], height=50)
    assert picture.shape == (3, 54, 104)
    assert (picture[:, 3:-3, 4:-4].float() - 100).abs().max() <= 2  # stripes become their mean, but for the ends


def test_discs_lie_where_points_are() -> None:
    points = torch.tensor([[[10.0, 20.0], [torch.nan, 5.0], [30.0, 20.0]], [[-50.0, 0.0], [2.0, 2.0], [2.0, 2.0]]])
    masks = discs(points, (100, 150))  # a radius of 2 px
    assert masks.shape == (2, 100, 150)
    assert torch.nonzero(masks[0] == 1).tolist() == [
        [y, x] for y in range(18, 23) for x in range(8, 13) if (x - 10) ** 2 + (y - 20) ** 2 <= 4
    ]
    assert set(masks[0].unique().tolist()) == {0, 1, 3}
    assert set(masks[1].unique().tolist()) == {0, 3}  # outside the frame there is nothing; the last lies on top
