"""The report of adaptive computation: what a RIN reads and writes, and how that goes with the picture."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_binding.callbacks.attention_pictures import colours, heat, side_by_side, spread_tokens
from lightning_binding.callbacks.measurement import Measurement
from lightning_binding.errors import InputError
from lightning_binding.images import save_png
from lightning_binding.rin.computation import (
    Trace,
    compressed_size,
    error_by_complexity,
    gradient_energy,
    moving_tokens,
    rank_correlation,
    share_of,
    trace,
)
from lightning_binding.rin.core import Core
from lightning_binding.rin.module import RINDiffusion, evaluating
from lightning_binding.rin.objectives import add_noise
from lightning_binding.rin.tokens import Patches
from lightning_binding.video.writer import write_video

COMPLEXITY = {"gradient": gradient_energy, "bytes": compressed_size}


class ComputationReport(Measurement):
    """Measures and draws where a model of images or video spends its computation.

    Of any denoiser: the error of the tokens of the simplest and of the most complex quarter of the held-out data. Of a
    RIN also what it reads while it samples: the rank correlation of read attention with local complexity of what is
    drawn (gradient energy, and the size of a compressed patch), for each block; and of one that predicts video, how
    much it reads of what moves, of what stands still and of the frames that were given, against a token in the mean,
    with the pixel error of both beside copying the last frame.

    In the folder `computation` are `step-….json`, with every number by block and by sampling step; `step-….png` and an
    animation, `.mp4` and `.gif`: what is drawn, the read attention of each block, and the latent from which a token
    takes most. Pictures move through the sampling steps, videos through their frames.

    Args:
        num: Held-out examples, and samples, on each rank.
        steps: Sampling steps.
        shown: Examples in the pictures.
        every_n_steps: Optimizer steps between two reports at least; None reports at every validation.
        at_start: Report on the untrained model too.
        at_end: Report on the last step, if the last validation did not.
        seed: Seed of the noise.
        fps: Frames a second of the animations.

    Raises:
        InputError: If a number is not positive.
    """

    def __init__(
        self,
        num: int = 32,
        steps: int = 25,
        shown: int = 6,
        every_n_steps: int | None = None,
        at_start: bool = False,
        at_end: bool = True,
        seed: int = 0,
        fps: float = 8.0,
    ) -> None:
        super().__init__(every_n_steps, at_start, at_end, seed)
        if min(num, steps, shown) < 1 or fps <= 0:
            raise InputError(f"num={num}, steps={steps}, shown={shown} and fps={fps} must be positive.")
        self.num, self.steps, self.shown, self.fps = num, steps, shown, fps
        self._folder = Path()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Asks for the run's folder, which Lightning tells all ranks together."""
        self._folder = Path(trainer.log_dir or trainer.default_root_dir) / "computation"

    def evaluate(self, trainer: Trainer, pl_module: LightningModule) -> tuple[dict[str, float], str]:
        """Samples, measures and draws.

        Raises:
            InputError: If the module is not one of diffusion, or there are no held-out examples.
        """
        if not isinstance(pl_module, RINDiffusion):
            raise InputError(
                f"ComputationReport is for RINDiffusion and RINVideoDiffusion, not for a {type(pl_module).__name__}."
            )
        data, given, label = self._examples(trainer, pl_module)
        generator = torch.Generator(pl_module.device).manual_seed(self.seed + trainer.global_rank)
        with evaluating(pl_module.network):
            values, details = self._errors(pl_module, data, given, label, generator)
            if isinstance(pl_module.network, Core):
                noise = torch.randn(data.shape, generator=generator, device=data.device)
                context = None if given is None else pl_module.diffusion.from_images(given)
                found = trace(
                    pl_module.network,
                    pl_module.diffusion,
                    pl_module.sampling,
                    noise,
                    label,
                    context,
                    steps=self.steps,
                    generator=generator,
                )
                drawn = pl_module.diffusion.to_images(found.x_0)
                read, more = self._reading(patches_of(pl_module), found, drawn[-1], data.cpu(), given)
                values, details = values | read, details | more
                if trainer.is_global_zero:
                    self._draw(pl_module, found, drawn, f"step-{trainer.global_step:08d}")
        names = list(values)
        table = torch.tensor([values[name] for name in names], device=pl_module.device)
        values = dict(zip(names, cast(Tensor, trainer.strategy.reduce(table, reduce_op="mean")).tolist(), strict=True))
        if trainer.is_global_zero:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"step-{trainer.global_step:08d}.json"
            path.write_text(
                json.dumps({"steps": self.steps, "examples": len(data), **values, **details}, indent=1) + "\n"
            )
        return values, f"{len(data)} examples, {self.steps} sampling steps; {self._folder}"

    def _examples(self, trainer: Trainer, module: RINDiffusion) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Held-out data uint8 (num, …) with its context and its classes, on the module's device."""
        loader = getattr(getattr(trainer, "datamodule", None), "val_dataloader", lambda: None)()
        parts: list[tuple[Tensor, Tensor | None, Tensor | None]] = []
        for batch in loader or []:
            data, given = module.examples(batch)
            parts.append((data, given, batch.get("label") if module.num_classes else None))
            if sum(len(each[0]) for each in parts) >= self.num:
                break
        if not parts:
            raise InputError("ComputationReport needs held-out examples: give a data module that validates.")

        def together(index: int) -> Tensor | None:
            some = [each[index] for each in parts if each[index] is not None]
            return torch.cat(cast(list[Tensor], some))[: self.num].to(module.device) if some else None

        examples = together(0)
        assert examples is not None
        return examples, together(1), together(2)

    def _errors(
        self,
        module: RINDiffusion,
        data: Tensor,
        given: Tensor | None,
        label: Tensor | None,
        generator: torch.Generator,
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """Mean squared error of the target by the complexity of tokens, at noise levels that are spread evenly."""
        patches, process = patches_of(module), module.diffusion
        x_0 = process.from_images(data)
        context = None if given is None else process.from_images(given)
        errors = []
        for time in (0.2, 0.5, 0.8):
            gamma = process.schedule(torch.full((len(data),), time, device=data.device))
            eps = torch.randn(x_0.shape, generator=generator, device=x_0.device)
            x = process.network_input(add_noise(x_0, eps, gamma))
            latents = module.network(x, gamma, label, None, context)[1] if process.self_conditioning > 0 else None
            prediction = module.network(x, gamma, label, latents, context)[0]
            target = process.objective.target(x_0, eps, gamma)
            errors.append(patches.to_rows(as_video((prediction.float() - target).square())).mean(-1))
        error = torch.stack(errors).mean(0).cpu()
        values: dict[str, float] = {}
        details: dict[str, Any] = {}
        for name, measure in COMPLEXITY.items():
            quarters = error_by_complexity(error, measure(as_video(data).cpu(), patches))
            details[f"error_by_{name}_quarter"] = quarters.tolist()
            values |= {f"val/error_simple_{name}": float(quarters[0]), f"val/error_complex_{name}": float(quarters[-1])}
        return values, details

    def _reading(
        self, patches: Patches, found: Trace, drawn: Tensor, data: Tensor, given: Tensor | None
    ) -> tuple[dict[str, float], dict[str, Any]]:
        """How reading goes with complexity and with motion."""
        noisy = patches.count(as_video(drawn).shape[1], *drawn.shape[-2:])
        read = found.read[..., :noisy]
        values: dict[str, float] = {}
        details: dict[str, Any] = {}
        for name, measure in COMPLEXITY.items():
            table = rank_correlation(read, measure(as_video(drawn), patches)).mean(-1)  # (S, blocks)
            details[f"read_{name}_by_step_and_block"] = table.tolist()
            values |= {f"val/read_{name}_block{block}": float(each) for block, each in enumerate(table.mean(0))}
            values[f"val/read_{name}"] = float(table.mean())
        details["certainty_of_writing_by_step_and_block"] = found.certainty[..., :noisy].mean((-1, -2)).tolist()
        if given is None:
            return values, details
        last = given[:, -1:].cpu()
        moving = moving_tokens(torch.cat([last, data], 1), patches)
        among = read / read.sum(-1, keepdim=True)
        shares = {"moving": share_of(among, moving), "static": share_of(among, ~moving)}
        shares["given"] = (
            found.read[..., noisy:].sum(-1).mean(-1) * found.read.shape[-1] / (found.read.shape[-1] - noisy)
        )
        for name, share in shares.items():
            details[f"read_{name}_by_step_and_block"] = share.tolist()
            values[f"val/read_{name}"] = float(share.mean())
        for name, clip in (("", drawn), ("copy_", last.expand_as(data))):
            error = patches.to_rows((clip.float() - data.float()).div(255).square()).mean(-1)
            for part, chosen in (("moving", moving), ("static", ~moving)):
                values[f"val/{name}psnr_{part}"] = float(-10 * error[chosen].mean().clamp_min(1e-10).log10())
        details["share_of_moving_tokens"] = float(moving.float().mean())
        return values, details

    def _draw(self, module: RINDiffusion, found: Trace, drawn: Tensor, name: str) -> None:
        """The picture and the animations."""
        patches, last = patches_of(module), as_video(drawn[-1])
        frames, size = last.shape[1], last.shape[-1]
        count = patches.count(frames, size, size)
        chosen = torch.linspace(0, len(last) - 1, min(self.shown, len(last))).round().long()
        grid = (-(-frames // patches.temporal), size // patches.spatial, size // patches.spatial)

        def maps(values: Tensor) -> Tensor:
            """Values (F, B, n) as maps over time: of video through the frames, of pictures through the steps."""
            values = values[:, chosen, :count]
            if frames > 1:
                return spread_tokens(values[0], grid, frames, size).movedim(1, 0)
            return spread_tokens(values, grid, 1, size)[:, :, 0]

        through = last.movedim(1, 0) if frames > 1 else drawn
        read = found.read.mean(0, keepdim=True) if frames > 1 else found.read
        strongest = found.strongest[-1:] if frames > 1 else found.strongest
        columns = [through[:, chosen], *[heat(maps(each)) for each in read.unbind(1)]]
        columns += [colours(maps(each)) for each in strongest.unbind(1)[-1:]]
        pictures = [picture.repeat_interleave(2, -1).repeat_interleave(2, -2) for picture in side_by_side(columns)]
        self._folder.mkdir(parents=True, exist_ok=True)
        save_png(pictures[len(pictures) // 2], self._folder / f"{name}.png")
        for ending in (".gif", ".mp4"):
            write_video(self._folder / f"{name}{ending}", pictures, self.fps)


def as_video(data: Tensor) -> Tensor:
    """Pictures (B, C, H, W) as clips of one frame; clips as they are."""
    return data[:, None] if data.ndim == 4 else data


def patches_of(module: RINDiffusion) -> Patches:
    """How the module's network cuts pictures into tokens; 4 x 4 pixels where it does not say."""
    return cast(Patches, getattr(module.network, "patches", Patches(1, 4, module.image_shape[0])))
