"""MetaRL: RL² by PPO on whole trials, as a LightningModule."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_binding.carml.agent import Agent
from lightning_binding.carml.collector import Collector
from lightning_binding.carml.encoders import Encoder
from lightning_binding.carml.memory import Memory
from lightning_binding.carml.ppo import PPOLoss, moments, normalised, ppo_loss, trial_advantages
from lightning_binding.carml.reward_model import RewardModel
from lightning_binding.carml.rollout import Rollout
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError
from lightning_binding.module import BindingModule
from lightning_binding.together import gather_objects, world_size

ENCODED_AT_ONCE = 4096  # observations, when a rollout is looked at again


class MetaRL(BindingModule):
    """Trains an agent that learns within a trial: RL² (Duan et al., 2016) with PPO.

    By itself it is meta-RL on the tasks of a world, the oracle and the baseline from scratch of CARML. A subclass
    changes what is paid (`reward_model`) and sees every rollout (`on_rollout`). Data are `TrialsDataModule`'s.

    Args:
        world: What the agent lives in: its tasks, observations, actions and lengths.
        encoder: Encoder of the observation, `MLP`, `NatureCNN` or `TimmEncoder`, or one for each key of a dict of
            observations; None is NatureCNN for pictures, and the numbers as they are for the rest.
        memory: `GRU` or `LSTM`; None is `GRU(128)`.
        heads: Sizes of layers with tanh between the memory and each head.
        separate_critic: Give the critic a memory of its own.
        gamma: Discount over the whole trial.
        gae_lambda: Weight of longer looks ahead in the advantages.
        value_lambda: The same in the targets of the critic; 1 is the return itself, None is `gae_lambda`. With a low
            one in a long trial the critic learns slowly, a few steps back from each reward.
        return_scale: What rewards are divided by before they are learnt from, so that the critic's targets are about
            1 and its gradients leave room for the policy's: about the discounted return of a trial. The agent sees
            its rewards as they are.
        clip: Half of the width of the range that PPO keeps the ratio of probabilities in.
        value_clip: How far values may move in one rollout; None lets them.
        value_weight: Of the critic's error in the loss.
        entropy_weight: Of the policy's entropy in the loss.
        normalise_advantages: Over the rollout, on all ranks together.
        optimizer: Factory of the optimizer.
        scheduler: Factory of the learning-rate scheduler, stepped after every optimizer step; None keeps the rate.
        init_from: Checkpoint or safetensors file whose weights the run starts from.
        compile: Compile the networks with `torch.compile`: True, or a mapping of its arguments.

    Attributes:
        agent: The network; it answers stable-baselines3's `predict`.
        num_env_steps: Steps of environments so far, over all ranks.
        dropped: Trials of this rank that were broken off so far.
    """

    misfit = "Was this agent made for other observations or actions, or with another encoder, memory, or heads?"

    def __init__(
        self,
        world: World,
        encoder: Encoder | dict[str, Encoder] | None = None,
        memory: Memory | None = None,
        heads: Sequence[int] = (),
        separate_critic: bool = False,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        value_lambda: float | None = None,
        return_scale: float = 1.0,
        clip: float = 0.2,
        value_clip: float | None = None,
        value_weight: float = 0.5,
        entropy_weight: float = 0.01,
        normalise_advantages: bool = True,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        init_from: str | None = None,
        compile: bool | dict[str, Any] = False,
    ) -> None:
        super().__init__(optimizer, scheduler, init_from, compile)
        self.save_hyperparameters()
        self.world = world
        self.agent = Agent(world.observation_space, world.action_space, encoder, memory, heads, separate_critic)
        if not return_scale > 0:
            raise InputError(f"return_scale is {return_scale}; rewards are divided by it, so it must be positive.")
        self.gamma, self.gae_lambda, self.return_scale = gamma, gae_lambda, return_scale
        self.value_lambda = gae_lambda if value_lambda is None else value_lambda
        self.normalise_advantages = normalise_advantages
        self.weights: dict[str, Any] = {
            "clip": clip,
            "value_clip": value_clip,
            "value_weight": value_weight,
            "entropy_weight": entropy_weight,
        }
        self.reward_model: RewardModel | None = None
        self.num_env_steps, self.dropped = 0, 0
        self._parts: list[PPOLoss] = []
        self._about: dict[str, float] = {}
        self._collected = 0.0

    def trained(self) -> nn.Module:
        """The agent is what is trained."""
        return self.agent

    def on_rollout(self, rollout: Rollout) -> None:
        """Called with every rollout of training before it is learnt from; on the CPU, with its rewards.

        Nothing is done here. CARML puts the trajectories, `rollout.states()`, into its reservoir.
        """

    def collect(self, collector: Collector) -> Rollout:
        """A rollout of training, with all that the loss needs; `Trials` calls it at the beginning of an epoch."""
        rollout = collector.collect(self.agent, self.reward_model)
        self.num_env_steps += collector.steps * self.trainer.world_size
        self.dropped += int((~rollout.valid).sum())
        self.on_rollout(rollout)
        self._about = self._describe(rollout)
        with self.trainer.precision_plugin.forward_context():
            self.prepare(rollout)
        self._about |= {f"time/{name}": value for name, value in collector.seconds.items()}
        self._collected = time.perf_counter()
        return rollout

    @torch.no_grad()
    def prepare(self, rollout: Rollout) -> Rollout:
        """Adds what the loss compares with: log-probabilities and values of the rollout, advantages and returns."""
        for name in ("recall", "actions", "rewards", "valid"):
            setattr(rollout, name, getattr(rollout, name).to(self.device))
        found = [self._look(rollout, part) for part in self._chunks(rollout)]
        rollout.log_probs, rollout.values = (torch.cat([each[place] for each in found], 1) for place in (0, 1))
        rewards = rollout.rewards / self.return_scale
        advantages = trial_advantages(rewards, rollout.values, self.gamma, self.gae_lambda)
        ahead = advantages
        if self.value_lambda != self.gae_lambda:
            ahead = trial_advantages(rewards, rollout.values, self.gamma, self.value_lambda)
        rollout.returns = ahead + rollout.values
        if self.normalise_advantages:
            sums = moments(advantages, rollout.mask)
            if self.trainer.world_size > 1:
                sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
            advantages = normalised(advantages, sums)
        rollout.advantages = advantages
        return rollout

    def _chunks(self, rollout: Rollout) -> Sequence[Tensor]:
        at_once = rollout.trials if rollout.features is not None else max(1, ENCODED_AT_ONCE // rollout.length)
        return torch.split(torch.arange(rollout.trials), at_once)

    def _look(self, rollout: Rollout, index: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and values (L, b) of the trials of an index."""
        features = rollout.features[:, index] if rollout.features is not None else None
        if features is None:
            seen = {name: value[:, index].to(self.device) for name, value in rollout.observations.items()}
            features = self.agent.encode(seen)
        outputs, values = self.agent(features, rollout.recall[:, index])
        return self.agent.evaluate(outputs.float(), rollout.actions[:, index])[0], values.float()

    def losses(self, batch: Mapping[str, Any]) -> PPOLoss:
        """The loss of a minibatch of whole trials, of `Rollout.batch`."""
        features = batch["features"] if "features" in batch else self.agent.encode(batch["observations"])
        outputs, values = self.agent(features, batch["recall"])
        log_probs, entropy = self.agent.evaluate(outputs.float(), batch["actions"])
        return ppo_loss(
            log_probs,
            entropy,
            values.float(),
            old_log_probs=batch["log_probs"],
            old_values=batch["values"],
            advantages=batch["advantages"],
            returns=batch["returns"],
            mask=batch["mask"],
            **self.weights,
        )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of a minibatch; what is logged waits for the end of the rollout, since a step is short."""
        found = self.losses(batch)
        self._parts.append(PPOLoss(*(part.detach() for part in found)))
        return found.loss

    def on_train_epoch_end(self) -> None:
        """Logs the rollout and what was learnt from it."""
        if not self._parts:
            return
        means = torch.stack([torch.stack(list(parts)) for parts in self._parts]).mean(0)
        self._parts = []
        values: dict[str, Any] = dict(zip((f"train/{name}" for name in PPOLoss._fields), means, strict=True))
        values["time/learning"] = time.perf_counter() - self._collected
        trials = int(self._about.pop("trials", 1))
        found, _ = self._over_ranks({**values, **self._about}, trials)
        shown = {"train/return": found.pop("train/return")} if "train/return" in found else {}
        options: dict[str, Any] = {"on_step": False, "on_epoch": True, "sync_dist": True, "batch_size": 1}
        self.log_dict(shown, prog_bar=True, **options)
        self.log_dict({**found, "train/env_steps": float(self.num_env_steps)}, **options)
        self.log("train/dropped", float(self.dropped), reduce_fx="sum", **options)

    def _over_ranks(self, means: dict[str, Any], trials: int) -> tuple[dict[str, Any], int]:
        """Means over the trials of all ranks, of means over those of this one; and the number of all trials.

        Lightning's own mean over ranks cuts the mean of their batch sizes down to a whole number.
        """
        if self.trainer.world_size == 1:
            return means, trials
        own = torch.stack([torch.as_tensor(value, device=self.device).float() for value in means.values()])
        sums = self.trainer.strategy.reduce(torch.cat([own, own.new_ones(1)]) * trials, reduce_op="sum")
        return dict(zip(means, sums[:-1] / sums[-1], strict=True)), int(sums[-1])

    def validation_step(self, batch: Rollout, batch_idx: int) -> dict[str, Rollout]:
        """Logs the returns of trials; callbacks look at the `rollout` that this returns."""
        self._evaluate(batch, "val")
        return {"rollout": batch}

    def test_step(self, batch: Rollout, batch_idx: int) -> dict[str, Rollout]:
        """As `validation_step`."""
        self._evaluate(batch, "test")
        return {"rollout": batch}

    def predict_step(self, batch: Rollout, batch_idx: int) -> dict[str, Any]:
        """The trials as they are: everything in a `Rollout`."""
        return batch.state_dict()

    def _evaluate(self, rollout: Rollout, stage: str) -> None:
        found, count = self._over_ranks(summary(rollout), int(rollout.valid.sum()))
        self.log_dict(
            {f"{stage}/{name}": value for name, value in found.items()},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=count,
        )

    def _describe(self, rollout: Rollout) -> dict[str, float]:
        found = {"trials": float(rollout.valid.sum())}
        found |= {f"train/{name}": value for name, value in summary(rollout).items()}
        if self.reward_model is not None:
            found["train/paid"] = float(rollout.episode_returns(rollout.rewards).sum(0).mean())
        return found

    def predict(
        self,
        observation: Mapping[str, NDArray[Any]],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[Any] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions as stable-baselines3 asks for them; see `Agent.predict`."""
        return self.agent.predict(observation, state, episode_start, deterministic)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also writes down the counts, and what was measured of a rollout; all ranks call it together."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["num_env_steps"], checkpoint["dropped"] = self.num_env_steps, gather_objects(self.dropped)
        measured = {"parts": [torch.stack(list(part)).cpu() for part in self._parts], "about": dict(self._about)}
        checkpoint["measured"] = gather_objects(measured)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Also takes them up; what was measured by another number of ranks is left out."""
        super().on_load_checkpoint(checkpoint)
        rank = self.global_rank if self._trainer is not None else 0
        self.num_env_steps, dropped = checkpoint.get("num_env_steps", 0), checkpoint.get("dropped", 0)
        counts = dropped if isinstance(dropped, list) else [dropped]  # a number, in checkpoints of one rank before
        self.dropped = counts[rank] if len(counts) == world_size() else sum(counts) * (rank == 0)
        measured = checkpoint.get("measured", [])
        if len(measured) == world_size():
            mine = measured[rank]
            self._parts = [PPOLoss(*part.to(self.device)) for part in mine["parts"]]
            self._about = dict(mine["about"])


def summary(rollout: Rollout) -> dict[str, float]:
    """Means over the valid trials: `return` of the world's rewards over a trial; of the first and the last episode.

    `success_first` and `success_last` are shares of the first and the last episode whose task was done, where the
    world can tell.
    """
    by_episode = rollout.episode_returns()
    found = {"return": float(by_episode.sum(0).mean())}
    if rollout.episodes > 1:
        found |= {"return_first": float(by_episode[0].mean()), "return_last": float(by_episode[-1].mean())}
    if rollout.successes is not None:
        done = rollout.successes[:, rollout.valid.cpu()].float().mean(1)
        found |= {"success_first": float(done[0]), "success_last": float(done[-1])}
    return found
