"""The Fréchet distance between two streams of features: sums in float64, exact under any number of processes."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialize
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_binding.errors import InputError
from lightning_binding.metrics.gaussian import add_products_, frechet_distance, moments

BLOCK = 2048  # rows that are folded in at a time: one pass over the d x d sums for all of them

Statistics = dict[str, Tensor]


def _check_finite(features: Tensor) -> None:
    if not bool(features.isfinite().all()):
        raise InputError("the extractor returned features that are not finite: are its input, or its weights?")


class StreamingFrechet(Metric):
    """Fréchet distance between the features of a real and of a generated set, of whatever the extractor takes.

    The sums of x and x x^T are kept in float64: memory does not grow with the number of samples, and the result is
    exact under any number of processes. Features wait in a buffer until there are enough for one matrix product.

    Args:
        extractor: Module from samples to features (N, d).
        reset_real_features: False keeps the real side when the metric is reset.
        unbiased: Divide the covariance by N - 1; False divides it by N.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    sides = ("real", "fake")

    def __init__(
        self, extractor: nn.Module, reset_real_features: bool = True, unbiased: bool = True, **options: Any
    ) -> None:
        super().__init__(**options)
        self.extractor = extractor.eval()
        self.reset_real_features, self.unbiased = reset_real_features, unbiased
        for side in self.sides:
            self.add_state(f"{side}_count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(0, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state(f"{side}_products", torch.zeros(0, 0, dtype=torch.float64), dist_reduce_fx="sum")
        self._waiting: dict[str, list[Tensor]] = {side: [] for side in self.sides}

    def update(self, samples: Tensor, real: bool) -> None:
        """Adds samples to a side.

        Args:
            samples: What the extractor takes.
            real: Whether they are the real side's.

        Raises:
            InputError: If the features are not (N, d), or not finite; on a GPU that is seen when 2,048 have come
                together, or at `compute`, and those that came with them are left out.
        """
        with torch.no_grad():
            self._add(self.extractor(samples), real)

    def update_features(self, features: Tensor, real: bool) -> None:
        """Adds the features (N, d) of samples to a side; see `update`."""
        self._computed, self._update_count = None, self._update_count + 1  # what torchmetrics does in `update`
        self._add(features, real)

    def _add(self, features: Tensor, real: bool) -> None:
        if features.ndim != 2:
            raise InputError(f"the extractor returned features of shape {tuple(features.shape)}, expected (N, d).")
        if features.device.type == "cpu":  # elsewhere it is looked at with others, as looking waits for the device
            _check_finite(features)
        side = self.sides[not real]
        self._waiting[side].append(features.detach())
        if sum(len(rows) for rows in self._waiting[side]) >= BLOCK:
            self._fold(side)

    def _fold(self, side: str) -> None:
        if not self._waiting[side]:
            return
        rows = torch.cat(self._waiting[side]).to(self.device, torch.float64)
        self._waiting[side] = []
        _check_finite(rows)
        if not getattr(self, f"{side}_sum").numel():
            self._make_room(side, rows.shape[1])
        setattr(self, f"{side}_count", getattr(self, f"{side}_count") + len(rows))
        setattr(self, f"{side}_sum", getattr(self, f"{side}_sum") + rows.sum(dim=0))
        add_products_(getattr(self, f"{side}_products"), rows)

    def _make_room(self, side: str, width: int) -> None:
        zeros = torch.zeros(width + 1, width, dtype=torch.float64, device=self.device)
        setattr(self, f"{side}_sum", zeros[0].clone())
        setattr(self, f"{side}_products", zeros[1:].clone())

    def flush(self) -> None:
        """Folds in what waits."""
        for side in self.sides:
            self._fold(side)

    def statistics(self, real: bool) -> Statistics:
        """Count, mean (d,) and covariance (d, d) of a side, as gathered by this process."""
        self.flush()
        side = self.sides[not real]
        count = getattr(self, f"{side}_count")
        mean, covariance = moments(
            count, getattr(self, f"{side}_sum"), getattr(self, f"{side}_products"), self.unbiased
        )
        return {"count": count, "mean": mean, "covariance": covariance}

    def compute(self) -> Tensor:
        """The distance, a float64 scalar.

        Raises:
            InputError: If a side has fewer than two samples.
        """
        real, fake = self.statistics(real=True), self.statistics(real=False)
        return frechet_distance(real["mean"], real["covariance"], fake["mean"], fake["covariance"])

    def sync(self, *arguments: Any, **options: Any) -> None:
        """Gathers the sums of all processes, with what waits folded in."""
        self.flush()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self._agree_on_width()
        super().sync(*arguments, **options)

    def _agree_on_width(self) -> None:
        """A process that saw nothing of a side takes part with zeros of the others' size."""
        for side in self.sides:
            width = torch.tensor(getattr(self, f"{side}_sum").numel(), device=self.device)
            torch.distributed.all_reduce(width, torch.distributed.ReduceOp.MAX)
            if not getattr(self, f"{side}_sum").numel() and int(width):
                self._make_room(side, int(width))

    def reset(self) -> None:
        """Forgets both sides, or the generated one alone."""
        kept = {}
        if not self.reset_real_features:
            self._fold("real")
            kept = {f"real_{name}": getattr(self, f"real_{name}") for name in ("count", "sum", "products")}
        self._waiting = {side: [] for side in self.sides}
        super().reset()
        for name, value in kept.items():
            setattr(self, name, value)

    def take_real(self, other: "StreamingFrechet") -> None:
        """Takes the real side of another metric, of the same features."""
        other.flush()
        self._waiting["real"] = []
        for name in ("count", "sum", "products"):
            setattr(self, f"real_{name}", getattr(other, f"real_{name}").clone())

    def save_real(self, path: str | Path) -> None:
        """Writes the real side's sums as safetensors."""
        self.flush()
        sums = {name: getattr(self, f"real_{name}").contiguous() for name in ("count", "sum", "products")}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        partial = Path(f"{path}.part")
        partial.write_bytes(serialize(sums))
        partial.rename(path)

    def load_real(self, path: str | Path) -> None:
        """Takes the real side from a file that `save_real` wrote; in a distributed run, on the first process alone.

        Raises:
            InputError: If the file is damaged.
        """
        try:
            sums = load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} cannot be read as statistics ({error}): delete it to have them again.") from error
        size = tuple(sums["sum"].shape)[:1] if "sum" in sums else ()
        for name, shape in {"count": (), "sum": size, "products": size * 2}.items():
            own = getattr(self, f"real_{name}")
            if name not in sums or tuple(sums[name].shape) != shape or sums[name].dtype != own.dtype:
                raise InputError(f"{path} has no {name} of shape {shape} in {own.dtype}: delete it to have it again.")
            setattr(self, f"real_{name}", sums[name].to(self.device))

    def __getstate__(self) -> dict[str, Any]:
        """Folds in what waits before the metric is copied or pickled."""
        self.flush()
        state: dict[str, Any] = super().__getstate__()
        return state

    def state_dict(self, *arguments: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        """Folds in what waits before the state is read."""
        self.flush()
        state: dict[str, Any] = super().state_dict(*arguments, **options)
        return state
