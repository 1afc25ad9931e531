"""What each world is: payoffs, transitions, goals, pictures, against closed forms."""

import numpy as np
import pytest

from lightning_binding.carml.worlds import BernoulliBandit, Corridor, DarkRoom, FindTheArm, PointWorld, TabularMDP
from lightning_binding.carml.worlds.point import point_pictures
from lightning_binding.errors import InputError


def returns(world: object, policy: object, count: int, seed: int = 0) -> np.ndarray:
    """Rewards (L, count) of one trial under `policy(time, rewards so far, actions so far, generator)`."""
    envs = world.make(count, seed)  # type: ignore[attr-defined]
    envs.reset()
    generator, rewards, taken = np.random.default_rng(seed + 1), [], []
    for time in range(world.trial_length):  # type: ignore[attr-defined]
        taken.append(policy(time, rewards, taken, generator))  # type: ignore[operator]
        rewards.append(envs.step(taken[-1])[1])
    return np.array(rewards)


def test_the_best_agent_finds_the_arm() -> None:
    def in_turn(time: int, rewards: list[np.ndarray], taken: list[np.ndarray], _: object) -> np.ndarray:
        chosen = np.full(20_000, min(time, 3))
        for paid, arm in zip(rewards, taken, strict=True):
            chosen = np.where(paid > 0, arm, chosen)
        return chosen

    found = returns(FindTheArm(4, 6), in_turn, 20_000)
    np.testing.assert_allclose(found.mean(1), [0.25, 0.5, 0.75, 1, 1, 1], atol=0.01)
    assert found.sum(0).mean() == pytest.approx(4.5, abs=0.03)


def test_a_random_agent_gets_half_of_what_a_bernoulli_bandit_has() -> None:
    found = returns(BernoulliBandit(5, 10), lambda *_: _[3].integers(5, size=20_000), 20_000)
    assert found.sum(0).mean() == pytest.approx(5.0, abs=0.05)
    payoffs = BernoulliBandit(5, 10).draw_tasks(20_000, np.random.default_rng(0))["chance"]
    assert payoffs.max(1).mean() == pytest.approx(5 / 6, abs=0.005)  # the oracle's nK / (K + 1), over n


@pytest.mark.parametrize("episodes", [1, 10])
def test_a_random_agent_gets_one_a_step_in_an_mdp(episodes: int) -> None:
    found = returns(TabularMDP(episodes=episodes), lambda *_: _[3].integers(5, size=4000), 4000)
    assert found.sum(0).mean() == pytest.approx(10.0 * episodes, abs=1.0)  # the start state is shared by episodes


def test_an_mdp_moves_as_its_table_says() -> None:
    world = TabularMDP(4, 2, episodes=1, horizon=2)
    task = world.draw_tasks(1, np.random.default_rng(0))
    many = {name: np.repeat(value, 50_000, 0) for name, value in task.items()}
    state, generator = world.begin(many, np.random.default_rng(1)), np.random.default_rng(2)
    rewards = world.advance(many, state, np.ones(50_000, int), generator)
    assert rewards.mean() == pytest.approx(float(task["mean"][0, 0, 1]), abs=0.02)
    assert rewards.std() == pytest.approx(1.0, abs=0.02)
    expected = np.diff(task["cumulative"][0, 0, 1], prepend=0)
    np.testing.assert_allclose(np.bincount(state["place"], minlength=4) / 50_000, expected, atol=0.01)
    transitions = np.diff(world.draw_tasks(5000, generator)["cumulative"], axis=-1, prepend=0)
    np.testing.assert_allclose(transitions.mean((0, 1, 2)), np.full(4, 0.25), atol=0.01)
    assert transitions.var((0, 1, 2)).mean() == pytest.approx(0.25 * 0.75 / 5, rel=0.05)  # of a flat Dirichlet of 4


