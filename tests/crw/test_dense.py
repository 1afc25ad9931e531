"""Dense nodes: which cells of two crops show the same, and that the guard keeps places alone from walking home."""

import torch
from torch import Tensor

from lightning_binding.crw.dense import DenseGrid, same_place
from lightning_binding.crw.walk import palindrome_loss


def places(pictures: Tensor) -> Tensor:
    """An encoder that knows nothing but where a cell is: what padding or positions could teach a network."""
    count = 8 * 8
    return torch.eye(count).view(count, 8, 8).expand(len(pictures), -1, -1, -1)


def colours(pictures: Tensor) -> Tensor:
    """An encoder that knows nothing but what a cell shows, finely enough to tell all cells apart."""
    shown = torch.nn.functional.interpolate(pictures, (8, 8), mode="bilinear")[:, :2]
    centre = torch.linspace(0, 1, 24)
    near = [torch.exp(-((shown[:, axis, None] - centre[:, None, None]) ** 2) / 0.002) for axis in range(2)]
    return torch.nn.functional.normalize((near[0][:, :, None] * near[1][:, None]).flatten(1, 2), dim=1)


def ramps(batch: int, time: int) -> Tensor:
    """A still video whose red and green are the column and the row."""
    x = (torch.arange(64) + 0.5) / 64
    frame = torch.stack([x.expand(64, 64), x[:, None].expand(64, 64), torch.zeros(64, 64)])
    return frame.expand(batch, time, -1, -1, -1)


def loss(encoder: object, guard: bool) -> float:
    generator = torch.Generator().manual_seed(0)
    grid = DenseGrid(64, scale=(0.3, 0.6), guard=guard)
    made = grid(ramps(4, 4), encoder, generator)  # type: ignore[arg-type]
    return palindrome_loss(made.features, 0.05, returned=made.returned, target=made.target).loss.item()


def test_without_the_guard_places_alone_walk_home() -> None:
    assert loss(places, guard=False) < 1e-4


def test_with_the_guard_only_content_does() -> None:
    assert loss(places, guard=True) > 5
    assert loss(colours, guard=True) < 3  # chance is ln 64 = 4.2; not every crop of the frames between shows it


def test_same_place_of_the_same_crop_is_the_cell_itself() -> None:
    box = torch.tensor([[0.1, 0.2, 0.5, 0.4], [0.0, 0.0, 1.0, 1.0]])
    assert torch.equal(same_place(box, box, 3, 5), torch.arange(15).expand(2, -1))


def test_same_place_follows_a_shift_and_leaves_the_frame() -> None:
    start, end = torch.tensor([[0.0, 0.0, 0.5, 0.5]]), torch.tensor([[0.25, 0.0, 0.5, 0.5]])
    found = same_place(start, end, 4, 4).view(4, 4)
    assert found[0].tolist() == [-1, -1, 0, 1]
    assert found[3].tolist() == [-1, -1, 12, 13]


def test_targets_are_read_from_the_picture() -> None:
    generator = torch.Generator().manual_seed(1)
    made = DenseGrid(64, scale=(0.3, 0.6))(
        ramps(3, 3), lambda x: torch.nn.functional.interpolate(x, (8, 8), mode="bilinear"), generator
    )
    assert made.returned is not None
    assert made.target is not None
    counted = made.target >= 0
    assert 0.1 < counted.float().mean() < 1
    batch = torch.arange(3)[:, None].expand_as(made.target)[counted]
    difference = made.features[:, 0][counted] - made.returned[batch, made.target[counted]]
    assert difference[:, :2].abs().max() < 0.8 / 8  # what lies there differs by less than a cell
