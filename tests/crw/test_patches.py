"""Patches: where they are, that one resampling equals two, and what random crops and colours do."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as V

from lightning_binding.crw.patches import PatchGrid, compose, jitter_colour, random_crops, resample
from lightning_binding.errors import InputError

WHOLE = (1.0, 1.0)


def plain(patch_size: int, stride: int, size: int) -> PatchGrid:
    return PatchGrid(patch_size, stride, size, patch_scale=WHOLE)


@pytest.mark.parametrize(("stride", "grid"), [(32, 7), (16, 13)])
def test_grid_of_the_paper(stride: int, grid: int) -> None:
    maker = PatchGrid(64, stride, 256)
    assert maker.grid == grid
    assert maker.nodes == grid**2
    assert (maker.boxes[:, :2] * 256 % stride == 0).all()


def test_patches_without_chance_are_slices() -> None:
    video = torch.rand(2, 3, 3, 64, 64)
    patches = plain(16, 8, 64).cut(video)
    assert patches.shape == (2, 3, 49, 3, 16, 16)
    for node in range(49):
        top, left = 8 * (node // 7), 8 * (node % 7)
        expected = video[..., top : top + 16, left : left + 16]
        torch.testing.assert_close(patches[:, :, node], expected, atol=1e-5, rtol=0)


def test_frames_are_resized_in_the_same_resampling() -> None:
    # A linear ramp is what bilinear interpolation keeps, whatever the size.
    ramp = torch.linspace(0, 1, 48)[None, :].expand(1, 1, 3, 48, 48)
    wide = plain(32, 32, 96).cut(ramp)
    narrow = plain(16, 16, 48).cut(ramp)
    expected = F.interpolate(narrow[0, 0], (32, 32), mode="bilinear")
    torch.testing.assert_close(wide[0, 0][..., 2:-2], expected[..., 2:-2], atol=1e-5, rtol=0)


def test_every_patch_of_every_frame_is_cropped_by_itself() -> None:
    video = torch.rand(1, 1, 3, 64, 64).expand(2, 3, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    patches = PatchGrid(16, 16, 64).cut(video, generator).flatten(0, 1)
    assert (patches[0] != patches[1]).any()
    same = PatchGrid(16, 16, 64).cut(video, torch.Generator().manual_seed(0)).flatten(0, 1)
    assert torch.equal(patches, same)
    # Each stays inside its own square: a frame that is constant in every square gives constant patches.
    squares = torch.arange(16.0).view(4, 4).repeat_interleave(16, 0).repeat_interleave(16, 1)
    cut = PatchGrid(16, 16, 64, patch_scale=(0.5, 0.8)).cut(squares.expand(1, 1, 3, 64, 64), generator)
    torch.testing.assert_close(cut[0, 0, :, 0, 8, 8], torch.arange(16.0))


def test_random_crops_are_those_of_torchvision() -> None:
    boxes = random_crops((20_000,), (0.7, 0.9), (3 / 4, 4 / 3), torch.empty(0), torch.Generator().manual_seed(0))
    left, top, width, height = boxes.unbind(-1)
    assert (boxes >= 0).all()
    assert (left + width <= 1 + 1e-6).all()
    assert (top + height <= 1 + 1e-6).all()
    area = width * height
    inside = (width < 1) & (height < 1)
    assert area[inside].min() > 0.7 - 1e-5
    assert area.max() < 0.9 + 1e-5
    ratio = (width / height).log()
    assert abs(ratio.mean()) < 0.01
    assert ratio.abs().max() <= torch.tensor(4 / 3).log() + 1e-5


def test_crops_of_crops_compose() -> None:
    outer, inner = torch.tensor([[0.25, 0.5, 0.5, 0.25]]), torch.tensor([[0.5, 0.0, 0.5, 1.0]])
    torch.testing.assert_close(compose(outer, inner), torch.tensor([[0.5, 0.5, 0.25, 0.25]]))
    frame = torch.rand(1, 3, 32, 32)
    once = resample(frame, compose(outer, inner)[:, None], 8)[0, 0]
    torch.testing.assert_close(once, frame[0, :, 16:24, 16:24], atol=1e-5, rtol=0)


def test_cropping_is_pils() -> None:
    frame = torch.rand(1, 3, 40, 40)
    box = torch.tensor([[[5 / 40, 10 / 40, 20 / 40, 20 / 40]]])
    expected = V.resized_crop(frame, 10, 5, 20, 20, [30, 30], antialias=False)
    torch.testing.assert_close(resample(frame, box, 30)[:, 0, :, 2:-2, 2:-2], expected[..., 2:-2, 2:-2])


def test_colour_changes_by_the_factors_of_torchvision() -> None:
    pictures = torch.rand(4, 3, 8, 8) * 0.5 + 0.25
    found = jitter_colour(pictures, 0.1, torch.Generator().manual_seed(0))
    factors = torch.rand(3, 4, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    for index, (brightness, contrast, saturation) in enumerate((1 + 0.1 * (2 * factors - 1)).view(3, 4).T.tolist()):
        expected = V.adjust_saturation(pictures[index], saturation)
        expected = V.adjust_contrast(V.adjust_brightness(expected, brightness), contrast)
        torch.testing.assert_close(found[index], expected, atol=2e-4, rtol=0)
    assert torch.equal(jitter_colour(pictures, 0.0), pictures)


def test_features_are_averaged_over_each_patch() -> None:
    def encoder(pictures: Tensor) -> Tensor:
        return F.avg_pool2d(pictures, 8)

    video = torch.rand(2, 3, 3, 64, 64)
    made = plain(16, 16, 64)(video, encoder)
    assert made.returned is None
    expected = F.avg_pool2d(video.flatten(0, 1), 16).flatten(2).transpose(1, 2).view(2, 3, 16, 3)
    torch.testing.assert_close(made.features, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch_size": 300}, "patches of 300 px every 32 px do not fit into 256 px"),
        ({"patch_scale": (0.9, 0.7)}, r"patch_scale=\(0.9, 0.7\) must be a range within \(0, 1\]"),
        ({"frame_scale": (0.0, 0.7)}, "frame_scale"),
    ],
)
def test_bad_input_is_explained(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PatchGrid(**arguments)  # type: ignore[arg-type]
