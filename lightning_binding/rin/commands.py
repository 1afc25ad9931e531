"""Commands of the generation chapter."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.errors import InputError
from lightning_binding.export import load
from lightning_binding.images import make_grid, save_png
from lightning_binding.names import did_you_mean
from lightning_binding.pretrained import load_pretrained
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.samplers import SAMPLERS


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
) -> Path:
    """Draws pictures with a trained model and writes them as a grid and one by one.

    Args:
        ckpt_path: Checkpoint of a run, or a file that `export` wrote; the emoji model that the package ships when not
            given. Averaged weights are used where the run had an `EMA` callback.
        num: Number of pictures.
        steps: Sampling steps; the model's own setting when not given.
        sampler: Sampler, such as ddim, ddpm or heun; the model's own when not given.
        label: Class or classes, used in turn; all classes in turn when not given.
        guidance: Guidance scale; the model's own when not given.
        seed: Seed of the noise: the same seed gives the same pictures.
        batch_size: Pictures that are sampled at a time.
        out: Folder to write into; `grid.png` and `image-00000.png` and so on.
        scale: Side, in pixels, of a picture's pixel in the grid.
        device: Where to compute: auto, cpu, cuda, …

    Returns:
        Path of the grid.

    Raises:
        InputError: If the file, the sampler or a label is not valid.
    """
    if num < 1:
        raise InputError(f"--num {num}: there must be at least one picture.")
    if sampler is not None and sampler not in SAMPLERS:
        raise InputError(f"--sampler {sampler} is unknown{did_you_mean(sampler, SAMPLERS)}")
    module = load(ckpt_path) if ckpt_path else load_pretrained("rin_emoji32")
    if not isinstance(module, RINDiffusion):
        raise InputError(f"{ckpt_path} holds a {type(module).__name__}, which draws no pictures.")
    module.sampling.sampler = sampler or module.sampling.sampler
    module.sampling.guidance = module.sampling.guidance if guidance is None else guidance
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    module.to(device)
    labels = torch.tensor(label).repeat(-(-num // len(label)))[:num] if label else None
    generator = torch.Generator(device).manual_seed(seed)
    pictures = module.sample(
        num, label=labels, steps=steps, generator=generator, batch_size=batch_size, progress=True
    ).cpu()
    folder = Path(out)
    for index, picture in enumerate(pictures):
        save_png(picture, folder / f"image-{index:05d}.png")
    grid = save_png(make_grid(pictures), folder / "grid.png", scale)
    rank_zero_info(f"{num} pictures, {steps or module.sampling.steps} steps of {module.sampling.sampler}: {grid}")
    return grid
