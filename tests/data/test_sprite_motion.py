"""The motion of sprites: its ranges hold in every step, walls included."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding import InputError
from lightning_binding.data.sprite_motion import CURVE, Motion, draw_path, draw_tracks, fold

seeds = st.integers(0, 2**32 - 1)


@given(st.floats(-50, 50), st.floats(0.1, 5), st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=60))
def test_fold_is_what_a_ball_between_walls_does(low, span, steps):
    """Against a simulation that turns round whenever it meets a wall."""
    high = low + span
    place, direction, expected = low + span / 2, 1, []
    for step in steps:
        move = direction * step
        while not low <= place + move <= high:
            wall = high if move > 0 else low
            move, place, direction = -(move - (wall - place)), wall, -direction
        place += move
        expected.append(place)
    found = fold(low + span / 2 + np.cumsum(steps), low, high)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_fold_without_room_stays():
    assert fold(np.array([3.0, 7.0]), 2.0, 2.0).tolist() == [2.0, 2.0]


@given(seeds, st.floats(0.1, 9), st.floats(0, 5))
def test_paths_have_constant_speed_and_gentle_curves(seed, low, more):
    x, y = draw_path(np.random.default_rng(seed), 3, 12, (low, low + more))
    dx, dy = np.diff(x), np.diff(y)
    step = np.hypot(dx, dy)
    np.testing.assert_allclose(step, step[:, :1].repeat(11, 1))
    assert (low - 1e-9 <= step).all()
    assert (step <= low + more + 1e-9).all()
    turn = np.diff(np.unwrap(np.arctan2(dy, dx)))
    assert np.abs(turn).max() <= math.radians(CURVE) + 1e-9
    np.testing.assert_allclose(turn, turn[:, :1].repeat(10, 1), atol=1e-7)


@given(seeds, st.integers(8, 100), st.integers(8, 100))
def test_every_step_is_in_the_ranges(seed, height, width):
    motion = Motion(sprite_size=(0.2, 0.6), speed=(0.02, 0.3), spin=(2.0, 9.0), zoom=(0.01, 0.1))
    unit = min(height, width)
    x, y, angle, side = draw_tracks(np.random.default_rng(seed), 5, 30, height, width, motion)
    assert x.shape == y.shape == angle.shape == side.shape == (5, 30)
    assert ((x >= 0) & (x <= width) & (y >= 0) & (y <= height)).all()
    assert np.hypot(np.diff(x), np.diff(y)).max() <= 0.3 * unit + 1e-9
    turn = np.degrees(np.abs(np.diff(angle)))
    assert (turn >= 2 - 1e-9).all()
    assert (turn <= 9 + 1e-9).all()
    assert (side >= 0.2 * unit - 1e-9).all()
    assert (side <= 0.6 * unit + 1e-9).all()
    assert np.abs(np.diff(np.log(side))).max() <= math.log(1.1) + 1e-9


def test_what_does_not_move_is_upright_and_stays():
    still = Motion(sprite_size=(0.5, 0.5), speed=(0, 0), spin=(0, 0), zoom=(0, 0))
    tracks = draw_tracks(np.random.default_rng(0), 3, 5, 20, 30, still)
    assert (tracks.angle == 0).all()
    assert (tracks.side == tracks.side[0, 0]).all()
    np.testing.assert_allclose(tracks.side, 10)
    for values in (tracks.x, tracks.y):
        assert (values == values[:, :1]).all()
        assert len(np.unique(values)) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"speed": (0.2, 0.1)}, r"speed is \[0.2, 0.1\]; it must be a range"),
        ({"spin": (-1, 1)}, r"spin is \[-1, 1\]"),
        ({"sprite_size": (0.0, 0.5)}, "sprite_size begins at 0"),
    ],
)
def test_ranges_are_checked(wrong, message):
    with pytest.raises(InputError, match=message):
        Motion(**wrong).check()
