"""Rebuild the embedded emoji archive from two npm packages.

    npm pack emoji-datasource-twitter@16.0.0 emoji-datasource-google@16.0.0
    python scripts/build_emoji.py emoji-datasource-twitter-16.0.0.tgz emoji-datasource-google-16.0.0.tgz

Each argument is a package as ``npm pack`` leaves it (``.tgz``) or its unpacked folder. The result is one ``.npz``
without pickles: a lossless WebP atlas of 32 px tiles for each vendor, and the label, group, name, vendor and variant
flag of each tile. The same inputs with the same Pillow give the same bytes.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

SIZE = 32
VENDORS = ("twitter", "google")
OUTPUT = Path(__file__).parent.parent / "lightning_binding" / "data" / "embedded" / "emoji.npz"

SKIN_TONES = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
# Joiner, variation selector, gender signs, and the arrow that turns a person around: none of them makes a new emoji.
IGNORED = {"200D", "FE0F", "2640", "2642", "27A1"} | SKIN_TONES
# Man, woman and person are one emoji in three genders; so are boy, girl and child; and the pairs below.
SAME = {
    "1F468": "1F9D1", "1F469": "1F9D1", "1F466": "1F9D2", "1F467": "1F9D2",
    "1F474": "1F9D3", "1F475": "1F9D3",  # old man, old woman: older person
    "1F934": "1FAC5", "1F478": "1FAC5",  # prince, princess: person with crown
    "1F385": "1F9D1-1F384", "1F936": "1F9D1-1F384",  # Santa, Mrs. Claus: Mx. Claus
    "1F57A": "1F483",  # man and woman dancing
    "1F46B": "1F9D1-1F91D-1F9D1", "1F46C": "1F9D1-1F91D-1F9D1", "1F46D": "1F9D1-1F91D-1F9D1",  # holding hands
    "1F48F": "1F9D1-2764-1F48B-1F9D1", "1F491": "1F9D1-2764-1F9D1",  # kiss, couple with heart
}  # fmt: skip
FAMILY = "1F46A"


class Tile(NamedTuple):
    """One drawing: its pixels and where it belongs."""

    vendor: int
    name: str
    category: str
    group: str
    is_variant: bool
    pixels: np.ndarray  # (SIZE, SIZE, 4) uint8, straight alpha


def base_emoji(unified: str) -> str:
    """Return the key that skin tones and genders of one emoji share, from code points such as ``1F468-200D-2695``."""
    points = [SAME.get(point, point) for point in unified.split("-") if point not in IGNORED]
    if len(points) > 1 and set(points) <= {"1F9D1", "1F9D2"}:
        return FAMILY  # every make-up of a family is the family emoji
    return "-".join(points) or unified


class Groups:
    """Disjoint sets of group keys: identical drawings under two emoji (flags of dependent territories) join them."""

    def __init__(self) -> None:
        self.parent: dict[str, str] = {}

    def find(self, key: str) -> str:
        """Return the key that stands for a set."""
        while (parent := self.parent.setdefault(key, key)) != key:
            key = parent
        return key

    def join(self, a: str, b: str) -> None:
        """Make one set of two; the key that sorts first stands for it."""
        first, second = sorted((self.find(a), self.find(b)))
        self.parent[second] = first


def opener(package: Path) -> Callable[[str], bytes]:
    """Return a function that reads one file of the npm package, packed or not."""
    if package.is_dir():
        root = package / "package" if (package / "package").is_dir() else package
        return lambda name: (root / name).read_bytes()
    with tarfile.open(package) as archive:
        files = {m.name.split("/", 1)[1]: archive.extractfile(m) for m in archive if m.isfile() and wanted(m.name)}
        content = {name: file.read() for name, file in files.items() if file is not None}
    return content.__getitem__


def wanted(name: str) -> bool:
    """Whether a file of the packed archive is needed; the sprite sheets, most of it, are not."""
    return name.endswith("package/emoji.json") or "/64/" in name


def shrink(png: bytes) -> np.ndarray:
    """Return the image at ``SIZE``; Pillow multiplies by alpha before it filters, so hidden colours do not bleed."""
    image = Image.open(io.BytesIO(png)).convert("RGBA")
    pixels = np.array(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    pixels[pixels[..., 3] == 0] = 0
    return pixels


def read_vendor(vendor: int, package: Path) -> list[Tile]:
    """Return every drawing of one vendor, in Unicode's order."""
    read = opener(package)
    entries: list[dict[str, Any]] = sorted(json.loads(read("emoji.json")), key=lambda e: e["sort_order"])
    tiles = []
    for entry in entries:
        if entry["category"] == "Component":  # five plain swatches of skin: nothing to learn
            continue
        group = base_emoji(entry["unified"])
        drawings = [("", entry), *entry.get("skin_variations", {}).items()]
        for tone, drawing in drawings:
            if not drawing[f"has_img_{VENDORS[vendor]}"]:
                continue
            pixels = shrink(read(f"img/{VENDORS[vendor]}/64/{drawing['image']}"))
            name = entry["short_name"] + (f"_{tone.lower()}" if tone else "")
            tiles.append(Tile(vendor, name, entry["category"], group, bool(tone), pixels))
    return tiles


def deduplicate(tiles: list[Tile]) -> tuple[list[Tile], Groups]:
    """Keep the first of identical drawings, and join the groups of the others to its group."""
    groups, first = Groups(), dict[bytes, Tile]()
    for tile in tiles:
        same = first.setdefault(tile.pixels.tobytes(), tile)
        groups.join(tile.group, same.group)
    return list(first.values()), groups


def atlas(tiles: list[Tile]) -> np.ndarray:
    """Return the bytes of a lossless WebP with the tiles in rows, as few pixels as a near-square allows."""
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    sheet = np.zeros((rows, columns, SIZE, SIZE, 4), np.uint8)
    sheet.reshape(-1, SIZE, SIZE, 4)[: len(tiles)] = [tile.pixels for tile in tiles]
    picture = Image.fromarray(sheet.transpose(0, 2, 1, 3, 4).reshape(rows * SIZE, columns * SIZE, 4))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", lossless=True, quality=100, method=6)
    return np.frombuffer(stream.getvalue(), np.uint8)


def build(packages: list[Path], output: Path) -> None:
    """Read both packages and write the archive."""
    tiles, groups = deduplicate([t for v, package in enumerate(packages) for t in read_vendor(v, package)])
    names = sorted({groups.find(tile.group) for tile in tiles})
    classes = sorted({tile.category for tile in tiles})
    number = {name: i for i, name in enumerate(names)}
    arrays = {f"atlas_{name}": atlas([t for t in tiles if t.vendor == v]) for v, name in enumerate(VENDORS)}
    arrays |= {
        "label": np.array([classes.index(t.category) for t in tiles], np.uint8),
        "group": np.array([number[groups.find(t.group)] for t in tiles], np.uint16),
        "vendor": np.array([t.vendor for t in tiles], np.uint8),
        "is_variant": np.array([t.is_variant for t in tiles], bool),
        "name": np.array([t.name for t in tiles]),
        "class_names": np.array(classes),
        "group_names": np.array(names),
        "vendor_names": np.array(VENDORS),
        "size": np.array(SIZE),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(output, allow_pickle=False, **arrays)
    print(f"{output}: {len(tiles)} images, {len(names)} groups, {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("twitter", type=Path, help="emoji-datasource-twitter: .tgz or unpacked folder")
    parser.add_argument("google", type=Path, help="emoji-datasource-google: .tgz or unpacked folder")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="where the archive goes")
    arguments = parser.parse_args()
    build([arguments.twitter, arguments.google], arguments.output)
