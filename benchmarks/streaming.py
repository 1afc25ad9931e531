"""Reading shards beside reading folders, with what a cluster would do at these rates.

    OMP_NUM_THREADS=1 python benchmarks/streaming.py --out benchmarks/results/streaming.json

Pictures of 500 x 375 pixels and about 110 KB, videos of 340 x 256 pixels and ten seconds, both drawn here. The time is
that of one thread on the processor, with what the system does for it; files come from the system's memory, as a disk
is not measured. In each round the ways take turns over the same examples in the same shuffled order; the best of the
rounds counts. `http` is a server on loopback, in a process of its own, into an empty cache.
"""

import lightning_binding  # noqa: F401  # isort: skip  (before anything imports torchvision)

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine
from PIL import Image
from streaming_simulation import Cluster, Data, epoch

from lightning_binding.data.broken import BrokenFiles
from lightning_binding.data.decode import Decoder
from lightning_binding.data.shards.cache import Cached
from lightning_binding.data.shards.convert import convert
from lightning_binding.data.shards.items import ShardItems, ShardVideos
from lightning_binding.data.shards.plan import make_plan
from lightning_binding.data.shards.sampler import ShardSampler
from lightning_binding.data.shards.sides import KINDS, Splitting
from lightning_binding.data.shards.store import Folder
from lightning_binding.data.shards.transport import Http
from lightning_binding.data.source import Source
from lightning_binding.video.clip import cut
from lightning_binding.video.writer import write_video

DATA = {
    "ImageNet": ("image", Data(1_281_167, 110_000)),
    "Kinetics-400": ("video", Data(240_000, 600_000, 5)),
    "Kinetics-600": ("video", Data(390_000, 600_000, 5)),
}
"""Training examples, bytes of one (of Kinetics as resized to a short side of 256), clips of each video in an epoch."""
NODES = (1, 2, 4, 8, 16, 32, 64)
CHUNKS, BLOCK = (64 * 2**20, 16 * 2**20), 4


