"""The random bytes against SplitMix64 written out with Python's integers, and their distribution."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding.data.draws import draw_bytes

WORD = 2**64


def splitmix(state, value):
    z = ((state ^ value % WORD) + 0x9E3779B97F4A7C15) % WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


@given(st.integers(-(2**70), 2**70), st.integers(0, 2**40), st.integers(0, 2**40))
def test_against_exact_integers(seed, epoch, index):
    word = splitmix(splitmix(splitmix(seed % WORD, 0), epoch), index)
    assert draw_bytes(seed, np.array([epoch]), np.array([index])).tobytes() == word.to_bytes(8, "little")


def test_every_bit_is_fair_and_alone():
    n = 20_000
    drawn = draw_bytes(1, np.repeat(np.arange(4), n // 4), np.tile(np.arange(n // 4), 4))
    bits = np.unpackbits(drawn, axis=1).astype(np.float64) - 0.5
    correlation = 4 * bits.T @ bits / n  # the identity, with a standard deviation of 1 / sqrt(n) elsewhere
    assert np.abs(correlation - np.eye(64)).max() < 5 / np.sqrt(n)
    assert np.abs(bits.mean(0)).max() < 5 * 0.5 / np.sqrt(n)


def test_a_byte_does_not_depend_on_its_batch():
    index = np.arange(10)
    together = draw_bytes(3, np.full(10, 2), index)
    alone = [draw_bytes(3, np.array([2]), np.array([i]))[0] for i in index]
    assert (together == alone).all()
