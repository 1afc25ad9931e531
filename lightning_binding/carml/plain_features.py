"""What the task scaffold models of an observation."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

BATCH = 1024  # observations that are encoded at a time
LEAST_DEVIATION = 1e-3  # of a feature; one that hardly varies would otherwise be blown up


class Features(nn.Module):
    """What the mixture models of an observation; this one takes the numbers as they are.

    A subclass overrides `forward`, and `learn` if there is something to learn.
    """

    def forward(self, observations: Tensor) -> Tensor:
        """Features (M, d), in float, of observations (M, ...)."""
        return observations.flatten(1).float()

    def learn(
        self, trajectories: Tensor, cluster: Callable[[Tensor], Tensor], generator: torch.Generator
    ) -> dict[str, float]:
        """Improves the features on trajectories.

        Args:
            trajectories: Observations, (N, T, ...).
            cluster: From features (N, T, d) to a label of each state, (N, T), the same throughout a trajectory.
            generator: Source of random numbers, on the CPU.

        Returns:
            What there is to tell, such as losses.
        """
        return {}

    def description(self) -> dict[str, Any]:
        """What `restore` needs, as plain data and tensors on the CPU."""
        return {name: value.cpu() for name, value in self.state_dict().items()}

    def restore(self, description: dict[str, Any]) -> None:
        """Takes up a description.

        Raises:
            InputError: If it is of other features than these.
        """
        self.load_state_dict(description)
