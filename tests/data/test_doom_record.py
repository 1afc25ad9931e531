"""Recording Doom: labels become lasting ids, and a recording depends on its random numbers alone."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding.data.doom_record import dense_ids, draw_walk, object_ids, record

from .doom_double import CATEGORIES, FakeGame


def label(value, object_id, category="Monster"):
    return SimpleNamespace(value=value, object_id=object_id, object_category=category)


def test_values_of_the_buffer_become_ids():
    buffer = np.array([[0, 1, 36], [72, 255, 36]], np.uint8)
    labels = [label(36, 4), label(72, 0), label(255, 9, "Self")]
    assert object_ids(buffer, labels).tolist() == [[0, 0, 5], [1, 0, 5]]
    # In the next frame the same values are other objects'.
    assert object_ids(buffer, [label(36, 0), label(72, 300)]).tolist() == [[0, 0, 1], [301, 0, 1]]


@given(st.integers(0, 2**32 - 1))
def test_a_recording_shows_each_object_under_its_id(seed):
    game = FakeGame()
    found = record(game, np.random.default_rng(seed), 6, 2, 5)
    shown = found.video[:, 0].int()
    tracked = torch.tensor([k + 1 for k, category in CATEGORIES.items() if category in ("Monster", "Health")])
    expected = torch.where(torch.isin(shown, tracked), shown, 0)
    assert torch.equal(found.objects, expected.to(torch.int32))
    assert game.rendered == 6


def test_a_recording_depends_on_the_random_numbers_alone():
    fresh, used = FakeGame(), FakeGame()
    record(used, np.random.default_rng(8), 9, 3, 20)
    first, again = (record(game, np.random.default_rng(7), 4, 2, 9) for game in (fresh, used))
    assert torch.equal(first.video, again.video)
    assert torch.equal(first.objects, again.objects)
    waits = {int(record(fresh, np.random.default_rng(seed), 1, 1, 9).video[0, 2, 0, 0]) for seed in range(40)}
    assert waits == set(range(1, 11))


def test_an_episode_that_ends_too_early_gives_nothing():
    assert record(FakeGame(lasts=7), np.random.default_rng(0), 8, 1, 0) is None
    assert record(FakeGame(lasts=8), np.random.default_rng(0), 8, 1, 0).video.shape == (8, 3, 24, 32)


def test_a_shrunk_recording_averages_colours_and_keeps_ids():
    whole, small = (record(FakeGame(), np.random.default_rng(3), 3, 2, 4, shrink) for shrink in (1, 4))
    assert small.video.shape == (3, 3, 6, 8)
    boxes = whole.video.float().reshape(3, 3, 6, 4, 8, 4).mean((3, 5))
    assert (small.video - boxes).abs().max() <= 0.5
    assert torch.equal(small.objects, whole.objects[:, 2::4, 2::4])


@given(st.integers(0, 2**32 - 1))
def test_walks_are_smooth(seed):
    walk = draw_walk(np.random.default_rng(seed), 50, 2)
    assert walk.shape == (50, 3)
    assert np.abs(walk[:, 2]).max() <= 1
    slowest = 2 * 2 * np.pi / 40  # radians from one frame to the next, of the shortest period
    assert np.abs(np.diff(walk, axis=0)).max(0) == pytest.approx([0, 0, 0], abs=8 * slowest)
    assert np.abs(np.diff(walk[:, 2])).max() <= slowest


def test_dense_ids_count_from_one_in_order():
    objects = torch.tensor([[[0, 7, 7], [3, 3, 90]], [[90, 500, 0], [3, 7, 7]]], dtype=torch.int32)
    assert dense_ids(objects).tolist() == [[[0, 2, 2], [1, 1, 3]], [[3, 4, 0], [1, 2, 2]]]
    # What is smaller than two pixels in the first frame, or not in it, is background throughout.
    assert dense_ids(objects, 2).tolist() == [[[0, 2, 2], [1, 1, 0]], [[0, 0, 0], [1, 2, 2]]]
    many = torch.arange(300, dtype=torch.int32)[None, None]
    assert dense_ids(many)[0, 0].tolist() == [*range(255)] + [0] * 45
    assert dense_ids(torch.zeros(1, 2, 2, dtype=torch.int32)).max() == 0
