"""Opening ViZDoom for recording: the picture, the labels of what is in it, and speeds in place of keys."""

from __future__ import annotations

import os
from typing import Any

from lightning_binding.data.doom_record import Game
from lightning_binding.doom import begin, vizdoom
from lightning_binding.errors import InputError
from lightning_binding.names import did_you_mean

SCENES = "rendering scenes of Doom"


def scenario_file(scenario: str) -> str:
    """The file of a scenario: a path to a `.cfg`, or the name of one that comes with ViZDoom.

    Raises:
        InputError: There is none.
    """
    if scenario.endswith(".cfg") and os.path.isfile(scenario):
        return os.path.abspath(scenario)
    folder = vizdoom(SCENES).scenarios_path
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
    known = vizdoom(SCENES).ScreenResolution.__members__
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
    package = vizdoom(SCENES)
    game = package.DoomGame()
    game.load_config(scenario_file(scenario))
    game.set_screen_resolution(screen_resolution(height, width))
    game.set_screen_format(package.ScreenFormat.CRCGCB)
    game.set_labels_buffer_enabled(True)
    button = package.Button
    speeds = [button.MOVE_FORWARD_BACKWARD_DELTA, button.MOVE_LEFT_RIGHT_DELTA, button.TURN_LEFT_RIGHT_DELTA]
    game.set_available_buttons(speeds)
    begin(game)
    return game  # type: ignore[no-any-return]
