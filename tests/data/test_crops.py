"""Crops of clips: what one crop for all frames means, and that it is torchvision's."""

import pytest
import torch
from torchvision.transforms import v2

from lightning_binding import InputError
from lightning_binding.data.crops import ClipCrop


def noise(frames: int = 3, height: int = 40, width: int = 56) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (frames, 3, height, width), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("kind", ["clip", "frame", "centre"])
def test_a_still_clip_tells_how_many_crops_there_are(kind: str) -> None:
    still = noise(1).expand(6, -1, -1, -1)
    cut = ClipCrop(kind, 24)(still, seed=3)
    assert cut.shape == (6, 3, 24, 24)
    assert cut.dtype == torch.uint8
    assert cut.is_contiguous()
    assert len(torch.unique(cut, dim=0)) == (6 if kind == "frame" else 1)


@pytest.mark.parametrize("kind", ["clip", "frame"])
def test_the_boxes_and_the_resizing_are_torchvision_s(kind: str) -> None:
    video = noise()
    ours = ClipCrop(kind, 24, (0.3, 0.6), (0.8, 1.2))(video, seed=5)
    torch.manual_seed(5)
    theirs = v2.RandomResizedCrop(24, (0.3, 0.6), (0.8, 1.2), antialias=True)
    expected = torch.stack([theirs(frame) for frame in video]) if kind == "frame" else theirs(video)
    assert torch.equal(ours, expected)


def test_the_seed_alone_decides_and_nobody_s_random_numbers_are_touched() -> None:
    video, crop = noise(), ClipCrop("frame", 24)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = crop(video, seed=7)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(crop(video, seed=7), first)
    assert not torch.equal(crop(video, seed=8), first)


def test_the_centre_is_the_largest_square() -> None:
    video = noise(2, 40, 56)
    assert torch.equal(ClipCrop("centre", 40)(video, seed=0), video[..., 8:48])
    assert torch.equal(ClipCrop("centre", 40)(video.mT, seed=0), video[..., 8:48].mT)


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        (ClipCrop("clips", 8), "There is no crop 'clips'; did you mean clip"),
        (ClipCrop("clip", 0), "frame_size is 0; it must be 1 or more"),
        (ClipCrop("clip", 8, (0.5, 0.4)), r"crop_scale is \(0\.5, 0\.4\)"),
        (ClipCrop("clip", 8, (0.0, 0.4)), r"crop_scale is .* within \(0, 1\]"),
        (ClipCrop("clip", 8, ratio=(0.0, 1.0)), r"crop_ratio is \(0\.0, 1\.0\)"),
    ],
)
def test_wrong_ranges(crop: ClipCrop, message: str) -> None:
    with pytest.raises(InputError, match=message):
        crop.check()