def draw_picture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Clouds with a grain: uint8 (H, W, 3)."""
    small = Image.fromarray(rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8))
    clouds = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
    return (clouds + 22 * rng.standard_normal(clouds.shape, np.float32)).clip(0, 255).astype(np.uint8)


def write_images(root: Path, count: int) -> None:
    """Ten classes under `train`, one picture under `val` for each."""
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("val", 10)):
        for index in range(number):
            folder = root / split / f"{index % 10}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_picture(rng, 500, 375)).save(folder / f"{index}.jpg", quality=88)


def write_videos(root: Path, count: int) -> None:
    """A window that moves over a picture, 300 frames."""
    rng = np.random.default_rng(0)
    for index in range(count):
        picture = torch.from_numpy(draw_picture(rng, 500, 416)).permute(2, 0, 1)
        frames = (picture[:, at // 2 : at // 2 + 256, at // 2 : at // 2 + 340] for at in range(300))
        write_video(root / "train" / f"{index % 2}" / f"{index}.mp4", frames, 30)


def shards(source: Path, out: Path, kind: str, chunk: int) -> None:
    found = KINDS[kind].find(str(source), Splitting(None, 0.05, False))
    broken = {side: BrokenFiles(out / "broken.txt", files.root, 1, 0, kind) for side, files in found.sides.items()}
    convert(make_plan(found, kind, chunk, None), out, kind, found.class_names, broken, 0)


def timed(function: Callable[[], object]) -> float:
    """Seconds of this process on the processor."""
    started = time.process_time()
    function()
    return time.process_time() - started


def read(source: Source, order: list[int]) -> None:
    """The bytes of all examples."""
    for index in order:
        with source.opened(index) as (encoded, _):
            if isinstance(encoded, str):
                Path(encoded).read_bytes()
            else:
                encoded.read()


def decoded(source: Source, order: list[int], decode: Callable[[Any], object]) -> None:
    for index in order:
        with source.opened(index) as (encoded, _):
            decode(encoded)


DECODERS: dict[str, Callable[[Any], object]] = {
    "image, to 64": Decoder(64),
    "image, to 256": Decoder(256),
    "video": lambda path: cut(path, 0.5, 4, 8.0, 256),
}


def ways(kind: str, sources: dict[str, Any], cached: Cached, order: list[int]) -> dict[str, Callable[[], object]]:
    """What is timed, in turn."""
    found: dict[str, Callable[[], object]] = {
        "fetch, http": lambda: [cached.fetch(info) for info in cached.index().chunks],
    }
    for name, source in sources.items():
        found[f"read, {name}"] = partial(read, source, order)
    paths = [sources["folder"].full_path(index) for index in order]
    for what in [name for name in DECODERS if name.startswith(kind)]:
        found[f"{what}: decode alone"] = partial(lambda decode: [decode(path) for path in paths], DECODERS[what])
        for name, source in sources.items():
            found[f"{what}: {name}"] = partial(decoded, source, order, DECODERS[what])
    return found


def measure(kind: str, count: int, rounds: int) -> dict[str, Any]:
    """Milliseconds an example of each way, ratios to decoding alone, and what a byte costs that is fetched."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        (write_images if kind == "image" else write_videos)(root / "source", count)
        files = KINDS[kind].find(str(root / "source"), Splitting(None, 0.05, False)).sides["train"]
        size = sum(Path(files.full_path(index)).stat().st_size for index in range(files.total))
        shards(root / "source", root / "shards", kind, size // 6)
        make = ShardItems if kind == "image" else ShardVideos
        items = make(Folder(str(root / "shards" / "train")))
        sampler = ShardSampler(files, items.sizes, 1, 0, 0, BLOCK)  # type: ignore[arg-type]
        order = [index for index, _ in sampler]
        server = subprocess.Popen(
            [sys.executable, "-u", "-m", "http.server", "0", "--bind=127.0.0.1", f"--directory={root}/shards"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert server.stdout is not None
        port = server.stdout.readline().split("port ")[1].split()[0]
        seconds: dict[str, list[float]] = {}
        try:
            for number in range(rounds):
                cached = Cached(Http(f"http://127.0.0.1:{port}/train"), str(root / f"cache{number}"), 2**40)
                sources = {"folder": files, "shards": items, "http, once fetched": make(cached)}
                for name, way in ways(kind, sources, cached, order).items():
                    seconds.setdefault(name, []).append(timed(way))
        finally:
            server.terminate()
            server.wait()
    best = {name: min(found) for name, found in seconds.items()}
    alone = best["image, to 64: decode alone" if kind == "image" else "video: decode alone"]
    return {
        "examples": len(order),
        "bytes_per_example": size / files.total,
        "milliseconds": {name: 1000 * value / len(order) for name, value in best.items()},
        "of_decoding": {name: value / alone for name, value in best.items()},
        "spread": {name: max(found) / min(found) for name, found in seconds.items()},
        "fetch_seconds_per_gib": best["fetch, http"] / size * 2**30,
        "decode_seconds": alone / len(order),
    }


def print_inputs(rates: dict[str, Any], cluster: Cluster) -> None:
    """What the simulation is fed, and where each number is from."""
    image, video = rates["image"], rates["video"]
    alone = f"{1000 * image['decode_seconds']:.2f} ms, {1000 * video['decode_seconds']:.2f} ms"
    fetch = f"{image['fetch_seconds_per_gib']:.2f} s, {video['fetch_seconds_per_gib']:.2f} s"
    network = f"{8 * cluster.link / 1e9:g} Gbit/s, {8 * cluster.server / 1e9:g} Gbit/s"
    rows = [
        ("decoding of a picture to 64 pixels, of a clip", alone, "measured: one thread of this machine"),
        (
            "fetching a GiB, comparing and writing it (pictures, videos)",
            fetch,
            "measured: one thread, server on loopback",
        ),
        ("order of the shards, and who reads which", "", "computed: that of the sampler"),
        *((f"{name}: examples", f"{data.examples:,}", "assumed: not counted here") for name, (_, data) in DATA.items()),
        *((f"{name}: bytes of one", f"{data.bytes:,}", "assumed: not measured") for name, (_, data) in DATA.items()),
        (
            "ranks and cores of a node",
            f"{cluster.ranks}, {cluster.cores}",
            "assumed: all cores decode, as fast as this one",
        ),
        ("link of a node, link of the server", network, "assumed: no cluster at hand"),
        ("disk of a node", f"{cluster.disk / 1e9:g} GB/s", "assumed: no disk measured"),
    ]
    print("\n| input of the simulation | value | from |\n| --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600, help="number of pictures")
    parser.add_argument("--videos", type=int, default=24, help="number of videos")
    parser.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    parser.add_argument("--out", type=Path, default=None, help="JSON file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rates = {kind: measure(kind, getattr(options, f"{kind}s"), options.rounds) for kind in ("image", "video")}
    for kind, found in rates.items():
        print(f"\n{found['examples']} {kind}s of {found['bytes_per_example'] / 1000:.0f} KB", flush=True)
        print("| way | ms | of decoding |\n| --- | --- | --- |")
        for name, value in found["milliseconds"].items():
            print(f"| {name} | {value:.3f} | {found['of_decoding'][name]:.3f} |")
    cluster = Cluster()
    simulated: dict[str, list[Any]] = {}
    print_inputs(rates, cluster)
    print("\n| data | MiB a chunk | nodes | epoch, s | examples/s | start-up, s | GiB a node | waits for |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, (kind, data) in DATA.items():
        found = rates[kind]
        fetch = found["fetch_seconds_per_gib"] / 2**30
        for chunk, nodes in itertools.product(CHUNKS, NODES):
            row = epoch(data, cluster, nodes, found["decode_seconds"], fetch, chunk, BLOCK)
            simulated.setdefault(name, []).append({"chunk": chunk, "nodes": nodes, **row})
            print(
                f"| {name} | {chunk // 2**20} | {nodes} | {row['seconds']:.0f} | {row['examples_per_second']:.0f} | "
                f"{row['startup_seconds']:.1f} | {row['gib_per_node']:.1f} | {row['bottleneck']} |"
            )
    if options.out:
        assumed = {"cluster": cluster._asdict(), "block": BLOCK}
        assumed["data"] = {name: {"kind": kind, **data._asdict()} for name, (kind, data) in DATA.items()}
        found = {"machine": machine(1), "measured": rates, "assumed": assumed, "simulated": simulated}
        options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
