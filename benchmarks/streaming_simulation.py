"""A model of many nodes that train from one server of shards: what an epoch takes, and what it waits for.

Each rank has a stream, whose blocks of chunks are those of `ShardOrder` for the number of ranks. It fetches them one
after another, the next block while it reads this one, at its share of the slowest of four: the thread that fetches, the
link of the node, the server, and the disk of the node, which every byte passes twice. It reads a block as fast as its
cores decode. The epoch ends with the last rank. There is no model that trains: this is the most that data can give.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from lightning_binding.data.shards.order import ShardOrder

GIB = 2**30


class Cluster(NamedTuple):
    """What is assumed of the machines, and measured of one thread."""

    ranks: int = 8
    """For each node."""
    cores: int = 64
    """For each node, all of which decode."""
    link: float = 10e9 / 8
    """Bytes a second into a node."""
    server: float = 40e9 / 8
    """Bytes a second out of the server, over all nodes."""
    disk: float = 2e9
    """Bytes a second of the disk of a node, in both directions together."""


class Data(NamedTuple):
    """What is assumed of a data set."""

    examples: int
    bytes: int
    """Of an example, encoded."""
    repeats: int = 1
    """Clips of each video in an epoch."""


def epoch(data: Data, cluster: Cluster, nodes: int, decode: float, fetch: float, chunk: int, block: int) -> Any:
    """An epoch.

    Args:
        data: What is read.
        cluster: Who reads.
        nodes: Number of them.
        decode: Seconds of one core for an example.
        fetch: Seconds of one core for a byte that is fetched, compared and written.
        chunk: Bytes of a chunk.
        block: Chunks of a block.
    """
    each = max(1, chunk // data.bytes)
    sizes = [min(each, data.examples - at) for at in range(0, data.examples, each)]
    ranks = nodes * cluster.ranks
    rates = {
        "fetching thread": 1 / fetch,
        "link": cluster.link / cluster.ranks,
        "server": cluster.server / ranks,
        "disk": cluster.disk / 2 / cluster.ranks,
    }
    slowest = min(rates, key=lambda name: rates[name])
    order = ShardOrder(sizes, 0, 0, ranks, block)
    reading = decode * data.repeats * cluster.ranks / cluster.cores
    ends, starts, most, node = [], [], 0.0, 0.0
    for rank in range(ranks):
        begun = fetched = read = 0.0
        left, came = order.length, 0
        for place, chunks in enumerate(order.blocks(rank)):
            size = sum(sizes[number] for number in chunks)
            came += size * data.bytes
            # The block is asked for when the one before is begun; the first two at once.
            fetched = max(fetched, begun if place > 1 else 0.0) + size * data.bytes / rates[slowest]
            begun = max(read, fetched)
            starts += [begun] if place == 0 else []
            read = begun + min(size, left) * reading
            left -= min(size, left)
        ends.append(read)
        most = max(most, came)
        node += came if rank < cluster.ranks else 0
    seconds, start = max(ends), max(starts)
    waits = {"start-up": start, slowest: most / rates[slowest], "decoding": order.length * reading}
    return {
        "seconds": seconds,
        "examples_per_second": order.length * ranks * data.repeats / seconds,
        "startup_seconds": start,
        "decoding_seconds": waits["decoding"],
        "fetching_seconds": waits[slowest],
        "gib_per_node": node / GIB,
        "bottleneck": "start-up" if start > seconds / 2 else max((slowest, "decoding"), key=lambda name: waits[name]),
    }
