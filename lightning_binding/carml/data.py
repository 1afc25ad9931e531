"""TrialsDataModule: an agent's own trials, to learn from and to be judged by."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.utils.data import DataLoader, IterableDataset

from lightning_binding.carml.collector import Collector
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.trials import Trials, as_is, learnt_from, trial_loader
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError


class TrialsDataModule(LightningDataModule):
    """Trials of the agent of `MetaRL`, on environments of each rank's own.

    An epoch is one rollout: every environment goes through `steps`, and the trials are learnt from `passes` times, in
    `minibatches` of whole trials. Every rank has `envs` environments with seeds of its own, and makes the same number
    of optimizer steps. A checkpoint holds the environments' states, what is drawn, and a rollout that was learnt from
    in part, for every rank.

    Args:
        envs: Environments on each rank.
        steps: Steps of each environment in a rollout, a multiple of the trial's length; None is one trial.
        minibatches: Parts that a rollout is divided into.
        passes: Times that each trial is learnt from.
        eval_trials: Trials of an evaluation, over all ranks; the same tasks every time.
        eval_envs: Environments of an evaluation on each rank; None: as many as for training.
        deterministic: Take the most probable actions in evaluation.
        world: World to learn in; None is the model's. Observations and actions must be those of the model's.
        eval_world: World of the evaluation; None is that of training.
        seed: Of environments, actions, and orders.

    Raises:
        InputError: If a number is not positive.
    """

    def __init__(
        self,
        envs: int = 64,
        steps: int | None = None,
        minibatches: int = 4,
        passes: int = 4,
        eval_trials: int = 512,
        eval_envs: int | None = None,
        deterministic: bool = True,
        world: World | None = None,
        eval_world: World | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        numbers = {"envs": envs, "eval_trials": eval_trials, "eval_envs": envs if eval_envs is None else eval_envs}
        for name, value in numbers.items():
            if value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more.")
        self.envs, self.steps, self.minibatches, self.passes = envs, steps, minibatches, passes
        self.eval_trials, self.eval_envs, self.deterministic = eval_trials, numbers["eval_envs"], deterministic
        self.world, self.eval_world, self.seed = world, eval_world, seed
        self._trials: Trials | None = None
        self._collector: Collector | None = None
        self._judge: Collector | None = None
        self._state: dict[str, Any] | None = None

    def train_dataloader(self) -> DataLoader[dict[str, Any]]:
        """Minibatches of rollouts.

        Raises:
            InputError: A step would have minibatches of two passes, or of fewer trials than the others.
        """
        module = self._module()
        for accumulated in self._accumulated():
            if self.minibatches % accumulated:
                raise InputError(
                    f"accumulate_grad_batches={accumulated}, the trainer's or that of a GradientAccumulationScheduler, "
                    f"puts {accumulated} minibatches into a step, and the {self.minibatches} of a pass "
                    f"(data.minibatches) do not make whole steps: give a multiple of {accumulated}, such as "
                    f"--data.minibatches {self.minibatches * accumulated} for the steps without it."
                )
        world = self._chosen(self.world)
        if self._collector is None:
            seed = self._seed(0)
            self._collector = Collector(world.make(self.envs, seed), world, self.steps, seed)
        collector = self._collector
        self._trials = Trials(
            lambda: module.collect(collector), collector.trials, self.minibatches, self.passes, self._seed(1)
        )
        if self._state is not None:
            # The state is the module's of data, of which Lightning, which looks at the loader, knows nothing.
            warnings.filterwarnings("ignore", message="You're resuming from a checkpoint that ended before the epoch")
            collector.load_state_dict(self._state["collector"])
            self._trials.load_state_dict(self._state["trials"])
            self._state = None
        return trial_loader(self._trials)

    def _accumulated(self) -> list[int]:
        """How many minibatches a step takes, now and in epochs to come."""
        assert self.trainer is not None
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        later = (each.scheduling.values() for each in callbacks if isinstance(each, GradientAccumulationScheduler))
        return [self.trainer.accumulate_grad_batches, *(count for counts in later for count in counts)]

    def val_dataloader(self) -> DataLoader[Rollout]:
        """Rollouts of evaluation, one trial of each environment."""
        module = self._module()
        world = self._chosen(self.eval_world or self.world)
        if self._judge is None:
            count = min(self.eval_envs, -(-self.eval_trials // self.trainer.world_size))  # type: ignore[union-attr]
            seed = self._seed(2)
            self._judge = Collector(world.make(count, seed), world, seed=seed)
        rounds = -(-self.eval_trials // (self._judge.trials * self.trainer.world_size))  # type: ignore[union-attr]
        judged = _Judged(module, self._judge, rounds, self.deterministic)
        return DataLoader(judged, batch_size=None, collate_fn=as_is, generator=torch.Generator())

    def test_dataloader(self) -> DataLoader[Rollout]:
        """As validation."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Rollout]:
        """As validation."""
        return self.val_dataloader()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """On the CPU all is where it belongs, and looking for it would take a part of a short step."""
        return batch if device.type == "cpu" else super().transfer_batch_to_device(batch, device, dataloader_idx)

    def state_dict(self) -> dict[str, Any]:
        """What the next trials depend on, of every rank; all ranks call it together."""
        if self._trials is None or self._collector is None or self.trainer is None:
            return {}
        own = {
            "collector": self._collector.state_dict(),
            "trials": self._trials.state_dict(learnt_from(self.trainer)),
        }
        ranks: list[Any] = [own]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            ranks = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(ranks, own)
        return {"ranks": ranks}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from a `state_dict`; with another number of ranks, or in another world, from new trials."""
        ranks = state_dict.get("ranks", [])
        if self.trainer is not None and len(ranks) == self.trainer.world_size:
            self._state = ranks[self.trainer.global_rank]

    def when_resumed(self, option: str, state: dict[str, Any]) -> str | None:
        """What becomes of an option that was another one when a state was made; see `BindingModule.when_resumed`."""
        begun = any(rank["collector"]["envs"] is not None for rank in state.get("ranks", []))
        return "is used in evaluation alone, as random states go on" if option == "seed" and begun else None

    def teardown(self, stage: str) -> None:
        """Closes the environments."""
        for collector in (self._collector, self._judge):
            if collector is not None:
                collector.envs.close()
        self._collector = self._judge = self._trials = None

    def _module(self) -> MetaRL:
        module = None if self.trainer is None else self.trainer.lightning_module
        if not isinstance(module, MetaRL):
            raise InputError(
                f"TrialsDataModule has the trials of an agent, and {type(module).__name__} has none: give a MetaRL."
            )
        return module

    def _chosen(self, world: World | None) -> World:
        """The world, if the model's agent can live in it."""
        agent, world = self._module().agent, world or self._module().world
        for name in ("observation_space", "action_space"):
            given, expected = getattr(world, name), getattr(agent, name)
            if given != expected:
                raise InputError(
                    f"the {name} of data.world is {given}, and the agent was made for {expected}, that of model.world: "
                    "give worlds that differ in their tasks alone."
                )
        return world

    def _seed(self, use: int) -> int:
        """A seed of this rank for a use."""
        rank = 0 if self.trainer is None else self.trainer.global_rank
        return int(np.random.SeedSequence((self.seed, rank, use)).generate_state(1)[0] >> 1)


class _Judged(IterableDataset[Rollout]):
    """Rollouts of evaluation, from the same tasks every time."""

    def __init__(self, module: MetaRL, collector: Collector, rounds: int, deterministic: bool) -> None:
        self.module, self.collector, self.rounds, self.deterministic = module, collector, rounds, deterministic

    def __len__(self) -> int:
        return self.rounds

    def __iter__(self) -> Iterator[Rollout]:
        self.collector.restart()
        for _ in range(self.rounds):
            yield self.collector.collect(self.module.agent, deterministic=self.deterministic)
