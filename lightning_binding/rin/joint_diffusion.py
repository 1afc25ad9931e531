"""RINJoint: several modalities by one diffusion model, each with its noise level, as a LightningModule."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from lightning_binding.errors import InputError
from lightning_binding.module import BindingModule
from lightning_binding.rin.joint import JointRIN
from lightning_binding.rin.modalities import Category, Modality, Pictures
from lightning_binding.rin.module import evaluating
from lightning_binding.rin.objectives import Flow, Objective, add_noise
from lightning_binding.rin.samplers import Denoiser
from lightning_binding.rin.sampling import Sampling, find_sampler
from lightning_binding.rin.schedules import Rectified, Schedule


class RINJoint(BindingModule):
    """Trains one RIN on several modalities together, and samples any of them given any others.

    In training every modality of every example has a noise level of its own (arXiv 2303.06555). In sampling, what is
    given is clean, what is wanted is sampled, and what is neither is pure noise.

    Args:
        modalities: The parts of a batch that are learnt together; None is a picture and its category.
        network_options: Arguments of `JointRIN`, such as `{latents: 32}`.
        schedule: Noise schedule gamma(t) in training; None is the straight line of flow matching.
        objective: What the network predicts for every modality; None is `Flow`.
        weights: Weight of each modality's loss; None weighs them alike.
        ends: Share of the modalities of the examples whose level is an end of the schedule: half of them are clean, and
            left out of the loss, half are noise. These are the levels that conditionals and marginals are sampled at.
        self_conditioning: Share of training examples that are given the latents of a first pass.
        sampling: How samples are drawn; None is `Sampling()`, 50 steps of DDIM.
        eval_steps: Steps with which validation samples every modality given the others; with one, the answer is the
            mean of what is possible.
        optimizer: Factory of the optimizer.
        scheduler: Factory of the learning-rate scheduler, stepped after every optimizer step; None keeps the rate.
        init_from: Checkpoint or safetensors file whose weights the run starts from.
        compile: Compile the network with `torch.compile`: True, or a mapping of its arguments.

    Raises:
        InputError: If there are fewer than two modalities, two of one name, or as many weights as not.
    """

    def __init__(
        self,
        modalities: list[Modality] | None = None,
        network_options: dict[str, Any] | None = None,
        schedule: Schedule | None = None,
        objective: Objective | None = None,
        weights: list[float] | None = None,
        ends: float = 0.3,
        self_conditioning: float = 0.9,
        sampling: Sampling | None = None,
        eval_steps: int = 1,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool | dict[str, Any] = False,
    ) -> None:
        super().__init__(optimizer, scheduler, init_from, compile)
        self.save_hyperparameters()
        self.modalities: list[Modality] = [Pictures(), Category()] if modalities is None else modalities
        self.keys = [each.key for each in self.modalities]
        if len(self.keys) < 2 or len(set(self.keys)) < len(self.keys):
            raise InputError(f"modalities {self.keys}: expected two or more, each with a key of its own.")
        self.weights = [1.0] * len(self.keys) if weights is None else weights
        if len(self.weights) != len(self.keys):
            raise InputError(f"weights={self.weights}: expected one for each modality, {self.keys}.")
        for name, share in (("ends", ends), ("self_conditioning", self_conditioning)):
            if not 0 <= share <= 1:
                raise InputError(f"{name}={share} must be a share, in [0, 1].")
        self.network = JointRIN([each.shape for each in self.modalities], **network_options or {})
        self.schedule, self.objective = schedule or Rectified(), objective or Flow()
        self.ends, self.self_conditioning, self.eval_steps = ends, self_conditioning, eval_steps
        self.sampling = sampling or Sampling()

    def trained(self) -> nn.Module:
        """The network is what is trained, averaged and compiled."""
        return self.network

    def losses(self, batch: dict[str, Any], generator: torch.Generator | None) -> Tensor:
        """The loss of each modality, (M,): the mean over the examples in which it is not clean."""
        x_0 = [each.encode(each.of(batch)) for each in self.modalities]
        count, device = len(x_0[0]), x_0[0].device

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, device=device, generator=generator)

        gamma, end = self.schedule(uniform(count, len(x_0))), uniform(count, len(x_0))
        gamma = torch.where(end < self.ends, (end < self.ends / 2).float(), gamma)
        eps = [torch.randn(each.shape, device=device, generator=generator) for each in x_0]
        x = [add_noise(*each) for each in zip(x_0, eps, gamma.unbind(1), strict=True)]
        latents = None
        if self.self_conditioning > 0:
            with torch.no_grad():
                latents = self.network(x, gamma, readout=False).latents
            latents = latents * (uniform(count) < self.self_conditioning)[:, None, None]
        predictions = self.network(x, gamma, latents).predictions
        losses = []
        for index, prediction in enumerate(predictions):
            target = self.objective.target(x_0[index], eps[index], gamma[:, index])
            error = (prediction.float() - target).square().flatten(1).mean(1)
            noisy = (gamma[:, index] < 1).float()
            losses.append((error * noisy).sum() / noisy.sum().clamp_min(1))
        return torch.stack(losses)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The weighted loss of a batch."""
        losses = self.losses(batch, self.generator)
        loss = self._together(losses)
        self.log("train/loss", loss, prog_bar=True, batch_size=self._size(batch))
        for key, each in zip(self.keys, losses, strict=True):
            self.log(f"train/loss_{key}", each, batch_size=self._size(batch))
        return loss

    def _together(self, losses: Tensor) -> Tensor:
        """The weighted sum of the modalities' losses (M,), without a copy to the device that the host waits for."""
        return torch.stack([weight * each for weight, each in zip(self.weights, losses, strict=True)]).sum()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The loss, and how well each modality is found from the others."""
        self._evaluate(batch, batch_idx, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """The same on the test set."""
        self._evaluate(batch, batch_idx, "test")

    def _evaluate(self, batch: dict[str, Any], batch_idx: int, stage: str) -> None:
        generator = torch.Generator(self.device).manual_seed(batch_idx)
        losses, size = self.losses(batch, generator), self._size(batch)
        values = {f"{stage}/loss": self._together(losses)}
        values |= {f"{stage}/loss_{key}": loss for key, loss in zip(self.keys, losses, strict=True)}
        data = {each.key: each.of(batch) for each in self.modalities}
        for modality in self.modalities:
            if modality.agreement(*[modality.decode(modality.encode(data[modality.key][:1]))] * 2) is not None:
                given = {key: value for key, value in data.items() if key != modality.key}
                found = self.sample(size, [modality.key], given, steps=self.eval_steps, generator=generator)
                agreement = modality.agreement(found[modality.key], data[modality.key])
                assert agreement is not None
                values[f"{stage}/{modality.key}_given_the_rest"] = agreement.mean()
        self.log_dict(values, sync_dist=True, batch_size=size)

    def _size(self, batch: dict[str, Any]) -> int:
        return len(self.modalities[0].of(batch))

    @torch.no_grad()
    def sample(
        self,
        num: int,
        wanted: Sequence[str] | None = None,
        given: Mapping[str, Tensor] | None = None,
        *,
        steps: int | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Samples some modalities given others.

        Args:
            num: How many.
            wanted: Keys of the modalities to sample; None is all that are not given.
            given: Data of others, as in a batch, `num` of each.
            steps: Sampling steps; None takes those of `sampling`.
            generator: Source of the noise, on the module's device; None is seeded with 0.

        Returns:
            What was wanted, by key, as in a batch.

        Raises:
            InputError: If a key is unknown, or nothing is wanted, or something is both wanted and given.
        """
        given = {} if given is None else given
        wanted = [key for key in self.keys if key not in given] if wanted is None else list(wanted)
        unknown = sorted({*wanted, *given} - set(self.keys))
        if unknown or not wanted or set(wanted) & set(given):
            raise InputError(f"wanted {wanted}, given {list(given)}: expected distinct ones of {self.keys}.")
        generator = generator or torch.Generator(self.device).manual_seed(0)
        x = {
            each.key: torch.randn(num, *self._sizes(each), device=self.device, generator=generator)
            for each in self.modalities
        }
        levels = {key: float(key in given) for key in self.keys}
        x |= {each.key: each.encode(given[each.key].to(self.device)) for each in self.modalities if each.key in given}
        chosen = [each for each in self.modalities if each.key in wanted]
        with evaluating(self.network):
            x_0 = find_sampler(self.sampling.sampler)(
                self._denoiser(x, levels, chosen),
                torch.cat([x[each.key].flatten(1) for each in chosen], 1),
                steps=self.sampling.steps if steps is None else steps,
                schedule=self.sampling.schedule,
                objective=self.objective,
                clip=1.0 if self.sampling.clip else None,
                time_difference=self.sampling.time_difference,
                generator=generator,
            )
        return {each.key: each.decode(part) for each, part in zip(chosen, self._parts(x_0, chosen), strict=True)}

    def _denoiser(self, x: dict[str, Tensor], levels: dict[str, float], chosen: list[Modality]) -> Denoiser:
        """The network as one of the wanted numbers alone, (B, numbers); the others stay as they are."""

        def denoise(flat: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, Tensor | None]:
            now = x | {each.key: part for each, part in zip(chosen, self._parts(flat, chosen), strict=True)}
            names = [each.key for each in chosen]
            level = torch.stack([gamma if key in names else gamma * 0 + levels[key] for key in self.keys], 1)
            predictions, latents, _ = self.network([now[key] for key in self.keys], level, latents)
            found = dict(zip(self.keys, predictions, strict=True))
            rows = torch.cat([found[key].float().flatten(1) for key in names], 1)
            return rows, latents if self.self_conditioning > 0 else None

        return denoise

    def _parts(self, flat: Tensor, chosen: list[Modality]) -> list[Tensor]:
        """Numbers (B, all) as those of each modality, (B, C, H, W)."""
        sizes = [self._sizes(each) for each in chosen]
        parts = torch.split(flat, [channels * height * width for channels, height, width in sizes], 1)
        return [part.reshape(-1, *size) for part, size in zip(parts, sizes, strict=True)]

    @staticmethod
    def _sizes(modality: Modality) -> tuple[int, int, int]:
        channels, size, _ = modality.shape
        return channels, size, size
