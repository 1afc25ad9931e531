"""What the point world pays for nearness."""

import numpy as np
import pytest

from lightning_binding import InputError
from lightning_binding.carml.worlds import PointWorld


@pytest.mark.parametrize(("peak", "width", "power"), [(1.0, 1.0, 1.0), (0.25, 0.5, 2.0), (3.0, 2.0, 0.5)])
def test_nearness_falls_off_from_the_peak(peak: float, width: float, power: float) -> None:
    world = PointWorld(goals=[[0.6, -0.3]], peak=peak, width=width, power=power)
    tasks = world.draw_tasks(5, np.random.default_rng(0))
    state = world.begin(tasks, np.random.default_rng(0))
    moves = np.array([[1, 0], [0, -1], [-1, 1], [0, 0], [1, -1]], np.float32)
    for _ in range(4):
        rewards = world.advance(tasks, state, moves, np.random.default_rng(0))
        distance = np.linalg.norm(state["place"] - np.array([0.6, -0.3]), axis=1)
        assert rewards == pytest.approx(peak * (1 - (distance / width) ** power), abs=1e-5)
        assert rewards.dtype == np.float32
    state["place"][:] = [0.6, -0.3 + world.step]
    assert world.advance(tasks, state, np.tile(np.float32([0, -1]), (5, 1)), None) == pytest.approx(peak, abs=1e-5)


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="width is 0"):
        PointWorld(width=0)
