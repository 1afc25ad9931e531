"""Actions of every kind of space: how they are sampled, and how the agent is told of its last one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from lightning_binding.errors import InputError

Array = NDArray[Any]


class Actions:
    """What an agent has to know of an action space.

    Samples are drawn from noise that is made beforehand, for a whole rollout at once and by a generator that a
    checkpoint holds: Gumbel for choices, logistic for bits, normal for reals. They follow the distributions of
    stable-baselines3 (`make_proba_distribution`), which the loss is computed with.

    Args:
        space: `Discrete`, `MultiDiscrete`, `MultiBinary` or `Box`.

    Attributes:
        outputs: Numbers that describe a distribution, beside the standard deviations of a `Box`.
        code_size: Numbers that the last action is described with: one-hot for choices, as it is otherwise.

    Raises:
        InputError: If the space is of another kind.
    """

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.space = space
        self.choices: list[int] = []
        if isinstance(space, spaces.Discrete):
            self.choices = [int(space.n)]
        elif isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
            self.choices = [int(count) for count in space.nvec]
        elif not isinstance(space, spaces.Box | spaces.MultiBinary):
            raise InputError(
                f"the actions {space} are none that an agent can take; expected Discrete, MultiDiscrete of one axis, "
                "MultiBinary or Box."
            )
        self.outputs = sum(self.choices) or int(np.prod(space.shape or (1,)))
        self.code_size = self.outputs
        self.shape = () if isinstance(space, spaces.Discrete) else (len(self.choices) or self.outputs,)
        self.dtype = torch.int64 if self.choices else torch.float32
        self._offsets = np.cumsum([0, *self.choices[:-1]])

    def noise(self, *size: int, generator: torch.Generator, device: torch.device | str = "cpu") -> Tensor:
        """Noise (*size, outputs) for `sample`."""
        made = torch.empty(*size, self.outputs, device=device)
        if self.choices:
            return made.exponential_(generator=generator).clamp_(min=1e-20).log_().neg_()
        if isinstance(self.space, spaces.MultiBinary):
            return made.uniform_(1e-7, 1 - 1e-7, generator=generator).logit_()
        return made.normal_(generator=generator)

    def sample(self, outputs: Tensor, deviation: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """Actions of distributions.

        Args:
            outputs: Logits or means, (N, outputs).
            deviation: Standard deviations of a `Box`, (outputs,).
            noise: Of `noise`, (N, outputs); None takes the most probable action.

        Returns:
            (N,) for `Discrete`, else (N, size); whole numbers for choices.
        """
        if self.choices:
            scores = outputs if noise is None else outputs + noise
            if len(self.choices) == 1:
                best = scores.argmax(-1)
                return best if isinstance(self.space, spaces.Discrete) else best.unsqueeze(-1)
            return torch.stack([part.argmax(-1) for part in torch.split(scores, self.choices, -1)], -1)
        if isinstance(self.space, spaces.MultiBinary):
            return ((outputs if noise is None else outputs + noise) > 0).float()
        return outputs if noise is None or deviation is None else torch.addcmul(outputs, deviation, noise)

    def encode(self, actions: Array, out: Array) -> None:
        """Writes the code of actions (N, ...) into `out` (N, code_size)."""
        if not self.choices:
            out[...] = actions.reshape(len(actions), -1)
            return
        out[...] = 0
        rows = np.arange(len(actions))
        if len(self.choices) == 1:
            out[rows, actions.reshape(-1)] = 1
        else:
            out[rows[:, None], actions + self._offsets] = 1

    def to_world(self, actions: Array) -> Array:
        """Actions (N, ...) as an environment takes them: of the space's shape, and inside of its bounds."""
        if isinstance(self.space, spaces.Box):
            shaped = actions.reshape(-1, *self.space.shape)
            return np.clip(shaped, self.space.low, self.space.high).astype(self.space.dtype, copy=False)
        if isinstance(self.space, spaces.MultiBinary):
            return actions.reshape(-1, *self.space.shape).astype(np.int8)
        if isinstance(self.space, spaces.Discrete) and self.space.start:
            return actions + int(self.space.start)
        return actions
