"""Features of clips: motion counts, and I3D is given what the reference gives it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_binding import InputError
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.metrics import (
    I3D,
    CropResize,
    FrechetVideoDistance,
    MotionExtractor,
    ScriptResize,
    TensorFlowResize,
)


def sprites(count: int, seed: int, frames: int = 8) -> Tensor:
    clips = MovingSpritesDataModule(frame_size=32, frames=frames, seed=seed).train_set()
    return torch.stack([clips[index]["video"] for index in range(count)])


@pytest.fixture(scope="module")
def motion() -> MotionExtractor:
    return MotionExtractor()


def test_motion_features_are_means_and_mean_changes(motion: MotionExtractor) -> None:
    videos = sprites(3, 0)
    features, logits = motion.features_and_logits(videos)
    frames = torch.stack([motion.frames(video) for video in videos])
    assert torch.allclose(features[:, :128], frames.mean(1), atol=1e-5)
    assert torch.allclose(features[:, 128:], frames.diff(dim=1).abs().mean(1), atol=1e-5)
    assert logits.shape == (3, 9)
    still = motion(videos[:, :1].expand(-1, 8, -1, -1, -1))
    assert still[:, 128:].abs().max() < 1e-5
    assert (motion.name, motion.min_frames) == ("emoji_resnet_motion", 2)


def test_stopped_and_shuffled_clips_are_farther_from_real_ones_than_other_real_ones(motion: MotionExtractor) -> None:
    real, other = sprites(200, 0), sprites(200, 1)
    stopped = other[:, :2].repeat_interleave(torch.tensor([1, 7]), dim=1)
    order = torch.tensor([0, 5, 2, 7, 4, 1, 6, 3])
    distances = []
    for fake in (other, stopped, other[:, order]):
        metric = FrechetVideoDistance(motion)
        metric.update(real, real=True)
        metric.update(fake, real=False)
        distances.append(float(metric.compute()))
    assert metric.key == "fvd_emoji_resnet_motion"
    assert distances[1] > 1.3 * distances[0]
    assert distances[2] > 1.3 * distances[0]


class LikeI3D(nn.Module):
    """The call of StyleGAN-V's file on a small network: pooled numbers of the clip that reaches it."""

    def forward(self, x: Tensor, rescale: bool = True, resize: bool = True, return_features: bool = True) -> Tensor:
        n, c, t, h, w = x.shape
        if resize:
            x = x.transpose(1, 2).reshape(n * t, c, h, w)
            x = F.interpolate(x, [224, 224], mode="bilinear", align_corners=False)
            x = x.reshape(n, t, c, 224, 224).transpose(1, 2)
        if rescale:
            x = 2 * x / 255 - 1
        if not return_features:
            return x
        return F.avg_pool3d(x, [2, 56, 56], [2, 56, 56]).flatten(1)[:, :400]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "i3d.pt"
    torch.jit.save(torch.jit.script(LikeI3D()), path)
    return str(path)


def test_i3d_sees_the_reference_s_preprocessing(file: str) -> None:
    videos = sprites(3, 0, frames=10)
    features = I3D(file, batch_size=2)(videos)
    frames = TensorFlowResize()(videos.flatten(0, 1).float()) / 127.5 - 1
    expected = LikeI3D()(frames.unflatten(0, (3, 10)).transpose(1, 2), rescale=False, resize=False)
    assert features.shape[0] == 3
    assert torch.allclose(features, expected, atol=1e-5)


def test_the_resize_is_tensorflow_1_s() -> None:
    frames = 255 * torch.rand(1, 3, 16, 16)
    out = TensorFlowResize()(frames)
    # No half-pixel centres: every 14th pixel is one of the source.
    assert torch.allclose(out[..., ::14, ::14], frames, atol=1e-3)
    middle = (frames[..., 0, 0] + frames[..., 0, 1]) / 2
    assert torch.allclose(out[..., 0, 7], middle, atol=1e-3)


def test_other_resizes_are_named(file: str) -> None:
    videos = sprites(2, 0, frames=10)
    script = I3D(file, resize=ScriptResize())
    expected = LikeI3D()(videos.float().transpose(1, 2))
    assert torch.allclose(script(videos), expected, atol=1e-5)
    keys = [FrechetVideoDistance(I3D(file, resize=resize)).key for resize in (None, ScriptResize(), CropResize())]
    assert keys == ["fvd", "fvd_i3d_styleganv", "fvd_i3d_crop"]


def test_the_crop_keeps_the_aspect() -> None:
    frames = torch.rand(2, 3, 32, 64)
    out = CropResize()(frames)
    assert out.shape == (2, 3, 224, 224)
    whole = F.interpolate(frames, (224, 448), mode="bilinear", align_corners=False)
    assert torch.equal(out, whole[..., 112:336])


def test_files_and_clips_that_do_not_fit(file: str, tmp_path: Path, motion: MotionExtractor) -> None:
    with pytest.raises(InputError, match=r"there is no file .*missing\.pt"):
        I3D(str(tmp_path / "missing.pt"))
    (tmp_path / "broken.pt").write_bytes(b"no script")
    with pytest.raises(InputError, match="no TorchScript"):
        I3D(str(tmp_path / "broken.pt"))
    torch.jit.save(torch.jit.script(nn.Flatten()), tmp_path / "other.pt")
    with pytest.raises(InputError, match="does not take"):
        I3D(str(tmp_path / "other.pt"))(sprites(2, 0, frames=10))
    metric = FrechetVideoDistance(I3D(file))
    with pytest.raises(InputError, match="clip of 9 frames is too short for I3D, which needs 10"):
        metric.update(sprites(2, 0, frames=9), real=True)
    with pytest.raises(InputError, match="expected uint8"):
        motion(sprites(1, 0).float())
    with pytest.raises(InputError, match="clip of 1 frames is too short for MotionExtractor"):
        motion(sprites(1, 0, frames=1))
    with pytest.raises(InputError, match="batch_size=0"):
        I3D(file, batch_size=0)
