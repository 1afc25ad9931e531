"""Maps of a single room of Doom with free-standing objects, written with omgifol."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightning_binding.errors import InputError
from lightning_binding.extras import imported
from lightning_binding.names import did_you_mean

OBJECTS = {  # solid things of Doom that stay where they are, by the numbers of the map format
    "blue_torch": 44,
    "red_torch": 46,
    "green_torch": 45,
    "green_pillar": 30,
    "red_pillar": 32,
    "tech_column": 48,
    "floor_lamp": 2028,
    "tech_lamp": 85,
    "candelabra": 35,
    "stalagmite": 47,
    "burnt_tree": 43,
    "barrel": 2035,
}
PLAYER = 1
WALL_GAP, APART = 80.0, 112.0  # least distance of an object to walls, and to others and the start, in map units
TRIES = 10_000
FLOOR, CEILING, WALL = "FLAT14", "CEIL5_2", "GRAY5"  # blue, dark, grey


class Layout(NamedTuple):
    """A room.

    Attributes:
        objects: Names of its objects, of `OBJECTS`.
        places: Where they are, (K, 2), in map units from the middle.
        start: Where the player begins, (2,), looking up the y axis.
    """

    objects: tuple[str, ...]
    places: NDArray[np.float64]
    start: NDArray[np.float64]


def draw_layout(objects: Sequence[str], half: float, random: np.random.Generator) -> Layout:
    """Places objects in a square room, away from the walls, from each other, and from the start at its lower side.

    Args:
        objects: Their names.
        half: Half of the room's side, in map units.
        random: Source of the places.

    Raises:
        InputError: If an object is not known, or there is no room for them.
    """
    for name in objects:
        if name not in OBJECTS:
            raise InputError(f"there is no object {name!r} in Doom's rooms{did_you_mean(name, list(OBJECTS))}")
    start = np.array([0.0, -half + 40])
    places: list[NDArray[np.float64]] = []
    for _ in range(TRIES):
        if len(places) == len(objects):
            return Layout(tuple(objects), np.array(places).reshape(-1, 2), start)
        place = np.rint(random.uniform(-half + WALL_GAP, half - WALL_GAP, 2))
        if min(float(np.hypot(*(place - other))) for other in [start, *places]) >= APART:
            places.append(place)
    raise InputError(f"{len(objects)} objects have no room in a square of {2 * half:g}: give fewer, or a larger size.")


def write_maps(layouts: Sequence[Layout], half: float, path: Path) -> list[str]:
    """Writes a WAD with a map for each layout, and returns the maps' names.

    Args:
        layouts: The rooms.
        half: Half of their side, in map units.
        path: The file.
    """
    omg = imported("omg", "doom", "a room of Doom")
    editor = imported("omg.mapedit", "doom", "a room of Doom")
    wad, names = omg.WAD(), [f"ROOM{number:04d}" for number in range(len(layouts))]
    corner = int(half)
    for name, layout in zip(names, layouts, strict=True):
        room = editor.MapEditor()
        sector = editor.Sector(z_floor=0, z_ceil=128, tx_floor=FLOOR, tx_ceil=CEILING, light=208)
        corners = [(-corner, -corner), (corner, -corner), (corner, corner), (-corner, corner)]
        room.draw_sector(corners, sector=sector, sidedef=editor.Sidedef(tx_mid=WALL))
        things = [(PLAYER, *layout.start, 90)]
        things += [(OBJECTS[each], *place, 0) for each, place in zip(layout.objects, layout.places, strict=True)]
        for kind, x, y, angle in things:
            room.things.append(editor.Thing(x=int(x), y=int(y), angle=angle, type=kind, flags=7))  # at all skills
        wad.maps[name] = room.to_lumps()
    wad.to_file(str(path))
    return names
