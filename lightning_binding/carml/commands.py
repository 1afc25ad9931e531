"""Commands of the control chapter."""

from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info

from lightning_binding.carml.meta_rl import MetaRL
from lightning_binding.carml.playing import play_trials
from lightning_binding.carml.worlds.base import World
from lightning_binding.errors import InputError
from lightning_binding.export import load
from lightning_binding.video.writer import write_video


def play(
    ckpt_path: str,
    world: World | None = None,
    trials: int = 2,
    deterministic: bool = True,
    seed: int = 0,
    fps: float = 6.0,
    out: str = "trial.gif",
    device: str = "auto",
) -> Path:
    """Records trials of an agent as a video, with the rewards drawn in.

    Args:
        ckpt_path: Checkpoint of a run of MetaRL or CARML, or a file that `export` wrote.
        world: World to play in, such as one with other tasks; that of the checkpoint when not given.
        trials: Trials, one after another.
        deterministic: Take the most probable actions.
        seed: Of the tasks, and of the actions.
        fps: Steps a second.
        out: File to write, .gif or .mp4.
        device: Where to compute: auto, cpu, cuda, …

    Returns:
        The file.

    Raises:
        InputError: If the checkpoint has no agent, the world does not suit it or has nothing to look at, or a number
            is not valid.
    """
    if trials < 1:
        raise InputError(f"--trials {trials}: there must be at least one.")
    module = load(ckpt_path)
    if not isinstance(module, MetaRL):
        raise InputError(f"{ckpt_path} holds a {type(module).__name__}, which does not act.")
    chosen = world or module.world
    for name in ("observation_space", "action_space"):
        given, expected = getattr(chosen, name), getattr(module.agent, name)
        if given != expected:
            raise InputError(f"the {name} of --world is {given}; the agent was made for {expected}.")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    module.to(device)
    path = write_video(out, play_trials(module, chosen, trials, seed, deterministic), fps)
    rank_zero_info(f"Played: {path}")
    return path