def test_a_corridor_is_just_long_enough() -> None:
    found = returns(Corridor(5, 2), lambda *_: np.ones(2000, int), 2000)
    assert set(found.sum(0)) == {0.0, 2.0}
    assert (found.sum(0) > 0).mean() == pytest.approx(0.5, abs=0.04)
    assert found[:4].max() == 0


def test_a_goal_in_the_dark_is_anywhere_but_in_the_middle() -> None:
    world = DarkRoom(3)
    goals = world.draw_tasks(8000, np.random.default_rng(0))["goal"]
    cells = np.bincount(goals[:, 0] * 3 + goals[:, 1], minlength=9) / 8000
    np.testing.assert_allclose(cells, [0.125] * 4 + [0] + [0.125] * 4, atol=0.015)
    state = world.begin({"goal": goals}, np.random.default_rng(0))
    np.testing.assert_array_equal(world.positions(state), np.zeros((8000, 2)))
    world.advance({"goal": goals}, state, np.full(8000, 1), np.random.default_rng(0))  # up
    np.testing.assert_array_equal(world.positions(state), np.tile([0.0, 1.0], (8000, 1)))


def test_a_point_goes_where_it_is_told_and_walls_hold_it() -> None:
    world = PointWorld(episodes=1, horizon=30, step=0.1, goals=[(0.5, -0.5)])
    envs = world.make(2, 0)
    envs.reset()
    for _ in range(5):
        seen, rewards, *_ = envs.step(np.array([[1, -1], [-3, 0.5]], np.float32))
    np.testing.assert_allclose(seen, [[0.5, -0.5], [-0.5, 0.25]], atol=1e-6)
    np.testing.assert_allclose(rewards, [1, 1 - np.hypot(1, 0.75)], atol=1e-6)
    assert world.successes(envs.tasks, envs.state).tolist() == [True, False]
    for _ in range(25):
        seen, *_, infos = envs.step(np.array([[1, 0], [0, 1]], np.float32))
    np.testing.assert_allclose([info["final_observation"] for info in infos], [[1, -0.5], [-0.5, 1]])
    assert [info["success"] for info in infos] == [False, False]
    np.testing.assert_allclose(envs.positions(), [[1, -0.5], [-0.5, 1]])  # before the reset
    np.testing.assert_array_equal(seen, np.zeros((2, 2)))


def test_rewards_of_the_point_world() -> None:
    goals = [(0.0, 0.0), (0.9, 0.0)]
    sparse = PointWorld(goals=goals, dense=False, reach=0.2).make(64, 0)
    sparse.reset()
    rewards = sparse.step(np.zeros((64, 2), np.float32))[1]
    np.testing.assert_array_equal(rewards, sparse.tasks["goal"][:, 0] == 0)
    silent = PointWorld(goals=goals, rewarded=False).make(4, 0)
    silent.reset()
    assert not silent.step(np.ones((4, 2), np.float32))[1].any()


def test_pictures_show_the_point_where_it_is() -> None:
    places = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    pictures = point_pictures(places)
    assert (pictures.shape, pictures.dtype) == ((200, 3, 64, 64), np.uint8)
    floor = np.median(pictures, 0)
    marks = np.abs(pictures - floor).sum(1)
    axis = np.linspace(-1.1, 1.1, 64)
    total = marks.sum((1, 2))
    np.testing.assert_allclose((marks.sum(1) @ axis) / total, places[:, 0], atol=0.03)
    np.testing.assert_allclose((marks.sum(2) @ -axis) / total, places[:, 1], atol=0.03)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FindTheArm(1), "arms is 1; a bandit has 2 or more"),
        (lambda: BernoulliBandit(5, 0), "horizon is 0; a trial has 1 or more episodes of 1 or more steps"),
        (lambda: DarkRoom(episodes=0), "episodes is 0"),
        (lambda: PointWorld(goals=[(2, 0)]), r"the goal \[2, 0\] is no point"),
        (lambda: PointWorld(goals=[]), "goals is empty"),
        (lambda: PointWorld(reach=0), "reach is 0; it must be positive"),
    ],
)
def test_bad_settings_are_explained(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
