"""Commands of the generation chapter."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.errors import InputError
from lightning_binding.export import load
from lightning_binding.images import make_grid, save_png
from lightning_binding.pretrained import load_pretrained
from lightning_binding.rin.clips import draw_videos, read_context, write_samples
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.sampling import find_sampler
from lightning_binding.rin.video import RINVideoDiffusion
from lightning_binding.weights import read_checkpoint


def sample(
    ckpt_path: str | None = None,
    num: int = 64,
    steps: int | None = None,
    sampler: str | None = None,
    label: list[int] | None = None,
    guidance: float | None = None,
    seed: int = 0,
    batch_size: int = 64,
    out: str = "samples",
    scale: int = 4,
    device: str = "auto",
    context: str | None = None,
    frames: int | None = None,
    carry_latents: bool = False,
    fps: float = 8.0,
) -> Path:
    """Draws pictures or videos with a trained model and writes them as a grid and one by one.

    Args:
        ckpt_path: Checkpoint of a run, or a file that `export` wrote; when not given, the emoji model that the package
            ships, or with `context` that of moving sprites. Averaged weights are used where the run had an `EMA`
            callback.
        num: Number of pictures or videos.
        steps: Sampling steps; the model's own setting when not given.
        sampler: Sampler, such as ddim, ddpm or heun, or the import path of one; the model's own when not given.
        label: Class or classes, used in turn; all classes in turn when not given.
        guidance: Guidance scale; the model's own when not given.
        seed: Seed of the noise: the same seed gives the same pictures.
        batch_size: Pictures that are sampled at a time.
        out: Folder to write into; `grid.png` and `image-00000.png` and so on, or `grid.mp4`, `grid.gif`, `strip.png`
            and `video-00000.mp4`.
        scale: Side, in pixels, of a picture's pixel in the grid.
        device: Where to compute: auto, cpu, cuda, …
        context: Video file, or folder of frames, whose end a model of video goes on from.
        frames: Frames to predict after it; as many as a clip of the model has when not given, and window after window
            where they are more.
        carry_latents: Start each of these windows from the latents that the window before ended with.
        fps: Frames a second of the videos that are written, and of the context that is looked at.

    Returns:
        Path of the grid.

    Raises:
        InputError: If the file, the sampler, a label, a number or the device is not valid.
    """
    if num < 1:
        raise InputError(f"--num {num}: there must be at least one picture.")
    if batch_size < 1 or scale < 1:
        raise InputError(f"--batch_size {batch_size} and --scale {scale} must be 1 or more.")
    if fps <= 0 or (frames is not None and frames < 1):
        raise InputError(f"--fps {fps:g} must be positive, --frames {frames} 1 or more.")
    find_sampler(sampler or "ddim")
    module = load(ckpt_path) if ckpt_path else load_pretrained("rin_sprites" if context else "rin_emoji32")
    if not isinstance(module, RINDiffusion):
        raise InputError(f"{ckpt_path} holds a {type(module).__name__}, which draws no pictures.")
    if label and not module.num_classes:
        raise InputError(f"--label {label}: the model is unconditional; leave the option out.")
    module.sampling.sampler = sampler or module.sampling.sampler
    module.sampling.guidance = module.sampling.guidance if guidance is None else guidance
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's, for a name that is none and for a device that is absent
        raise InputError(f"--device {device} cannot be used ({str(error).splitlines()[0]}).") from error
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: the folder cannot be made ({error}).") from error
    labels = torch.tensor(label).repeat(-(-num // len(label)))[:num] if label else None
    generator = torch.Generator(device).manual_seed(seed)
    taken = f"{module.sampling.steps if steps is None else steps} steps of {module.sampling.sampler}"
    if isinstance(module, RINVideoDiffusion):
        before = read_context(context, module.context_frames, module.image_shape[-1], fps) if context else None
        videos = draw_videos(
            module,
            num,
            before,
            frames=frames,
            label=labels,
            steps=steps,
            generator=generator,
            batch_size=batch_size,
            carry_latents=carry_latents,
        )
        paths = write_samples(videos, folder, fps, scale)
        rank_zero_info(f"{num} videos, {taken}, {_weights(ckpt_path)}: {', '.join(map(str, paths))}")
        return paths[0]
    if context or frames or carry_latents:
        raise InputError("--context, --frames and --carry_latents are for models of video; this one draws pictures.")
    pictures = module.sample(
        num, label=labels, steps=steps, generator=generator, batch_size=batch_size, progress=True
    ).cpu()
    for index, picture in enumerate(pictures):
        save_png(picture, folder / f"image-{index:05d}.png")
    grid = save_png(make_grid(pictures), folder / "grid.png", scale)
    rank_zero_info(f"{num} pictures, {taken}, {_weights(ckpt_path)}: {grid}")
    return grid


def _weights(ckpt_path: str | None) -> str:
    """Which weights a file gives."""
    if ckpt_path is None:
        return "the model that ships with the package"
    if Path(ckpt_path).suffix == ".safetensors":
        return "exported weights"
    return "averaged (EMA) weights" if "averaging_state" in read_checkpoint(ckpt_path) else "raw weights, without EMA"
