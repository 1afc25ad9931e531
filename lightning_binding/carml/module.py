"""CARML: an agent that makes up its own tasks, and learns to solve them within a trial."""

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_binding.carml.collector import Collector
from lightning_binding.carml.coverage import coverage_entropy
from lightning_binding.carml.drawn import drawn
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.reservoir import Reservoir
from lightning_binding.carml.reward import information, posterior_entropy
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.scaffold import NEXT_FIT, Scaffold, ScaffoldFit
from lightning_binding.carml.scaffold_reward import ScaffoldReward
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError
from lightning_binding.together import gather_objects, world_size

LOOKED_AT = 1024  # states that information and entropy are estimated from


class CARML(MetaRL):
    """Unsupervised curricula for meta-RL (Jabri et al., 2019): organise trajectories into tasks, learn them, and again.

    A random agent acts first, unpaid and without learning, and the scaffold is fitted to its trajectories. From then on
    every trial has a task z ~ q(z), whose reward r_z(s) = lam log q(s|z) - log q(s) the agent has to find out about
    within the trial, as in `MetaRL`. Trajectories of the episodes after the first, in which the agent has adapted, go
    to the reservoir, to which the scaffold is fitted again every `refit_period` rollouts. The rewards of the world are
    never looked at in training; validation is paid by them, and so measures direct transfer.

    With `lam=1` and `Scaffold(state_level=True)` it is like DIAYN, with `organise_steps=1` the distribution of tasks is
    static, and with `SmallPictures` and `DiagonalCovariance` it is a generative mixture of pixels.

    Args:
        world: What the agent lives in; its trials have two episodes or more.
        scaffold: The distribution of tasks; None is `Scaffold()`.
        reservoir: Where trajectories are kept; None is `Reservoir()`.
        lam: Weight of the task's own likelihood in the reward, in [0, 1]: 1 pays for telling tasks apart alone, less
            also for states that are rare under the task. The paper's value is not verified; 0.99 is a recollection.
        refit_period: Rollouts that are learnt from between two fits of the scaffold; 25 in the code before the paper.
        organise_steps: Most fits of the scaffold; None has no limit.
        first_trajectories: Trajectories of the random agent, on each rank, that the first fit waits for.
        fit_trajectories: Most trajectories of a fit, over all ranks; None takes all that are kept.
        observed: Key of what the scaffold sees in a dict of observations.
        reward_bound: Rewards are kept between plus and minus this, in nats; None leaves them.
        reward_scale: Factor of what is paid, so that it has the size of the rewards that are to come in transfer.
        **options: Further arguments of `MetaRL`.

    Attributes:
        organised: Fits of the scaffold so far.
        updates: Rollouts that were learnt from since the last fit.
        latest: The last rollout of training.

    Raises:
        InputError: If a trial has one episode, an observation has no such key, or a number is out of range.
    """

    def __init__(
        self,
        world: World,
        scaffold: Scaffold | None = None,
        reservoir: Reservoir | None = None,
        lam: float = 0.99,
        refit_period: int = 25,
        organise_steps: int | None = 5,
        first_trajectories: int = 512,
        fit_trajectories: int | None = 1024,
        observed: str = "observation",
        reward_bound: float | None = None,
        reward_scale: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(world, **options)
        if world.episodes < 2:
            raise InputError(
                "a trial of the world has 1 episode, and tasks are made of the episodes after the first: set the "
                "world's episodes to 2 or more."
            )
        numbers = {"refit_period": refit_period, "organise_steps": organise_steps}
        numbers |= {"first_trajectories": first_trajectories, "fit_trajectories": fit_trajectories}
        for name, value in numbers.items():
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        if observed not in self.agent.spaces:
            raise InputError(f"observed is {observed!r}; the observations have {', '.join(self.agent.spaces)}.")
        self.scaffold, self.reservoir = scaffold or Scaffold(), reservoir or Reservoir()
        self.reward_model: ScaffoldReward = ScaffoldReward(self.scaffold, lam, observed, reward_bound, reward_scale)
        self.refit_period, self.organise_steps = refit_period, organise_steps
        self.first_trajectories, self.fit_trajectories = first_trajectories, fit_trajectories
        self.observed = observed
        self.organised, self.updates = 0, 0
        self.latest: Rollout | None = None

    def on_fit_start(self) -> None:
        """Also moves the scaffold to the agent's device.

        Raises:
            InputError: If a checkpoint has trajectories of another length than episodes now, and fits are to come.
        """
        super().on_fit_start()
        world = getattr(getattr(self.trainer, "datamodule", None), "world", None) or self.world
        kept = self.reservoir.shape
        if kept is not None and kept[0] != world.horizon and self._organises_again:
            raise InputError(
                f"the reservoir of the checkpoint has trajectories of {kept[0]} steps, and an episode of the world has "
                f"{world.horizon}: give the world's horizon as it was, or begin anew from the agent's weights, by "
                "--model.init_from."
            )
        self.scaffold.to(self.device)

    def collect(self, collector: Collector) -> Rollout:
        """A rollout of training; organises before it where that is due."""
        told: dict[str, float] = {}
        if not self.scaffold.fitted:
            self._act_at_random(collector)
            told = self.organise()
        elif self.updates >= self.refit_period and self._organises_again:
            told = self.organise()
        self.updates += 1
        self.latest = rollout = super().collect(collector)
        self._about |= told | self._organisation(rollout) | {"train/organised": float(self.organised)}
        return rollout

    def organise(self) -> dict[str, float]:
        """The E-step: fits the scaffold to the reservoirs of all ranks; returns what is logged about it."""
        begun = time.perf_counter()
        share = None if self.fit_trajectories is None else -(-self.fit_trajectories // world_size())
        trajectories = self.reservoir.trajectories(share)
        fit = self.scaffold.to(self.device).fit(trajectories)
        self.organised, self.updates = self.organised + 1, 0
        return {"time/organise": time.perf_counter() - begun, **_told(fit)}

    def on_rollout(self, rollout: Rollout) -> None:
        """Puts the trajectories of the episodes after the first into the reservoir, while there are fits to come."""
        if self._organises_again:
            self.reservoir.add(self.adapted_trajectories(rollout))

    def adapted_trajectories(self, rollout: Rollout) -> Tensor:
        """What the scaffold sees in the episodes after the first of the valid trials, (N, T, ...)."""
        states = rollout.states()[self.observed][1:, :, rollout.valid.cpu()]
        return states.movedim(2, 1).flatten(0, 1)

    @property
    def _organises_again(self) -> bool:
        return self.organise_steps is None or self.organised < self.organise_steps

    def _act_at_random(self, collector: Collector) -> None:
        """Fills the reservoir with what the agent does before it has learnt anything."""
        while len(self.reservoir) < min(self.first_trajectories, self.reservoir.capacity):
            rollout = collector.collect(self.agent, self.reward_model)
            self.num_env_steps += collector.steps * self.trainer.world_size
            self.on_rollout(rollout)

    def _organisation(self, rollout: Rollout) -> dict[str, float]:
        """How much the states of a rollout tell of tasks, and how far they reach."""
        states = self.adapted_trajectories(rollout).flatten(0, 1)
        chosen = states[drawn(len(states), LOOKED_AT)].to(self.device)
        found = self.scaffold.log_likelihood(chosen), self.scaffold.log_prior
        told = {
            "train/information": float(information(*found).mean()),
            "train/task_entropy": float(posterior_entropy(*found).mean()),
        }
        if rollout.positions is not None:
            extent = getattr(self.world, "extent", None)
            told["train/coverage"] = coverage_entropy(rollout.positions[:, rollout.valid.cpu()], extent)
        return told

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also writes down the scaffold, the reservoirs of all ranks, and the counts; all ranks call it together."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["carml"] = {
            "scaffold": self.scaffold.state_dict(),
            "reservoirs": gather_objects(self.reservoir.state_dict()),
            "organised": self.organised,
            "updates": self.updates,
            "observed": self.observed,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also takes them up; another number of ranks shares the trajectories out anew.

        Raises:
            InputError: If the tasks in the checkpoint are of other observations or features.
        """
        super().on_load_checkpoint(checkpoint)
        state = checkpoint.get("carml")
        if state is None:
            return
        self._check_observed(state)
        self.scaffold.load_state_dict(state["scaffold"])
        self.organised, self.updates = int(state["organised"]), int(state["updates"])
        ranks, rank = state["reservoirs"], self.global_rank if self._trainer is not None else 0
        world = self.trainer.world_size if self._trainer is not None else 1
        self.reservoir.load_state_dict(ranks[rank] if len(ranks) == world else self._share(ranks, rank, world))

    def when_resumed(self, option: str, checkpoint: Mapping[str, Any]) -> str | None:
        """What becomes of an option that a checkpoint has otherwise: scaffold and reservoir answer for their own."""
        state, (part, _, name) = checkpoint.get("carml"), option.partition(".")
        if state is None:
            return super().when_resumed(option, checkpoint)
        if part == "observed":
            self._check_observed(state)
        if part == "reservoir":
            return self.reservoir.when_resumed(name)
        if part == "first_trajectories" and state["organised"]:
            return "is not used, as the first fit is done"
        said = super().when_resumed(option, checkpoint)
        if part == "scaffold":
            said = self.scaffold.when_resumed(name, state["scaffold"])
        elif part == "fit_trajectories":
            said = NEXT_FIT
        done = self.organise_steps is not None and state["organised"] >= self.organise_steps
        return "is not used, as all organise steps are done" if said == NEXT_FIT and done else said

    def _check_observed(self, state: Mapping[str, Any]) -> None:
        if state.get("observed", self.observed) != self.observed:
            raise InputError(
                f"observed is {self.observed!r}, and the tasks in the checkpoint are of {state['observed']!r}: give "
                "that, or begin anew from the agent's weights, by --model.init_from."
            )

    def _share(self, ranks: list[dict[str, Any]], rank: int, world: int) -> dict[str, Any]:
        """This rank's part of the reservoirs of another number of ranks."""
        kept = [state["kept"] for state in ranks if state["kept"] is not None]
        return {
            "kept": torch.cat(kept)[rank::world] if kept else None,
            "seen": sum(int(state["seen"]) for state in ranks) // world,
            "generator": ranks[rank % len(ranks)]["generator"],
        }


def _told(fit: ScaffoldFit) -> dict[str, float]:
    """What is logged about a fit."""
    values = {"objective": fit.objective[-1], "kept": fit.kept, "iterations": float(len(fit.objective) - 1)}
    values |= {"noise": fit.noise, **fit.told}
    return {f"organise/{name}": value for name, value in values.items()}
