"""Features for the scaffold: learnt by telling clusters of trajectories apart, or pictures made small.

As CARML's E-step for pictures (arXiv 1912.04226, section 3.3, after DeepCluster, arXiv 1807.05520): cluster the
trajectories in the features, train the encoder to tell the cluster of every single state, and again.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_binding.carml.encoders import MLP, Encoder, default_encoder
from lightning_binding.carml.plain_features import BATCH, LEAST_DEVIATION, Features
from lightning_binding.errors import InputError
from lightning_binding.weights import shape_difference


class DiscriminativeFeatures(Features):
    """An encoder that is trained to tell clusters of trajectories apart, state by state.

    In every round trajectories are clustered, a fresh linear classifier of the clusters is put on the standardised and
    rectified features, and both are trained on single states, with the clusters weighted as if they were equally large.
    The mixture is fitted to the features as they are at the end.

    Args:
        encoder: The encoder: `NatureCNN`, `TimmEncoder` with any backbone by name, `MLP`; None is NatureCNN for
            pictures and two layers of 256 for numbers.
        width: Size of the features, d.
        rounds: Rounds of clustering and training in a fit; 10 in the code that came before the paper.
        epochs: Passes over the trajectories in a round; 10 there.
        batch: Trajectories in a step; 64 there.
        optimizer: Factory of the optimizer, made anew in every round; None is Adam with a rate of 1e-3. There it is
            stochastic gradient descent with 0.01, momentum 0.9 and weight decay 1e-5.
        fresh: Begin every fit with an encoder of random weights; False goes on with that of the fit before.
    """

    def __init__(
        self,
        encoder: Encoder | None = None,
        width: int = 32,
        rounds: int = 5,
        epochs: int = 2,
        batch: int = 64,
        optimizer: OptimizerCallable | None = None,
        fresh: bool = False,
    ) -> None:
        super().__init__()
        if min(width, rounds, epochs, batch) < 1:
            raise InputError(f"width, rounds, epochs, batch are {width, rounds, epochs, batch}; expected 1 or more.")
        self.encoder, self.width, self.rounds, self.epochs, self.batch = encoder, width, rounds, epochs, batch
        self.optimizer, self.fresh = optimizer, fresh
        self._shape: tuple[int, ...] | None = None
        self.layers: nn.Module = nn.Identity()
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))

    def forward(self, observations: Tensor) -> Tensor:
        """Features (M, width), before any nonlinearity."""
        features: Tensor = self.layers((scaled(observations) - self.centre) / self.spread)
        return features

    def build(self, shape: tuple[int, ...], pictures: bool, seed: int = 0) -> None:
        """Makes the encoder for observations of a shape, with random weights of a seed."""
        low, high, kind = (0, 255, np.uint8) if pictures else (-np.inf, np.inf, np.float32)
        space = spaces.Box(low, high, shape, kind)
        encoder = self.encoder or (default_encoder(space) if pictures else MLP((256, 256)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = encoder.build(space)
            self.layers = nn.Sequential(body, nn.Linear(int(body.features_dim), self.width))  # type: ignore[arg-type]
        self.layers.to(self.centre.device)
        self._shape, self._pictures = shape, pictures

    def learn(
        self, trajectories: Tensor, cluster: Callable[[Tensor], Tensor], generator: torch.Generator
    ) -> dict[str, float]:
        """Rounds of clustering and classification; tells the loss and the accuracy of the last epoch."""
        pictures = trajectories.dtype == torch.uint8
        if self._shape is None or self.fresh:
            seed = int(torch.randint(2**31, (), generator=generator))
            self.build(tuple(trajectories.shape[2:]), pictures, seed)
            if not pictures:  # layers on numbers want them to be of size one
                flat = trajectories.flatten(0, 1).float().to(self.centre.device)
                self.centre, self.spread = flat.mean(0), flat.std(0, correction=0).clamp(min=LEAST_DEVIATION)
        told: dict[str, float] = {}
        for _ in range(self.rounds):
            labels = cluster(self._all(trajectories)).cpu()
            told = self._classify(trajectories, labels, generator)
        return told

    @torch.no_grad()
    def _all(self, trajectories: Tensor) -> Tensor:
        """Features (N, T, d) of trajectories (N, T, ...)."""
        flat = trajectories.flatten(0, 1)
        parts = [self(part.to(self.centre.device)) for part in torch.split(flat, BATCH)]
        return torch.cat(parts).reshape(*trajectories.shape[:2], -1)

    def _classify(self, trajectories: Tensor, labels: Tensor, generator: torch.Generator) -> dict[str, float]:
        """Trains encoder and a fresh head on labels (N, T) of states; returns loss and accuracy of the last epoch."""
        device, clusters = self.centre.device, int(labels.max()) + 1
        counts = torch.bincount(labels.flatten(), minlength=clusters).float()
        weight = torch.where(counts > 0, labels.numel() / (counts.clamp(min=1) * (counts > 0).sum()), 0.0).to(device)
        last = nn.Linear(self.width, clusters)
        nn.init.zeros_(last.bias)
        last.weight.data.copy_(torch.randn(last.weight.shape, generator=generator) * 0.01)
        head = nn.Sequential(nn.BatchNorm1d(self.width, affine=False), nn.ReLU(), last).to(device)
        weights = [*(each for each in self.layers.parameters() if each.requires_grad), *head.parameters()]
        optimizer = torch.optim.Adam(weights, 1e-3) if self.optimizer is None else self.optimizer(weights)
        losses, right, seen = 0.0, 0, 0
        for _ in range(self.epochs):
            losses, right, seen = 0.0, 0, 0
            for rows in torch.split(torch.randperm(len(trajectories), generator=generator), self.batch):
                states, target = trajectories[rows].flatten(0, 1).to(device), labels[rows].flatten().to(device)
                logits = head(self(states))
                loss = F.cross_entropy(logits, target, weight)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                losses += float(loss.detach()) * len(target)
                right += int((logits.argmax(-1) == target).sum())
                seen += len(target)
        return {"feature_loss": losses / seen, "feature_accuracy": right / seen}

    def description(self) -> dict[str, Any]:
        """Weights, and the observations that they are for."""
        if self._shape is None:
            return {}
        return {"shape": list(self._shape), "pictures": self._pictures, "weights": super().description()}

    def restore(self, description: dict[str, Any]) -> None:
        """Builds the encoder for those observations, and takes up its weights.

        Raises:
            InputError: If they are of another encoder or width.
        """
        if not description:
            return
        self.build(tuple(description["shape"]), description["pictures"])
        weights = description["weights"]
        for name in ("centre", "spread"):
            setattr(self, name, torch.empty_like(weights[name], device=self.centre.device))
        if wrong := shape_difference(self.state_dict(), weights):
            raise InputError(
                f"the tasks in the checkpoint are of features of another encoder or width: {wrong}. Give both as they "
                "were, or begin anew from the agent's weights, by --model.init_from."
            )
        super().restore(weights)


class SmallPictures(Features):
    """Pictures made small: with `DiagonalCovariance`, a generative mixture of pixels.

    Args:
        size: Height and width that pictures are averaged to.
        grey: Whether their channels are averaged, too.
    """

    def __init__(self, size: int = 8, grey: bool = False) -> None:
        super().__init__()
        self.size, self.grey = size, grey

    def description(self) -> dict[str, Any]:
        """Size and colours."""
        return {"size": self.size, "grey": self.grey}

    def restore(self, description: dict[str, Any]) -> None:
        """Looks whether they are the same.

        Raises:
            InputError: If they are not.
        """
        if description and description != self.description():
            raise InputError(
                f"the tasks in the checkpoint are of small pictures with {description}, and `features` have "
                f"{self.description()}: give the same, or begin anew from the agent's weights, by --model.init_from."
            )

    def forward(self, observations: Tensor) -> Tensor:
        """Pixels (M, C * size * size) in [0, 1]."""
        if observations.ndim != 4:
            raise InputError(
                f"SmallPictures takes pictures (C, H, W), and the observations have the shape "
                f"{tuple(observations.shape[1:])}: choose a world with pictures, or leave `features` out."
            )
        small = F.adaptive_avg_pool2d(scaled(observations), self.size)
        return (small.mean(1) if self.grey else small).flatten(1)


def scaled(observations: Tensor) -> Tensor:
    """Observations in float, pictures of uint8 in [0, 1]."""
    return observations.float() / 255 if observations.dtype == torch.uint8 else observations.float()
