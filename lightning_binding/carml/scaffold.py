"""The task scaffold q(s|z): features of observations, and a mixture over whole trajectories of them.

CARML's E-step (arXiv 1912.04226, section 3): features are learnt by alternating between clustering trajectories and
telling the clusters apart, then the mixture is fitted to them,

    max_q  E_tau [log sum_z q(z) prod_t q(g(s_t)|z)],

and its densities of single states make the reward. Features are standardised, so that densities have a scale.
"""

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from lightning_binding.carml.calibration import calibrated_noise
from lightning_binding.carml.covariance import Covariance, FullCovariance
from lightning_binding.carml.em import MixtureFit, fit_mixture
from lightning_binding.carml.matching import match_components
from lightning_binding.carml.mixture import GaussianMixture
from lightning_binding.carml.plain_features import BATCH, LEAST_DEVIATION, Features
from lightning_binding.carml.selection import choose_components
from lightning_binding.errors import InputError
from lightning_binding.together import decided_by_first, gather_rows

NEXT_FIT = "is used from the next fit of the scaffold on"
CHOSEN = "is not used, as the first fit has chosen the number of tasks"
RANDOM = "is not used, as the random states of the checkpoint go on"


class ScaffoldFit(NamedTuple):
    """What `Scaffold.fit` returns.

    Attributes:
        objective: Mean log-likelihood (or tempered free energy) of a trajectory over the iterations of EM, in nats.
        kept: Share of the trajectories that stay with their task, matched to those of the fit before; 1 at the first.
        reseeded: Iterations in which an empty component was seeded again.
        noise: Variance of the noise through which states are judged; 0 if the scaffold is not `calibrated`.
        told: What there is to tell of the learning of features.
    """

    objective: list[float]
    kept: float
    reseeded: list[int]
    noise: float
    told: dict[str, float]


