"""The report of adaptive computation: what a RIN reads and writes, and how that goes with the picture."""

import json
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from lightning_binding.callbacks.computation_pictures import draw_computation
from lightning_binding.callbacks.measurement import Measurement
from lightning_binding.errors import InputError
from lightning_binding.images import save_png
from lightning_binding.rin.computation import Trace, trace
from lightning_binding.rin.computation_summary import (
    Summary,
    summarize_errors,
    summarize_motion,
    summarize_reading,
    token_errors,
)
from lightning_binding.rin.core import Core
from lightning_binding.rin.module import RINDiffusion, evaluating
from lightning_binding.rin.tokens import Patches
from lightning_binding.video.writer import best_ending, write_video


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
        found, run = self._measured(trainer, pl_module, data, given, label)
        names = [f"val/{name}" for name in found.values]
        table = torch.tensor(list(found.values.values()), device=pl_module.device)
        reduced = cast(Tensor, trainer.strategy.reduce(table, reduce_op="mean"))
        values = dict(zip(names, reduced.tolist(), strict=True))
        if trainer.is_global_zero:
            self._write(pl_module, run, f"step-{trainer.global_step:08d}", len(data), values | found.details)
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

    def _measured(
        self, trainer: Trainer, module: RINDiffusion, data: Tensor, given: Tensor | None, label: Tensor | None
    ) -> tuple[Summary, tuple[Trace, Tensor] | None]:
        """The numbers, and of a RIN the run of its sampler with what it drew after every step."""
        generator = torch.Generator(module.device).manual_seed(self.seed + trainer.global_rank)
        network, diffusion, patches = module.network, module.diffusion, patches_of(module)
        with evaluating(network):
            error = token_errors(network, diffusion, patches, data, given, label, generator)
            found = summarize_errors(error, data, patches)
            if not isinstance(network, Core):
                return found, None
            noise = torch.randn(data.shape, generator=generator, device=data.device)
            context = None if given is None else diffusion.from_images(given)
            run = trace(
                network, diffusion, module.sampling, noise, label, context, steps=self.steps, generator=generator
            )
        drawn = diffusion.to_images(run.x_0)
        found |= summarize_reading(run, drawn[-1], patches)
        if given is not None:
            found |= summarize_motion(run, drawn[-1], data.cpu(), given.cpu(), patches)
        return found, (run, drawn)

    def _write(
        self, module: RINDiffusion, run: tuple[Trace, Tensor] | None, name: str, examples: int, found: dict[str, Any]
    ) -> None:
        """The numbers, and of a RIN the picture and the animations."""
        self._folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"steps": self.steps, "examples": examples, **found}, indent=1)
        (self._folder / f"{name}.json").write_text(text + "\n")
        if run is None:
            return
        pictures = draw_computation(*run, patches_of(module), self.shown)
        save_png(pictures[len(pictures) // 2], self._folder / f"{name}.png")
        for ending in dict.fromkeys((".gif", best_ending("The animation of attention is"))):
            write_video(self._folder / f"{name}{ending}", pictures, self.fps)


def patches_of(module: RINDiffusion) -> Patches:
    """How the module's network cuts pictures into tokens; 4 x 4 pixels where it does not say."""
    return cast(Patches, getattr(module.network, "patches", Patches(1, 4, module.image_shape[0])))
