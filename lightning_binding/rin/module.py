"""RINDiffusion: images and videos by diffusion with a RIN, or any network of its call, as a LightningModule."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from tqdm import tqdm

from lightning_binding.errors import InputError
from lightning_binding.module import BindingModule
from lightning_binding.rin.bit_objectives import suit_bits
from lightning_binding.rin.bits import AnalogBits
from lightning_binding.rin.checks import check_context, check_labels
from lightning_binding.rin.core import load_core
from lightning_binding.rin.create import check_denoiser, create_network
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import Epsilon, Objective
from lightning_binding.rin.sampling import Carry, Sampling
from lightning_binding.rin.schedules import Schedule, Sigmoid


class RINDiffusion(BindingModule):
    """Trains a Recurrent Interface Network as a diffusion model, and samples from it.

    Args:
        network: Name of a preset in timm's registry (`timm.list_models("rin_*")`), or a network of a RIN's call, with
            its attributes `image_size`, `in_channels` and `num_classes`.
        network_options: Arguments that override those of the preset, such as `{num_classes: 100}`.
        schedule: Noise schedule gamma(t) in training; None is the paper's sigmoid of temperature 0.9.
        objective: What the network predicts: `Epsilon`, `X0`, `V` or `Flow`; None is `Epsilon`, as in the paper.
        input_scale: Factor b on the data; below 1 the process is noisier, which suits large images (2301.10972).
        normalize_input: Divide the network's input by its standard deviation; set it with `input_scale` below 1.
        self_conditioning: Share of training examples that are given the latents of a first pass.
        label_dropout: Share of training examples with the null label; guidance needs some.
        sampling: How samples are drawn; None is `Sampling()`, 50 steps of DDIM.
        optimizer: Factory of the optimizer.
        scheduler: Factory of the learning-rate scheduler, stepped after every optimizer step; None keeps the rate.
        init_from: Checkpoint or safetensors file whose weights the run starts from.
        core_from: Checkpoint or safetensors file of a RIN for other data, whose latents and blocks the run starts from;
            what depends on the data (patches, positions of the interface, classes) starts anew.
        bits: Write pictures as analog bits: `BinaryBits`, `PermutedBits`, `GrayBits` or `OneHot`, for the objectives
            `X0`, `SigmoidBits` and `SoftmaxBits`; None leaves them real numbers.
        compile: Compile the network with `torch.compile`: True, or a mapping of its arguments.
    """

    def __init__(
        self,
        network: str | nn.Module = "rin_emoji32",
        network_options: dict[str, Any] | None = None,
        schedule: Schedule | None = None,
        objective: Objective | None = None,
        input_scale: float = 1.0,
        normalize_input: bool = False,
        self_conditioning: float = 0.9,
        label_dropout: float = 0.0,
        sampling: Sampling | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool | dict[str, Any] = False,
        core_from: str | None = None,
        bits: AnalogBits | None = None,
    ) -> None:
        super().__init__(optimizer, scheduler, init_from, compile)
        self.save_hyperparameters()
        options = dict(network_options or {})
        if bits is not None:
            options.setdefault("in_channels", 3 * bits.width)
        self.network = create_network(network, options) if isinstance(network, str) else network
        check_denoiser(self.network)
        if bits is not None:
            suit_bits(self.network, bits, objective)
        self.diffusion = Diffusion(
            schedule or Sigmoid(),
            objective or Epsilon(),
            input_scale,
            normalize_input,
            self_conditioning,
            label_dropout,
            bits,
        )
        self.sampling = sampling or Sampling()
        self._core_from = core_from

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the pictures as the network sees them; of bits C is channels times width."""
        size = cast(int, self.network.image_size)
        return cast(int, self.network.in_channels), size, size

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of one sample: that of a picture."""
        return self.image_shape

    def examples(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """What of a batch is learnt, and what is given beside it: pictures, uint8 (B, C, H, W), and nothing."""
        return batch["image"], None

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 for an unconditional network."""
        return cast(int, self.network.num_classes)

    def trained(self) -> nn.Module:
        """The network is what is trained, averaged and compiled."""
        return self.network

    def shards(self) -> list[nn.Module]:
        """The blocks of the network."""
        return list(cast(Any, getattr(self.network, "blocks", [])))

    def setup(self, stage: str) -> None:
        """Also compares the classes of the data with the network's."""
        data = getattr(self._trainer, "datamodule", None)
        classes = getattr(data, "num_classes", 0)
        if classes > self.num_classes > 0:
            raise InputError(
                f"the data has {classes} classes, the network {self.num_classes}: "
                f"set --model.network_options '{{\"num_classes\": {classes}}}'."
            )
        size = getattr(data, "image_size", self.image_shape[-1])
        if size != self.image_shape[-1]:
            raise InputError(
                f"the data's images have {size} pixels, the network's {self.image_shape[-1]}: set --data.image_size "
                "or network_options.image_size."
            )
        if stage == "fit" and self._core_from is not None:
            load_core(self.network, self._core_from)
            self._core_from = None
        super().setup(stage)

    def losses(self, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        """The loss of each example of a batch, (B,)."""
        data, given = self.examples(batch)
        context = None if given is None else self.diffusion.from_images(given)
        label = batch.get("label") if self.num_classes else None
        return self.diffusion.losses(
            self.network, self.diffusion.from_images(data), label, context, generator=generator
        ).loss

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The mean loss of a batch `{image: uint8 (B, C, H, W), label: (B,)}`."""
        losses = self.losses(batch, self.generator)
        self.log("train/loss", losses.mean(), prog_bar=True, batch_size=len(losses))
        return losses.mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The same loss, with draws that are the same in every validation."""
        losses = self.losses(batch, self._generator_of(batch_idx))
        self.log("val/loss", losses.mean(), prog_bar=True, sync_dist=True, batch_size=len(losses))

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The loss on the test set."""
        losses = self.losses(batch, self._generator_of(batch_idx))
        self.log("test/loss", losses.mean(), sync_dist=True, batch_size=len(losses))

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """One sample for each label of the batch, uint8 (B, C, H, W)."""
        label = batch.get("label") if self.num_classes else None
        return self.sample(len(batch["image"]), label=label, generator=self._generator_of(batch_idx))

    def _generator_of(self, batch_idx: int) -> torch.Generator:
        """The draws of a batch of evaluation: the same whenever it is evaluated, other ones on every rank."""
        ranks = 1 if self._trainer is None else self._trainer.world_size
        return torch.Generator(self.device).manual_seed(batch_idx * ranks + self.global_rank)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        label: Tensor | None = None,
        context: Tensor | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ) -> Tensor:
        """Draws samples with the current weights.

        Args:
            num: How many.
            label: Classes (num,); None takes the classes in turn.
            context: Clean frames, uint8 (num, T_c, C, H, W), for a network that predicts videos from them.
            steps: Sampling steps; None takes those of `sampling`.
            generator: Source of the noise, on the module's device; None is seeded with 0.
            batch_size: Samples that are drawn at a time.
            progress: Show a progress bar over all steps.

        Returns:
            uint8 pictures (num, C, H, W) or clips (num, T, C, H, W) on the module's device.

        Raises:
            InputError: If a label is outside the classes, a number is not positive, or the context is missing, not
                asked for, or of another shape than the network's.
        """
        if num < 1 or batch_size < 1:
            raise InputError(f"num={num} and batch_size={batch_size} must be 1 or more.")
        check_context(self.network, num, context)
        steps = self.sampling.steps if steps is None else steps
        generator = generator or torch.Generator(self.device).manual_seed(0)
        label = self._labels(num, label)
        starts = range(0, num, batch_size)
        drawn = []
        with evaluating(self.network), tqdm(total=len(starts) * steps, desc="sampling", disable=not progress) as bar:
            for start in starts:
                part = slice(start, min(start + batch_size, num))
                some_labels, some_context = (None if each is None else each[part] for each in (label, context))
                drawn.append(self._draw(part.stop - start, some_labels, some_context, steps, generator, bar))
        return torch.cat(drawn)

    def _draw(
        self,
        num: int,
        label: Tensor | None,
        context: Tensor | None,
        steps: int,
        generator: torch.Generator,
        bar: "tqdm[Any]",
        carry: Carry | None = None,
    ) -> Tensor:
        """One batch of samples, uint8 (num, …)."""

        def advance(step: int, x_0: Tensor) -> None:
            bar.update()

        noise = torch.randn(num, *self.sample_shape, device=self.device, generator=generator)
        given = None if context is None else self.diffusion.from_images(context.to(self.device))
        x_0 = self.sampling(
            self.network,
            self.diffusion,
            noise,
            label,
            given,
            steps=steps,
            generator=generator,
            on_step=advance,
            carry=carry,
        )
        return self.diffusion.to_images(x_0)

    def _labels(self, num: int, label: Tensor | None) -> Tensor | None:
        """Classes (num,) on the module's device, in turn where none are given; None for an unconditional network."""
        if not self.num_classes:
            return None
        label = torch.arange(num) % self.num_classes if label is None else label
        check_labels(label.cpu(), self.num_classes)
        return label.to(self.device)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode it was in afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