class Scaffold:
    """A distribution of tasks that is fitted to trajectories, and the densities of states under its tasks.

    Under `torch.distributed`, every process calls `fit` with the trajectories of its own: it is fitted to all of them
    by the first, and handed to the others.

    Args:
        components: Number of tasks, K; where `candidates` are given, that of the clusters features are learnt with.
        features: What is modelled of an observation; None takes its numbers, `DiscriminativeFeatures()` learns them.
        covariance: Family of the components' covariances; None is `FullCovariance()`.
        mean_over_time: Weigh a trajectory by the mean of its states' log-likelihoods: softer than the sum.
        state_level: Let every state have a component of its own, as if trajectories had one state; DIAYN's view.
        candidates: Numbers of tasks of which the first fit chooses; None leaves `components`.
        held_out: Share of the trajectories by which it chooses; None chooses by the Bayesian information criterion.
        warm_start: Start each fit from the tasks of the fit before; False starts with k-means.
        restarts: Fits from different k-means of which the best is kept, where k-means is started with.
        iterations: Most iterations of EM.
        seed: Of all random numbers.
        calibrated: Judge single states through as much noise as makes the mixture as sure of their tasks as it may be
            (`lightning_binding.carml.calibration`); trajectories are told apart as the mixture was fitted.

    Raises:
        InputError: If a number is not positive.
    """

    def __init__(
        self,
        components: int = 16,
        features: Features | None = None,
        covariance: Covariance | None = None,
        mean_over_time: bool = False,
        state_level: bool = False,
        candidates: list[int] | None = None,
        held_out: float | None = None,
        warm_start: bool = True,
        restarts: int = 3,
        iterations: int = 100,
        seed: int = 0,
        calibrated: bool = False,
    ) -> None:
        for name, value in {"components": components, "restarts": restarts, "iterations": iterations}.items():
            if value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        self.components, self.features = components, features
        self.covariance, self.mean_over_time, self.state_level = covariance, mean_over_time, state_level
        self.candidates, self.held_out, self.warm_start = candidates, held_out, warm_start
        self.restarts, self.iterations, self.seed = restarts, iterations, seed
        self.calibrated = calibrated
        self.network = features or Features()
        self.generator = torch.Generator().manual_seed(seed)
        self.device = torch.device("cpu")
        self._take(None, 0.0)
        self._mean, self._std, self._axes = torch.zeros(1), torch.ones(1), 0

    @property
    def fitted(self) -> bool:
        """Whether there are tasks yet."""
        return self._mixture is not None

    @property
    def mixture(self) -> GaussianMixture:
        """The mixture over standardised features; raises `InputError` before the first fit."""
        if self._mixture is None:
            raise InputError("the scaffold has no tasks yet: fit it to trajectories first.")
        return self._mixture

    @property
    def log_prior(self) -> Tensor:
        """Log q(z), (K,)."""
        return self.mixture.log_prior

    def to(self, device: torch.device | str) -> Self:
        """Moves what it computes with to a device."""
        self.device = torch.device(device)
        self.network.to(self.device)
        self._mean, self._std = self._mean.to(self.device), self._std.to(self.device)
        self._take(None if self._mixture is None else self._mixture.to(self.device), self.noise)
        return self

    def fit(self, trajectories: Tensor) -> ScaffoldFit:
        """Fits the tasks to trajectories; those of the fit before keep their numbers as far as they can.

        Args:
            trajectories: Observations (N, T, ...), numbers in float or pictures in uint8.

        Raises:
            InputError: If there are fewer trajectories than tasks, or something is not finite.
        """
        everything = gather_rows(trajectories)

        def compute() -> tuple[dict[str, Any], list[Any]]:
            fit = self._fit(everything)
            return self.state_dict(), list(fit)

        state, found = decided_by_first(compute)
        self.load_state_dict(state)
        return ScaffoldFit(*found)

    def log_likelihood(self, states: Tensor) -> Tensor:
        """Log q(s|k) of observations (..., *shape): (..., K), in nats of the standardised features."""
        return self._judge(self._of_states, states)

    def log_posterior(self, trajectories: Tensor) -> Tensor:
        """Log q(z|tau) of trajectories (..., T, *shape): (..., K), by the rule that was fitted with."""
        each = self._judge(self._mixture, trajectories)
        whole = each.mean(-2) if self.mean_over_time else each.sum(-2)
        return (whole + self.log_prior).log_softmax(-1)

    def assign(self, trajectories: Tensor) -> Tensor:
        """The most probable task of trajectories (..., T, *shape): (...), int64."""
        return self.log_posterior(trajectories).argmax(-1)

    @torch.no_grad()
    def embed(self, observations: Tensor) -> Tensor:
        """Standardised features (M, d) of observations (M, *shape)."""
        return (self._encode(observations) - self._mean) / self._std

    def state_dict(self) -> dict[str, Any]:
        """All of it, as plain data and tensors on the CPU."""
        mixture = None if self._mixture is None else self._mixture.to("cpu").tensors()
        return {
            "mixture": mixture,
            "noise": self.noise,
            "mean": self._mean.cpu(),
            "std": self._std.cpu(),
            "axes": self._axes,
            "kind": type(self.network).__name__,
            "features": self.network.description(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state; what is set otherwise holds from the next fit on.

        Raises:
            InputError: If its tasks are of other features.
        """
        self._restore_features(state)
        mixture = None if state["mixture"] is None else GaussianMixture(**state["mixture"])
        self._take(mixture, float(state.get("noise", 0.0)))  # older states have none
        self._mean, self._std, self._axes = state["mean"], state["std"], int(state["axes"])
        self.generator.set_state(state["generator"].cpu())
        self.to(self.device)

    def when_resumed(self, option: str, state: dict[str, Any]) -> str | None:
        """What becomes of an option that was another one when a state was made; see `BindingModule.when_resumed`.

        Raises:
            InputError: If the tasks of the state are of other features.
        """
        name, _, inner = option.partition(".")
        if name == "seed":
            return RANDOM
        if state["mixture"] is None:
            return None
        if self.candidates and name in ("held_out", "components", "candidates"):
            return CHOSEN
        if name in ("held_out", "mean_over_time"):  # nothing to choose from; what is asked of a mixture at any time
            return None
        if name in ("", "features"):
            self._restore_features(state)
        if inner.startswith("encoder"):
            return "is used, with the weights of the checkpoint"
        return NEXT_FIT

    def _restore_features(self, state: dict[str, Any]) -> None:
        kind, own = state.get("kind"), type(self.network).__name__
        if kind not in (None, own) and state["mixture"] is not None:
            raise InputError(
                f"the tasks in the checkpoint are of {kind}, and `features` of the scaffold are {own}: give those they "
                "were fitted to, or begin anew from the agent's weights, by --model.init_from."
            )
        if kind in (None, own):
            self.network.restore(state["features"])

    def _take(self, mixture: GaussianMixture | None, noise: float) -> None:
        """Makes a mixture that of the tasks, with the noise through which it judges single states."""
        self._mixture, self.noise = mixture, noise
        self._of_states = None if mixture is None else mixture.blurred(noise)

    def _judge(self, mixture: GaussianMixture | None, states: Tensor) -> Tensor:
        mixture = mixture or self.mixture
        lead = states.shape[: states.ndim - self._axes]
        each = mixture.log_likelihood(self.embed(states.reshape(lead.numel(), *states.shape[len(lead) :])))
        return each.reshape(*lead, mixture.components)

    def _encode(self, observations: Tensor) -> Tensor:
        parts = [self.network(part.to(self.device)) for part in torch.split(observations, BATCH)]
        return torch.cat(parts)

    def _fit(self, trajectories: Tensor) -> ScaffoldFit:
        if trajectories.ndim < 3 or not len(trajectories):
            raise InputError(
                f"trajectories have the shape {tuple(trajectories.shape)}, expected (N, T, ...) with N of 1 or more."
            )
        before = self._owners(trajectories) if self.fitted else None
        start = before if self.warm_start and before is not None and before.shape[-1] == self._count() else None
        told = self.network.learn(trajectories, lambda features: self._labels(features, start), self.generator)
        with torch.no_grad():
            rows = self._rows(self._encode(trajectories.flatten(0, 1)).reshape(*trajectories.shape[:2], -1))
        fit = self._choose(rows) if self.candidates and before is None else self._mix(rows, start)
        noise = calibrated_noise(fit.mixture, rows, fit.responsibilities) if self.calibrated else 0.0
        mixture, kept, self._axes = fit.mixture, 1.0, trajectories.ndim - 2
        if before is not None:
            heir = match_components(fit.responsibilities, before).to(self.device)
            mixture = fit.mixture.reordered(heir[heir < fit.mixture.components])
            kept = float((fit.responsibilities.argmax(-1) == heir[before.argmax(-1)]).float().mean())
        self._take(mixture, noise)
        return ScaffoldFit(fit.objective, kept, fit.reseeded, noise, told)

    def _owners(self, trajectories: Tensor) -> Tensor:
        """Responsibilities of the present tasks for trajectories, (N, K), or for their states, (N * T, K)."""
        states = trajectories.flatten(0, 1).unsqueeze(1) if self.state_level else trajectories
        return self.log_posterior(states).exp()

    def _rows(self, features: Tensor) -> Tensor:
        """Standardises features (N, T, d), takes down how, and cuts them into what has a component of its own."""
        self._mean = features.mean((0, 1))
        self._std = features.std((0, 1), correction=0).clamp(min=LEAST_DEVIATION)
        features = (features - self._mean) / self._std
        return features.flatten(0, 1).unsqueeze(1) if self.state_level else features

    def _labels(self, features: Tensor, start: Tensor | None) -> Tensor:
        """The component of each state, (N, T), by a mixture over features (N, T, d)."""
        labels = self._mix(self._rows(features), start).responsibilities.argmax(-1)
        return labels.reshape(len(features), -1).expand(features.shape[:2])

    def _count(self) -> int:
        """Components of the next fit: those that were chosen from candidates stay."""
        return self._mixture.components if self._mixture is not None and self.candidates else self.components

    def _mix(self, rows: Tensor, start: Tensor | None) -> MixtureFit:
        return fit_mixture(rows, self._count(), start=start, restarts=self.restarts, **self._options())

    def _choose(self, rows: Tensor) -> MixtureFit:
        options = self._options() | {"restarts": self.restarts}
        return choose_components(rows, self.candidates or [], held_out=self.held_out, **options).fit

    def _options(self) -> dict[str, Any]:
        return {
            "covariance": self.covariance or FullCovariance(),
            "mean_over_time": self.mean_over_time,
            "iterations": self.iterations,
            "generator": self.generator,
        }
