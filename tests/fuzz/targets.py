"""What is fuzzed: readers of users' files, whole files to begin with, and how their bytes are mutated."""

import lightning_binding  # isort: skip  # noqa: F401  (before anything imports torchvision)

import io
import json
import pickle
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from lightning.pytorch.cli import LightningArgumentParser
from PIL import Image
from safetensors.torch import save as serialize
from scipy.io import savemat
from small_videos import encode

from lightning_binding import InputError
from lightning_binding.cli.configs import check_config
from lightning_binding.cli.stages import BindingCLI, parse
from lightning_binding.crw.annotations import read_points
from lightning_binding.data.cifar import BINARY, PYTHON, RECORD, read_batch
from lightning_binding.data.jhmdb_files import read_points as read_joints
from lightning_binding.data.shards.chunk import Chunk, Example, encode_example, pack
from lightning_binding.data.shards.index import ChunkInfo, ShardIndex, parse_index
from lightning_binding.export import load
from lightning_binding.limits import read_text
from lightning_binding.masks import encode_mask, read_mask
from lightning_binding.metrics.streaming import StreamingFrechet
from lightning_binding.video.guarded import GuardedDecoder
from lightning_binding.weights import read_checkpoint, read_weights

CONFIGS = Path(__file__).parents[2] / "configs"
DEADLINE = 10
"""Seconds that an input may take."""


class Target(NamedTuple):
    """A reader, and whole files for it."""

    read: Callable[[Path], Any]
    ending: str
    seeds: list[bytes]


def targets(folder: Path) -> dict[str, Target]:
    """All of them; files that libraries write are made in the folder."""
    mask = (torch.arange(12 * 10).view(12, 10) % 4).byte()
    colours = io.BytesIO()
    Image.open(io.BytesIO(encode_mask(mask))).convert("RGB").save(colours, "PNG")
    checkpoint = io.BytesIO()
    torch.save({"state_dict": {"weight": torch.ones(3, 2)}, "class_path": "a.B", "hyper_parameters": {}}, checkpoint)
    tensors = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
    exported = serialize(tensors, {"class_path": "a.B", "hyper_parameters": json.dumps({"size": [1, 2]})})
    double = {"dtype": torch.float64}
    sums = {"count": torch.tensor(8), "sum": torch.ones(3, **double), "products": torch.ones(3, 3, **double)}
    decoder = GuardedDecoder(timeout=DEADLINE / 2)
    clips = [encode(folder / f"small.{kind}", range(6), size=(16, 16)).read_bytes() for kind in ("mp4", "avi")]
    yamls = [path.read_bytes() for path in sorted(CONFIGS.rglob("*.yaml"))]
    items = [encode_example(Example(bytes(9 * n), n, f"{n}.jpg")) for n in range(5)]
    batch = {b"data": np.arange(2 * RECORD - 2).astype(np.uint8).reshape(2, -1), b"labels": [3, 9]}
    records = b"".join(bytes([label]) + bytes(range(256)) * 12 for label in (3, 9))
    joints, packed = io.BytesIO(), io.BytesIO()
    for file, small in ((joints, False), (packed, True)):
        savemat(file, {"pos_img": np.ones((2, 15, 3)), "scale": 1.0, "viewpoint": "N"}, do_compression=small)
    options = parser_of("fit")
    index = ShardIndex([ChunkInfo(f"chunk-{n}.bin", 5, 300, 64 * f"{n}") for n in range(3)], "image", ("a", "b"), "0")
    return {
        "config": Target(check_config, ".yaml", [*yamls, b"a: &a [1]\nb: &b [*a, *a]\nc: {x: *b, <<: {y: 1}}\n"]),
        "options": Target(
            lambda path: (check_config(path), parse(options, ["--config", str(path)])),
            ".yaml",
            [(CONFIGS / method / "quickstart.yaml").read_bytes() for method in ("", "crw", "carml")],
        ),
        "mask": Target(read_mask, ".png", [encode_mask(mask), colours.getvalue()]),
        "points": Target(lambda path: read_points(str(path)), ".json", [b"[[1, 2], [3.5, null], [4, 5]]"]),
        "joints": Target(lambda path: read_joints(path, (8, 8)), ".mat", [joints.getvalue(), packed.getvalue()]),
        "cifar_python": Target(lambda path: read_batch(path, PYTHON), "", [pickle.dumps(batch, at) for at in (2, 4)]),
        "cifar_binary": Target(lambda path: read_batch(path, BINARY), ".bin", [records]),
        "safetensors": Target(read_weights, ".safetensors", [exported]),
        "export": Target(load, ".safetensors", [exported]),
        "checkpoint": Target(read_checkpoint, ".ckpt", [checkpoint.getvalue()]),
        "statistics": Target(
            lambda path: StreamingFrechet(torch.nn.Identity()).load_real(path),
            ".safetensors",
            [serialize(sums)],
        ),
        "chunk": Target(read_chunk, ".bin", [pack(items), pack(items[:1])]),
        "shard_index": Target(lambda path: parse_index(read_text(path), path), ".json", [index.to_json().encode()]),
        "video": Target(lambda path: decoder.cut(str(path), 0.5, 2, None), ".mp4", clips),
    }


class Asked(Exception):
    """Carries the parser of a command."""


class Asking(BindingCLI):
    """Gives its parser away before it parses."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        raise Asked(parser)


def parser_of(stage: str) -> LightningArgumentParser:
    """The parser of a stage, with all its options."""
    try:
        Asking(stage, [])
    except Asked as asked:
        return cast(LightningArgumentParser, asked.args[0])
    raise AssertionError


def read_chunk(path: Path) -> list[Example]:
    """All examples of a chunk."""
    chunk = Chunk(path)
    try:
        return [chunk.example(index) for index in range(chunk.count)]
    finally:
        chunk.close()


def mutate(content: bytes, draw: random.Random) -> bytes:
    """A few bytes changed, taken out, repeated, or put in; or the end cut off."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        place = draw.randrange(len(data) + 1)
        length = draw.choice((1, 2, 4, 8, 64))
        kind = draw.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[place : place + length] = draw.randbytes(length)
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = data[place : place + length] * draw.choice((1, 2, 50))
        elif kind == 4:
            data[place : place + length] = draw.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"[{", b"&a *a", b"..", b"1e999")
            )
        else:
            del data[max(1, place) :]
    return bytes(data)


def failure(target: Target, path: Path) -> str | None:
    """Reads a file; what went wrong that is neither a result nor an `InputError`."""
    try:
        with deadline(DEADLINE):
            target.read(path)
    except InputError:
        return None
    except TimeoutError:
        return "hang"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


@contextmanager
def deadline(seconds: int) -> Iterator[None]:
    """Raises a TimeoutError in the main thread after some seconds."""

    def late(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


__all__ = ["Target", "deadline", "failure", "mutate", "targets"]
