"""Random network distillation: a reward for what has not been seen often, to pre-train an agent with.

Burda et al., *Exploration by Random Network Distillation*, 2018 (arXiv 1810.12894): a network learns to predict the
features that a fixed random network has of an observation. Where it errs, the observation is new.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_binding.carml.encoders import MLP, Encoder, default_encoder
from lightning_binding.carml.features import scaled
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError
from lightning_binding.together import world_size
from lightning_binding.weights import shape_difference

CLIP = 5.0  # standardised observations are kept within it, as in the paper


class NoveltyReward:
    """Pays how wrong the predictor is about a state; there are no tasks.

    It is paid in units of how much its errors differed in the last rollout: over all of them, early errors would drown
    those of a predictor that has learnt.

    Args:
        space: Of the observations.
        observed: Their key.
        encoder: Of both networks; None is NatureCNN for pictures, and two layers of 64 for numbers.
        width: Size of the features that are predicted.
        lr: Rate of Adam for the predictor.
        scale: Factor of what is paid.
    """

    def __init__(
        self, space: spaces.Space[Any], observed: str, encoder: Encoder | None, width: int, lr: float, scale: float
    ) -> None:
        pictures = space.dtype == np.uint8
        encoder = encoder or (default_encoder(space) if pictures else MLP((64, 64)))
        bodies = [encoder.build(space) for _ in range(2)]
        self.target, self.predictor = (nn.Sequential(body, nn.Linear(int(body.features_dim), width)) for body in bodies)  # type: ignore[arg-type]
        self.target.requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.predictor.parameters(), lr)
        self.observed, self.scale, self.device = observed, scale, torch.device("cpu")
        self.seen = _Moments(() if pictures else tuple(space.shape or ()))
        self.errors = _Moments(())
        self.generator = torch.Generator().manual_seed(0)  # of the orders

    def to(self, device: torch.device) -> None:
        """Moves the networks."""
        self.device = device
        self.target.to(device)
        self.predictor.to(device)

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """The one task there is, (count,)."""
        return torch.zeros(count, dtype=torch.int64)

    @torch.no_grad()
    def __call__(
        self, tasks: Tensor, observations: dict[str, NDArray[np.generic]], rewards: NDArray[np.generic]
    ) -> NDArray[np.float32]:
        """Rewards (N,) of observations (N, ...)."""
        error = self.error(torch.from_numpy(observations[self.observed]))
        return (self.scale * error / self.errors.std.to(error)).float().cpu().numpy()

    def error(self, states: Tensor) -> Tensor:
        """Mean squared error of the predictor for states (N, ...), (N,)."""
        states = states.to(self.device)
        if states.dtype != torch.uint8:
            states = ((states - self.seen.mean.to(states)) / self.seen.std.to(states)).clamp(-CLIP, CLIP)
        states = scaled(states)
        found: Tensor = (self.predictor(states) - self.target(states)).square().mean(-1)
        return found

    def learn(self, states: Tensor, batch: int = 512) -> float:
        """One pass over states (N, ...), on all ranks together; returns the mean error before it."""
        if states.dtype != torch.uint8:
            self.seen.add(states)
        self.errors = _Moments(())
        with torch.no_grad():
            self.errors.add(torch.cat([self.error(part) for part in torch.split(states, batch)]))
        losses = []
        for rows in torch.split(torch.randperm(len(states), generator=self.generator), batch):
            loss = self.error(states[rows]).mean()
            self.optimizer.zero_grad()
            torch.autograd.backward(loss)
            if world_size() > 1:
                for weight in self.predictor.parameters():
                    if weight.grad is not None:
                        dist.all_reduce(weight.grad)
                        weight.grad /= world_size()
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    def state_dict(self) -> dict[str, Any]:
        """All of it."""
        return {
            "target": self.target.state_dict(),
            "predictor": self.predictor.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seen": vars(self.seen).copy(),
            "errors": vars(self.errors).copy(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up a state; the predictor's rate stays as it is set.

        Raises:
            InputError: If it is of another encoder or width.
        """
        if wrong := shape_difference(self.target.state_dict(), state["target"]):
            raise InputError(
                f"the novelty in the checkpoint is of another encoder or width: {wrong}. Give `novelty` and "
                "`novelty_width` as they were, or begin anew from the agent's weights, by --model.init_from."
            )
        self.target.load_state_dict(state["target"])
        self.predictor.load_state_dict(state["predictor"])
        rate = self.optimizer.param_groups[0]["lr"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.optimizer.param_groups[0]["lr"] = rate
        vars(self.seen).update(state["seen"])
        vars(self.errors).update(state["errors"])
        self.generator.set_state(state["generator"].cpu())


class _Moments:
    """Mean and standard deviation of all that was added, on the CPU; 0 and 1 before anything was."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.count = 0
        self.total, self.squares = torch.zeros(shape, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Adds rows (N, *shape)."""
        rows = rows.detach().cpu().double()
        self.count += len(rows)
        self.total = self.total + rows.sum(0)
        self.squares = self.squares + rows.square().sum(0)

    @property
    def mean(self) -> Tensor:
        """Their mean."""
        return self.total / max(self.count, 1)

    @property
    def std(self) -> Tensor:
        """Their standard deviation, 1 where there is none."""
        std = (self.squares / max(self.count, 1) - self.mean.square()).clamp(min=0).sqrt()
        return torch.where(std > 1e-8, std, 1.0)


class RNDPretraining(MetaRL):
    """Pre-trains an agent by what is new to it, the baseline of CARML without tasks; the world's rewards are not read.

    Args:
        world: What the agent lives in.
        observed: Key of what is looked at in a dict of observations.
        novelty: Encoder of the two networks; None is NatureCNN for pictures, and two layers of 64 for numbers.
        novelty_width: Size of the features that are predicted.
        novelty_lr: Rate of Adam for the predictor.
        reward_scale: Factor of what is paid, in units of how much errors differ.
        **options: Further arguments of `MetaRL`.

    Raises:
        InputError: If the observations have no such key.
    """

    def __init__(
        self,
        world: World,
        observed: str = "observation",
        novelty: Encoder | None = None,
        novelty_width: int = 64,
        novelty_lr: float = 1e-3,
        reward_scale: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(world, **options)
        if observed not in self.agent.spaces:
            raise InputError(f"observed is {observed!r}; the observations have {', '.join(self.agent.spaces)}.")
        space = self.agent.spaces[observed]
        self.reward_model: NoveltyReward = NoveltyReward(
            space, observed, novelty, novelty_width, novelty_lr, reward_scale
        )

    def on_fit_start(self) -> None:
        """Also moves the networks to the agent's device; all ranks begin with those of the first."""
        super().on_fit_start()
        self.reward_model.to(self.device)
        if world_size() > 1:
            for network in (self.reward_model.target, self.reward_model.predictor):
                for weight in network.parameters():
                    dist.broadcast(weight.data, 0)

    def on_rollout(self, rollout: Rollout) -> None:
        """Lets the predictor learn the states of the valid trials."""
        states = rollout.states()[self.reward_model.observed][:, :, rollout.valid.cpu()]
        self.reward_model.learn(states.flatten(0, 2))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also writes the networks down."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["rnd"] = {**self.reward_model.state_dict(), "observed": self.reward_model.observed}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also takes the networks up.

        Raises:
            InputError: If they are of other observations, or of another encoder or width.
        """
        super().on_load_checkpoint(checkpoint)
        if "rnd" in checkpoint:
            self._restore(checkpoint["rnd"])

    def when_resumed(self, option: str, checkpoint: Mapping[str, Any]) -> str | None:
        """What becomes of an option that a checkpoint has otherwise: the networks go on."""
        part = option.partition(".")[0]
        if part in ("observed", "novelty", "novelty_width") and "rnd" in checkpoint:
            self._restore(checkpoint["rnd"])
            return "is used, with the weights of the checkpoint"
        return super().when_resumed(option, checkpoint)

    def _restore(self, state: dict[str, Any]) -> None:
        observed = self.reward_model.observed
        if state.get("observed", observed) != observed:
            raise InputError(
                f"observed is {observed!r}, and the novelty in the checkpoint is of {state['observed']!r}: give that, "
                "or begin anew from the agent's weights, by --model.init_from."
            )
        self.reward_model.load_state_dict(state)
