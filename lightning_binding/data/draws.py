"""Random numbers that are a function of their place: the same for any order, number of workers, rank or restart.

A generator that lives in a loader's worker cannot be put in a checkpoint. These draws need none: each is the output of
the mixing function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014,
section 4), applied in turn to the seed, the epoch and the index.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def _mix(state: npt.NDArray[np.uint64], value: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Absorb a value into the state; the arithmetic is modulo 2**64."""
    z = (state ^ value.astype(np.uint64)) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


def draw_bytes(seed: int, epoch: npt.NDArray[np.int64], index: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Eight random bytes for each example.

    Args:
        seed: Any integer, taken modulo 2**64.
        epoch: `(N,)`, how many times the data were gone through before.
        index: `(N,)`, places in the data.

    Returns:
        `(N, 8)` independent bytes, uniform in [0, 255].
    """
    start = np.full(len(index), seed % 2**64, np.uint64)
    bits = _mix(_mix(_mix(start, np.zeros_like(index)), epoch), index)
    return bits.astype("<u8")[:, None].view(np.uint8)
