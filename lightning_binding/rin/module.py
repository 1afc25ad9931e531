"""RINDiffusion: images and videos by diffusion with a RIN, or any network of its call, as a LightningModule."""

import inspect
from typing import Any, cast

import timm
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn
from tqdm import tqdm

from lightning_binding.errors import InputError
from lightning_binding.module import BindingModule
from lightning_binding.names import did_you_mean
from lightning_binding.rin.checks import check_labels
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.network import RIN
from lightning_binding.rin.objectives import Epsilon, Objective
from lightning_binding.rin.sampling import Sampling
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
    ) -> None:
        super().__init__(optimizer, scheduler, init_from, compile)
        self.save_hyperparameters()
        self.network = create_network(network, network_options or {}) if isinstance(network, str) else network
        check_denoiser(self.network)
        self.diffusion = Diffusion(
            schedule or Sigmoid(),
            objective or Epsilon(),
            input_scale,
            normalize_input,
            self_conditioning,
            label_dropout,
        )
        self.sampling = sampling or Sampling()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the pictures."""
        size = cast(int, self.network.image_size)
        return cast(int, self.network.in_channels), size, size

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 for an unconditional network."""
        return cast(int, self.network.num_classes)

    def trained(self) -> nn.Module:
        """The network is what is trained, averaged and compiled."""
        return self.network

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
        super().setup(stage)

    def losses(self, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        """The loss of each example of a batch, (B,)."""
        x_0 = self.diffusion.from_images(batch["image"])
        label = batch.get("label") if self.num_classes else None
        return self.diffusion.losses(self.network, x_0, label, generator=generator).loss

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The mean loss of a batch `{image: uint8 (B, C, H, W), label: (B,)}`."""
        loss = self.losses(batch, self.generator).mean()
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["image"]))
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The same loss, with draws that are the same in every validation."""
        loss = self.losses(batch, self._generator_of(batch_idx)).mean()
        self.log("val/loss", loss, prog_bar=True, sync_dist=True, batch_size=len(batch["image"]))

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The loss on the test set."""
        loss = self.losses(batch, self._generator_of(batch_idx)).mean()
        self.log("test/loss", loss, sync_dist=True, batch_size=len(batch["image"]))

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
        steps: int | None = None,
        generator: torch.Generator | None = None,
        batch_size: int = 64,
        progress: bool = False,
    ) -> Tensor:
        """Draws pictures with the current weights.

        Args:
            num: How many.
            label: Classes (num,); None takes the classes in turn.
            steps: Sampling steps; None takes those of `sampling`.
            generator: Source of the noise, on the module's device; None is seeded with 0.
            batch_size: Pictures that are sampled at a time.
            progress: Show a progress bar over all steps.

        Returns:
            uint8 pictures (num, C, H, W) on the module's device.

        Raises:
            InputError: If a label is outside the classes, or a number is not positive.
        """
        if num < 1 or batch_size < 1:
            raise InputError(f"num={num} and batch_size={batch_size} must be 1 or more.")
        steps = self.sampling.steps if steps is None else steps
        generator = generator or torch.Generator(self.device).manual_seed(0)
        if self.num_classes:
            label = torch.arange(num) % self.num_classes if label is None else label
            check_labels(label.cpu(), self.num_classes)
            label = label.to(self.device)
        else:
            label = None
        training = self.network.training
        self.network.eval()
        pictures = []
        batches = [min(batch_size, num - start) for start in range(0, num, batch_size)]

        def advance(step: int, x_0: Tensor) -> None:
            bar.update()

        with tqdm(total=len(batches) * steps, desc="sampling", disable=not progress) as bar:
            for index, size in enumerate(batches):
                noise = torch.randn(size, *self.image_shape, device=self.device, generator=generator)
                x_0 = self.sampling(
                    self.network,
                    self.diffusion,
                    noise,
                    None if label is None else label[index * batch_size :][:size],
                    steps=steps,
                    generator=generator,
                    on_step=advance,
                )
                pictures.append(self.diffusion.to_images(x_0))
        self.network.train(training)
        return torch.cat(pictures)


def check_denoiser(network: nn.Module) -> None:
    """Raises an `InputError` if a network cannot say which pictures it is for, as other models of timm cannot."""
    missing = [name for name in ("image_size", "in_channels", "num_classes") if not hasattr(network, name)]
    if missing:
        raise InputError(
            f"network: a {type(network).__name__} is no denoiser, it has no {' and no '.join(missing)}; expected a RIN "
            "(`rin_cifar10`, …) or a network with its call and these attributes."
        )


def create_network(name: str, options: dict[str, Any]) -> nn.Module:
    """A network from timm's registry.

    Raises:
        InputError: If the name is unknown, or an option is not one of the preset's.
    """
    if not timm.is_model(name):
        raise InputError(f"unknown network {name!r}{did_you_mean(name, timm.list_models('rin_*'))}")
    try:
        network: nn.Module = timm.create_model(name, **options)
    except TypeError as error:
        known = inspect.signature(RIN).parameters
        wrong = next((option for option in options if option not in known), None)
        if wrong is None:
            raise
        raise InputError(f"network_options: {name} has no option {wrong!r}{did_you_mean(wrong, known)}") from error
    return network
