"""Videos of the command line: the user's own clip as context, and what was drawn as MP4, GIF and picture."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.errors import InputError
from lightning_binding.images import make_grid, save_png
from lightning_binding.rin.video import RINVideoDiffusion
from lightning_binding.video.guarded import GuardedDecoder
from lightning_binding.video.writer import best_ending, write_video


def read_context(path: str, frames: int, size: int, fps: float | None, timeout: float = 30.0) -> Tensor:
    """The last frames of a video, as a network takes them.

    It is decoded in a process of its own: a file that crashes the decoder, or hangs it, ends in a sentence.

    Args:
        path: A video file or a folder of frames.
        frames: How many.
        size: Height and width; the largest square in the middle is taken.
        fps: Frames a second that are looked at; None is every frame.
        timeout: Seconds that a frame may take.

    Returns:
        uint8 (frames, 3, size, size).

    Raises:
        InputError: If it cannot be read, or is too short, or the model looks at no context.
    """
    if frames < 1:
        raise InputError("--context is for models that predict; this one draws clips from noise alone.")
    decoder = GuardedDecoder(timeout)
    try:
        last: deque[Tensor] = deque(decoder.stream(path, fps, size=size), maxlen=frames)
    finally:
        decoder.close()
    if len(last) < frames:
        rate = "" if fps is None else f" at {fps:g} frames a second"
        raise InputError(f"--context {path} has {len(last)} frame(s){rate}; the model predicts from {frames}.")
    video = torch.stack(list(last)).float()
    side = min(video.shape[-2:])
    top, left = ((length - side) // 2 for length in video.shape[-2:])
    square = video[..., top : top + side, left : left + side]
    if side != size:
        square = F.interpolate(square, (size, size), mode="bilinear", antialias=True)
    return square.round().clamp(0, 255).to(torch.uint8)


def draw_videos(
    module: RINVideoDiffusion,
    num: int,
    context: Tensor | None,
    *,
    frames: int | None,
    label: Tensor | None,
    steps: int | None,
    generator: torch.Generator,
    batch_size: int,
    carry_latents: bool,
) -> Tensor:
    """Draws whole clips, or continuations of a context, with the context in front; uint8 (num, T, C, H, W).

    Raises:
        InputError: If the model needs a context and there is none, or the other way round.
    """
    if not module.context_frames:
        if frames is not None or carry_latents:
            raise InputError(
                "--frames and --carry_latents are for models that predict; this one draws clips of "
                f"{module.frames} frames."
            )
        return module.sample(
            num, label=label, steps=steps, generator=generator, batch_size=batch_size, progress=True
        ).cpu()
    if context is None:
        raise InputError(
            f"the model predicts what follows {module.context_frames} frames: give --context with a video file or a "
            "folder of frames."
        )
    before = context.expand(num, -1, -1, -1, -1)
    after = module.predict_video(
        before,
        frames=frames,
        label=label,
        steps=steps,
        generator=generator,
        batch_size=batch_size,
        carry_latents=carry_latents,
        progress=True,
    )
    return torch.cat([before, after.cpu()], 1)


def write_samples(videos: Tensor, folder: Path, fps: float, scale: int) -> list[Path]:
    """Writes videos (num, T, C, H, W) one by one, and all of them as a grid and as a strip of frames.

    Returns:
        Paths of the grid as MP4 and as GIF, and of the strip. Where PyAV is missing, all videos are GIFs.
    """
    ending = best_ending("Every video becomes")
    large = videos.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    for index, video in enumerate(large):
        write_video(folder / f"video-{index:05d}{ending}", video, fps)
    grids = [write_video(folder / f"grid{each}", _grids(large), fps) for each in dict.fromkeys((ending, ".gif"))]
    strip = make_grid(videos[:16].flatten(0, 1), videos.shape[1])
    return [*grids, save_png(strip, folder / "strip.png", scale)]


def _grids(videos: Tensor) -> Iterator[Tensor]:
    return (make_grid(frames) for frames in videos.unbind(1))
