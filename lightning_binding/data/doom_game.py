"""Opening ViZDoom for recording: no window, no sound, nothing on the screen but the world.

The engine is a process of its own, which waits for ever for one that has died. So it is closed when Python exits, in
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

from lightning_binding.data.doom_record import Game
from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean

# Before it becomes the engine: die with the parent (PR_SET_PDEATHSIG of prctl), which may be dead already.
BOUND = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def vizdoom() -> Any:
    """The package.

    Raises:
        InputError: It is not installed.
    """
    try:
        import vizdoom as package
    except ImportError as error:
        raise InputError(
            f"scenes of Doom are rendered by ViZDoom, which is not there ({error}); it comes with the extra doom: "
            "pip install lightning-binding[doom]"
        ) from error
    return package


def scenario_file(scenario: str) -> str:
    """The file of a scenario: a path to a `.cfg`, or the name of one that comes with ViZDoom.

    Raises:
        InputError: There is none.
    """
    if scenario.endswith(".cfg") and os.path.isfile(scenario):
        return os.path.abspath(scenario)
    folder = vizdoom().scenarios_path
    known = [name.removesuffix(".cfg") for name in os.listdir(folder) if name.endswith(".cfg")]
    name = scenario.removesuffix(".cfg")
    if name not in known:
        raise InputError(
            f"there is no scenario {scenario!r}, neither a file nor with ViZDoom{did_you_mean(name, known)}"
        )
    return os.path.join(folder, f"{name}.cfg")


def screen_resolution(height: int, width: int) -> Any:
    """ViZDoom's resolution of that size.

    Raises:
        InputError: It has none.
    """
    known = vizdoom().ScreenResolution.__members__
    name = f"RES_{width}X{height}"
    if name not in known:
        sizes = sorted((int(w), int(h)) for w, h in (key.removeprefix("RES_").split("X") for key in known))
        listed = ", ".join(f"[{h}, {w}]" for w, h in sizes)
        raise InputError(f"resolution is [{height}, {width}], which ViZDoom does not render; it renders {listed}.")
    return known[name]


def open_game(scenario: str, height: int, width: int) -> Game:
    """Start the engine, a process of its own that ends with this one, however this one ends.

    Args:
        scenario: Name or file.
        height: Of the pictures.
        width: Of the pictures.

    Raises:
        InputError: ViZDoom, the scenario or the resolution is missing.
    """
    package = vizdoom()
    game = package.DoomGame()
    game.load_config(scenario_file(scenario))
    game.set_screen_resolution(screen_resolution(height, width))
    game.set_screen_format(package.ScreenFormat.CRCGCB)
    game.set_labels_buffer_enabled(True)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(package.Mode.PLAYER)
    game.set_episode_timeout(0)
    button = package.Button
    speeds = [button.MOVE_FORWARD_BACKWARD_DELTA, button.MOVE_LEFT_RIGHT_DELTA, button.TURN_LEFT_RIGHT_DELTA]
    game.set_available_buttons(speeds)
    # What is not labelled must not be seen: hands, figures, blood and flashes lie over the objects.
    for part in ("hud", "weapon", "crosshair", "messages", "particles", "effects_sprites", "decals", "screen_flashes"):
        getattr(game, f"set_render_{part}")(False)
    game.set_doom_config_path(os.devnull)  # where it writes its settings when it ends
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it makes a folder where it begins
        if sys.platform == "linux":
            game.set_vizdoom_path(str(bound(Path(package.__file__).with_name("vizdoom"), Path(folder))))
        game.init()
    util.Finalize(None, _close, (weakref.ref(game),), exitpriority=10)
    return game  # type: ignore[no-any-return]


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
