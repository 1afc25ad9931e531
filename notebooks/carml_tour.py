# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Control: a tour of CARML
#
# An agent that can learn within a few episodes has to have been trained on many tasks. CARML lets it make them up: what
# it does is organised into a distribution of tasks, it learns to find out about them and to solve them, does new things
# on the way, and these are organised again. No reward of the world is ever looked at.
#
# It runs on a CPU in less than a minute. To edit it as a notebook: `jupytext --to ipynb notebooks/carml_tour.py`.

# %%
import lightning_binding  # noqa: F401  # isort: skip  (first: it lets torchvision be imported beside a CPU-only torch)

import logging
import math
import warnings

import matplotlib.pyplot as plt
import torch
from lightning.pytorch import Trainer

from lightning_binding.callbacks import SkillMaps
from lightning_binding.callbacks.skill_maps import draw_skills
from lightning_binding.carml.collector import Collector
from lightning_binding.carml.covariance import FullCovariance
from lightning_binding.carml.data import TrialsDataModule
from lightning_binding.carml.memory import GRU
from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.module import CARML
from lightning_binding.carml.reward import information, posterior_entropy, task_reward
from lightning_binding.carml.scaffold import Scaffold
from lightning_binding.carml.worlds import FindTheArm, PointWorld

torch.manual_seed(0)
torch.set_num_threads(1)
warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
SQUARE = ((-1.0, 1.0), (-1.0, 1.0))


def train(module, data, epochs, *callbacks):
    """A short training without files."""
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, gradient_clip_val=0.5, callbacks=list(callbacks),
    )  # fmt: skip
    trainer.fit(module, data)
    return module


# %% [markdown]
# ## An agent that learns within a trial
# One of two arms pays, which one changes from trial to trial. The agent sees its last action and reward, and its memory
# lasts for a trial: after one pull it can know. The best there is: a half, then one, one.

# %%
bandit = FindTheArm(arms=2, pulls=3)
learner = MetaRL(bandit, memory=GRU(32), entropy_weight=0.0, optimizer=lambda p: torch.optim.Adam(p, lr=5e-3))
for rounds in (0, 30):
    if rounds:
        train(learner, TrialsDataModule(envs=64, steps=24, minibatches=2, passes=4), rounds)
    judge = Collector(bandit.make(1000, 1), bandit, seed=1)
    pulls = judge.collect(learner.agent, deterministic=True).world_rewards.mean(1)
    print(f"after {rounds} rollouts, success of pulls:", [f"{float(each):.2f}" for each in pulls])

# %% [markdown]
# ## The scaffold
# What a random agent does in the point world, clustered: a mixture of Gaussians of which each trajectory has one
# component. Its densities of single states are then cut into regions by Bayes' rule.

# %%
world = PointWorld(episodes=2, horizon=20, rewarded=False)
nobody = MetaRL(world, memory=GRU(8))
rollout = Collector(world.make(256, 0), world, seed=0).collect(nobody.agent)
trajectories = rollout.states()["observation"][1].movedim(1, 0)  # (N, T, 2), of the second episode
scaffold = Scaffold(8, covariance=FullCovariance(floor=0.1))
fit = scaffold.fit(trajectories)
print(f"EM: {fit.objective[0]:.1f} to {fit.objective[-1]:.1f} nats for a trajectory in {len(fit.objective)} iterations")

axis = torch.linspace(-1, 1, 81)
square = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # (y, x, 2)
density = scaffold.log_likelihood(square)
figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for walk, task in zip(trajectories, scaffold.assign(trajectories), strict=True):
    panels[0].plot(*walk.T, color=plt.cm.hsv(int(task) * 0.618 % 1), linewidth=0.5)
panels[0].set_title("trajectories by task")
regions = (density + scaffold.log_prior).argmax(-1)
panels[1].imshow(plt.cm.hsv((regions * 0.618 % 1).numpy()), origin="lower", extent=(-1, 1, -1, 1), alpha=0.6)
panels[1].set_title("most probable task of a state")
left = posterior_entropy(density, scaffold.log_prior)
panels[2].imshow(left.numpy(), origin="lower", extent=(-1, 1, -1, 1))
panels[2].set_title(f"H(z|s), up to ln 8 = {math.log(8):.2f}")
for panel in panels:
    panel.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
plt.show()

# %% [markdown]
# ## The reward
# r_z(s) = λ log q(s|z) - log q(s). At λ = 1 it pays for states that tell the task from the others; with less, also for
# states that are rare under the task itself: the reward grows away from where the agent has been.

# %%
z = int(scaffold.log_prior.argmax())
figure, panels = plt.subplots(1, 4, figsize=(12, 3), layout="constrained")
for panel, lam in zip(panels, (1.0, 0.9, 0.7, 0.0), strict=True):
    paid = task_reward(density, scaffold.log_prior, z, lam).clamp(min=-10)
    shown = panel.imshow(paid.numpy(), origin="lower", extent=(-1, 1, -1, 1), cmap="magma")
    panel.set_title(f"r_z, λ = {lam}")
    figure.colorbar(shown, ax=panel, shrink=0.7)
plt.show()
told = information(scaffold.log_likelihood(trajectories), scaffold.log_prior).mean()
print(f"a state of the random agent tells {float(told):.2f} nats of its task")

# %% [markdown]
# ## The curriculum, in miniature
# Two organise steps of a few rollouts each. `configs/carml/quickstart.yaml` is the same at its proper length.

# %%
maps = SkillMaps()
carml = CARML(
    world, Scaffold(8, covariance=FullCovariance(floor=0.1)), lam=0.9, refit_period=25, organise_steps=2,
    reward_bound=10.0, reward_scale=0.4, memory=GRU(32), value_weight=0.05, entropy_weight=0.0,
    optimizer=lambda p: torch.optim.Adam(p, lr=5e-3),
)  # fmt: skip
train(carml, TrialsDataModule(envs=64, minibatches=2, passes=4), 50, maps)
draw_skills(maps._steps, SQUARE)
for step, kept in maps._steps.items():
    reach = float(kept["places"][:, -1].norm(dim=-1).mean())
    print(f"organise step {step}: trajectories end {reach:.2f} away from where they begin")

# %% [markdown]
# ## On your own world
# `--model.world MyWorld` takes any `World`, and `GymWorld` any environment of Gymnasium. A configuration names the
# scaffold's features too: `DiscriminativeFeatures` with any backbone for pictures, that of a trained walk or of a
# recurrent interface among them.
