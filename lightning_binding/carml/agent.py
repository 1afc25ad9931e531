"""The recurrent actor-critic of RL²: it sees what it did and what it got, and remembers over a whole trial.

Duan et al., *RL²: Fast Reinforcement Learning via Slow Reinforcement Learning*, 2016 (arXiv 1611.02779). Beside the
observation the network is given the last action, the last reward, and a flag at the first step of every inner episode
but the first. Its state is kept over the episodes of a trial and begins with zeros in each trial.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution, make_proba_distribution
from stable_baselines3.common.preprocessing import preprocess_obs
from torch import Tensor, nn

from lightning_binding.carml.actions import Actions
from lightning_binding.carml.encoders import Encoder, default_encoder
from lightning_binding.carml.memory import GRU, Memory, State
from lightning_binding.carml.recall import RECALL, named
from lightning_binding.errors import InputError

Array = NDArray[Any]


class Agent(nn.Module):
    """Encoder, memory, and heads for actions and value.

    Args:
        observation_space: What is seen in a step; a `Dict` space is encoded key by key.
        action_space: What can be done.
        encoder: Encoder of the observation, or one for each key of a `Dict` space; None is NatureCNN for pictures and
            the numbers themselves for the rest.
        memory: The recurrent network; None is `GRU()`.
        heads: Sizes of layers between the memory and each of the two heads.
        separate_critic: Give the critic a memory of its own.

    Attributes:
        recall_size: Numbers of what is given beside the observation: action, reward, flag.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        encoder: Encoder | Mapping[str, Encoder] | None = None,
        memory: Memory | None = None,
        heads: Sequence[int] = (),
        separate_critic: bool = False,
    ) -> None:
        super().__init__()
        self.observation_space, self.action_space = observation_space, action_space
        self.actions = Actions(action_space)
        self.recall_size = self.actions.code_size + 2
        self.spaces = (
            dict(observation_space) if isinstance(observation_space, spaces.Dict) else named(observation_space)
        )
        self.encoders = nn.ModuleDict(
            {name: chosen.build(self.spaces[name]) for name, chosen in _encoders(self.spaces, encoder).items()}
        )
        features = sum(cast(int, network.features_dim) for network in self.encoders.values())
        memory = memory or GRU()
        self.memory = memory.build(features + self.recall_size)
        self.critic_memory = memory.build(features + self.recall_size) if separate_critic else None
        self.actor = _head([memory.hidden, *heads, self.actions.outputs], 0.01)
        self.critic = _head([memory.hidden, *heads, 1], 1.0)
        kind = make_proba_distribution(action_space)
        self.log_std = (
            nn.Parameter(torch.zeros(self.actions.outputs)) if isinstance(kind, DiagGaussianDistribution) else None
        )

    @property
    def frozen(self) -> bool:
        """Whether no weight of the encoders is trained, so that features can be kept."""
        return not any(weight.requires_grad for weight in self.encoders.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.actor.parameters()).device

    def encode(self, observations: Mapping[str, Tensor]) -> Tensor:
        """Features (..., F) of observations (..., *shape) by key, as they come from the world."""
        parts = []
        for name, network in self.encoders.items():
            seen, space = observations[name], self.spaces[name]
            lead = seen.shape[: seen.ndim - len(space.shape or ())]
            ready = preprocess_obs(seen.reshape(-1, *(space.shape or ())), space)
            parts.append(network(ready).unflatten(0, lead))
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def forward(self, features: Tensor, recall: Tensor) -> tuple[Tensor, Tensor]:
        """Whole trials at once, from the state of zeros.

        Args:
            features: (L, B, F).
            recall: Last action, last reward and flag, (L, B, recall_size).

        Returns:
            Logits or means of the actions (L, B, outputs), and values (L, B).
        """
        inputs = torch.cat([features, recall], -1)
        remembered = self.memory(inputs)[0]
        critics = remembered if self.critic_memory is None else self.critic_memory(inputs)[0]
        return self.actor(remembered), self.critic(critics).squeeze(-1)

    def begin(self, count: int) -> State:
        """The state at the beginning of `count` trials: zeros."""
        return self.memory.begin(count, self.device)

    def step(self, features: Tensor, recall: Tensor, state: State) -> tuple[Tensor, State]:
        """One step of acting: logits or means (N, outputs), and the next state."""
        remembered, state = self.memory.step(torch.cat([features, recall], -1), state)
        return self.actor(remembered), state

    def distribution(self, outputs: Tensor) -> Distribution:
        """The distribution of stable-baselines3 that outputs (M, outputs) describe."""
        kind = make_proba_distribution(self.action_space)
        arguments = (outputs,) if self.log_std is None else (outputs, self.log_std)
        return kind.proba_distribution(*arguments)

    def evaluate(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and entropies (L, B) of actions (L, B, ...) under outputs (L, B, outputs)."""
        found = self.distribution(outputs.flatten(0, 1))
        shape, entropy = outputs.shape[:2], cast(Tensor, found.entropy())
        return found.log_prob(actions.flatten(0, 1)).view(shape), entropy.view(shape)

    def act(self, outputs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Actions (N, ...), sampled with noise of `actions.noise`, the most probable without."""
        deviation = None if self.log_std is None else self.log_std.exp()
        return self.actions.sample(outputs, deviation, noise)

    @torch.no_grad()
    def predict(
        self,
        observation: Mapping[str, Array],
        state: tuple[Array, ...] | None = None,
        episode_start: Array | None = None,
        deterministic: bool = False,
    ) -> tuple[Array, tuple[Array, ...] | None]:
        """Actions as stable-baselines3 asks for them: `evaluate_policy` and the recorder of videos do.

        Args:
            observation: Of a vector that is wrapped in `Recall`, which adds last action, last reward and flag; of one
                environment, without the first axis.
            state: The state that was returned before; None at the beginning.
            episode_start: Where a trial begins, bool (N,); the state is cleared there.
            deterministic: Take the most probable action; otherwise torch's own generator draws.

        Returns:
            Actions (N, ...), and the next state.
        """
        if not isinstance(observation, Mapping) or RECALL not in observation:
            raise InputError(
                f"an agent also sees its last action, reward and flag: wrap the environments in Recall, which adds "
                f"{RECALL!r} to the observation."
            )
        single = np.ndim(observation[RECALL]) == 1
        seen = {
            name: torch.as_tensor(np.asarray(value)[None] if single else value).to(self.device)
            for name, value in observation.items()
        }
        count = len(seen[RECALL])
        held = self.begin(count) if state is None else tuple(torch.as_tensor(each).to(self.device) for each in state)
        if episode_start is not None:
            kept = torch.as_tensor(~np.asarray(episode_start, dtype=bool)).to(self.device)
            held = tuple(each * kept.view(1, -1, 1) for each in held)
        outputs, held = self.step(self.encode(seen), seen[RECALL], held)
        generator = torch.default_generator
        noise = None if deterministic else self.actions.noise(count, generator=generator).to(self.device)
        actions = self.actions.to_world(self.act(outputs, noise).cpu().numpy())
        return actions[0] if single else actions, tuple(each.cpu().numpy() for each in held)


def _encoders(
    known: Mapping[str, spaces.Space[Any]], given: Encoder | Mapping[str, Encoder] | None
) -> dict[str, Encoder]:
    """An encoder for each key of the observation."""
    if given is None:
        return {name: default_encoder(space) for name, space in known.items()}
    if not isinstance(given, Mapping):
        return dict.fromkeys(known, given)
    if set(given) != set(known):
        raise InputError(f"encoders are given for {', '.join(given)}; the observation has {', '.join(known)}.")
    return {name: given[name] for name in known}


def _head(sizes: Sequence[int], gain: float) -> nn.Module:
    """Layers with tanh between them; the last one's weights are small or large."""
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        modules += [nn.Linear(inputs, outputs), nn.Tanh()]
    for module in modules[::2]:
        nn.init.orthogonal_(module.weight, gain if module is modules[-2] else 2**0.5)  # type: ignore[arg-type]
        nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return modules[0] if len(modules) == 2 else nn.Sequential(*modules[:-1])
