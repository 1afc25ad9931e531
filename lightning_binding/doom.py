"""Engines of ViZDoom: no window, no sound, nothing on the screen but the world, and none that is left behind.

An engine is a process of its own, which waits for ever for one that has died. So it is closed when Python exits, in
workers of a loader too, and where Python is killed, the system kills it (Linux).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
import weakref
from multiprocessing import util
from pathlib import Path
from typing import Any

from lightning_binding.extras import imported

# Hands, figures, blood and flashes lie over the world.
HIDDEN = ("hud", "weapon", "crosshair", "messages", "particles", "effects_sprites", "decals", "screen_flashes")

# Before it becomes the engine: die with the parent (PR_SET_PDEATHSIG of prctl), which may be dead already.
BOUND = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def vizdoom(what: str) -> Any:
    """The package.

    Args:
        what: What needs it, the beginning of the sentence that the user is told.

    Raises:
        InputError: It is not installed.
    """
    return imported("vizdoom", "doom", what)


def begin(game: Any) -> None:
    """Starts the engine of a game, a process that ends with this one, however this one ends.

    The game is a player's without an end of time; what was set before stays.

    Args:
        game: A `vizdoom.DoomGame` with its maps, screen and buttons.
    """
    package = vizdoom("Doom")
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(package.Mode.PLAYER)
    game.set_episode_timeout(0)
    for part in HIDDEN:
        getattr(game, f"set_render_{part}")(False)
    game.set_doom_config_path(os.devnull)  # where it writes its settings when it ends
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it makes a folder where it begins
        if sys.platform == "linux":
            game.set_vizdoom_path(str(bound(Path(package.__file__).with_name("vizdoom"), Path(folder))))
        game.init()
    util.Finalize(None, _close, (weakref.ref(game),), exitpriority=10)


def bound(engine: Path, folder: Path) -> Path:
    """An executable that starts the engine, and has the system kill it when this process ends (Linux).

    Args:
        engine: The engine.
        folder: Where the executable is written; it may be deleted as soon as the engine has begun.
    """
    launcher = folder / "engine"
    command = shlex.join([sys.executable, "-I", "-c", BOUND, str(os.getpid()), str(engine)])
    launcher.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    launcher.chmod(0o700)
    return launcher


def _close(reference: weakref.ref[Any]) -> None:
    game = reference()
    if game is not None:
        game.close()
