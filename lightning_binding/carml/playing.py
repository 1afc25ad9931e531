"""Trials as videos: the world, and below it the rewards as they come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.recall import RECALL, Recall
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError

Array = NDArray[Any]

WIDTH, BARS, LINE = 320, 64, 18  # pixels: of a frame, of the bars' height, of a line of text
PAPER, INK, GRID = (255, 255, 255), (40, 44, 52), (205, 208, 214)
GAIN, LOSS = (40, 160, 80), (206, 66, 66)


def play_trials(module: MetaRL, world: World, trials: int, seed: int, deterministic: bool) -> Iterator[Tensor]:
    """Frames of an agent that goes through trials one after another.

    Args:
        module: The agent.
        world: Where it acts.
        trials: How many.
        seed: Of the tasks, and of its actions.
        deterministic: Take the most probable actions.

    Yields:
        A frame for the beginning of each trial and for every step, uint8 (3, H, W), all of one size.

    Raises:
        InputError: If the world has no pictures to show.
    """
    torch.manual_seed(seed)
    envs = Recall(world.make(1, seed))
    envs.seed(seed)
    try:
        seen, state, start = envs.reset(), None, np.ones(1, bool)
        for number in range(trials):
            rewards: list[float] = []
            yield frame(picture(envs, seen), rewards, world, number)
            for _ in range(world.trial_length):
                actions, state = module.predict(seen, state, start, deterministic)
                seen, paid, start, _ = envs.step(actions)
                rewards.append(float(paid[0]))
                yield frame(picture(envs, seen), rewards, world, number)
    finally:
        envs.close()


def picture(envs: VecEnv, seen: Any) -> Array:
    """What there is to look at, uint8 (H, W, 3): the environment's own picture, or what the agent sees.

    Raises:
        InputError: If there is neither.
    """
    shown = envs.get_images()[0] if envs.render_mode == "rgb_array" else None
    if shown is not None:
        return np.asarray(shown, np.uint8)
    for name, value in seen.items():
        if name != RECALL and value.ndim == 4 and value.dtype == np.uint8:
            return (
                np.repeat(value[0], 3, 0).transpose(1, 2, 0) if value.shape[1] == 1 else value[0, :3].transpose(1, 2, 0)
            )
    raise InputError(
        "the world has nothing to look at: give its environments `render_mode: rgb_array`, as in "
        '--world.options \'{"render_mode": "rgb_array"}\'.'
    )


def frame(shown: Array, rewards: list[float], world: World, number: int) -> Tensor:
    """A picture with its rewards: a bar for each step, a line between inner episodes, and the sum.

    Args:
        shown: uint8 (H, W, 3).
        rewards: Of the trial so far.
        world: Whose lengths the bars are laid out for.
        number: Of the trial.

    Returns:
        uint8 (3, H', W').
    """
    height = round(shown.shape[0] * WIDTH / shown.shape[1])
    page = Image.new("RGB", (WIDTH, height + BARS + 2 * LINE), PAPER)
    page.paste(Image.fromarray(shown).resize((WIDTH, height), Image.Resampling.NEAREST), (0, 0))
    pen, base = ImageDraw.Draw(page), height + 2 * LINE
    font = ImageFont.load_default(12)
    step = len(rewards)
    episode = min(max(0, step - 1) // world.horizon, world.episodes - 1)
    pen.text((6, height + 2), f"trial {number + 1}   episode {episode + 1}/{world.episodes}", INK, font)
    sums = f"step {step}/{world.trial_length}   return {sum(rewards):.2f}"
    pen.text((6, height + LINE), sums, INK, font)
    top = max([1e-6, *map(abs, rewards)])
    zero = base + BARS - 2 if min([0.0, *rewards]) >= 0 else base + BARS // 2
    room = (zero - base - 2) if zero > base + BARS // 2 else BARS // 2 - 2
    each = (WIDTH - 12) / world.trial_length
    for place in range(1, world.episodes):
        x = 6 + each * place * world.horizon
        pen.line((x, base, x, base + BARS), GRID)
    pen.line((6, zero, WIDTH - 6, zero), GRID)
    for place, reward in enumerate(rewards):
        end = zero - round(room * reward / top)
        left = 6 + each * place
        box = (left, min(zero, end), max(left, left + each - 1), max(zero, end))
        pen.rectangle(box, GAIN if reward >= 0 else LOSS)
    return torch.from_numpy(np.array(page).transpose(2, 0, 1).copy())
