"""Bandits and MDPs against what the best agents get: exact optima by dynamic programming, and rules of thumb.

The numbers of the bandits are those of Bayes-optimal agents, exact to the last digit given, and of simulations of
Thompson sampling and of the greedy rule, in the units of Duan et al. (2016), table 1.
"""

from functools import cache

import numpy as np
import pytest

from lightning_binding.carml.worlds import BernoulliBandit, TabularMDP

from .test_worlds import returns

Pulled = tuple[tuple[int, int], ...]  # gains and losses of the arms that were pulled, in order


def best(arms: int, pulls: int) -> tuple[float, dict[Pulled, tuple[int, int]]]:
    """The return of the Bayes-optimal agent, and the arm, by its gains and losses, that it pulls in every state."""
    chosen: dict[Pulled, tuple[int, int]] = {}

    @cache
    def value(pulled: Pulled) -> float:
        left = pulls - sum(map(sum, pulled))
        if not left:
            return 0.0
        options = {}
        for arm in sorted({*pulled, *([(0, 0)] if len(pulled) < arms else [])}):
            rest = list(pulled)
            if arm in pulled:
                rest.remove(arm)
            chance = (arm[0] + 1) / (sum(arm) + 2)
            paid, unpaid = (tuple(sorted([*rest, new])) for new in ((arm[0] + 1, arm[1]), (arm[0], arm[1] + 1)))
            options[arm] = chance * (1 + value(paid)) + (1 - chance) * value(unpaid)
        chosen[pulled] = max(options, key=options.__getitem__)
        return options[chosen[pulled]]

    return value(()), chosen


@pytest.mark.parametrize(
    ("arms", "pulls", "expected"),
    [(2, 2, 1.08333), (2, 10, 6.02179), (5, 10, 6.65999), (10, 10, 6.71395), (50, 10, 6.71395)],
)
def test_exact_optima_of_bernoulli_bandits(arms: int, pulls: int, expected: float) -> None:
    assert best(arms, pulls)[0] == pytest.approx(expected, abs=6e-6)


def test_the_exact_optimum_of_many_pulls_of_two_arms() -> None:
    pulls, after = 100, np.zeros((102, 102, 102))  # by gains and losses of the first arm, gains of the second
    for time in range(pulls - 1, -1, -1):
        gains, losses, others = np.ogrid[: time + 1, : time + 1, : time + 1]
        lost = np.maximum(time - gains - losses - others, 0)  # where it would be negative there is no such state
        first, second = (gains + 1) / (gains + losses + 2), (others + 1) / (others + lost + 2)
        here, end = slice(0, time + 1), slice(1, time + 2)
        stays = after[here, here, here]  # the second arm did not pay
        one = first * (1 + after[end, here, here]) + (1 - first) * after[here, end, here]
        two = second * (1 + after[here, here, end]) + (1 - second) * stays
        after = np.pad(np.maximum(one, two), (0, 1))
    assert after[0, 0, 0] == pytest.approx(64.91842, abs=6e-6)


class Counts:
    """Gains and losses (N, K) of every arm of a bandit, kept up from what was pulled and paid."""

    def __init__(self, count: int, arms: int) -> None:
        self.gains, self.losses = np.zeros((2, count, arms), int)
        self.rows = np.arange(count)

    def note(self, rewards: list[np.ndarray], taken: list[np.ndarray]) -> None:
        """Takes down the last step."""
        if rewards:
            self.gains[self.rows, taken[-1]] += rewards[-1].astype(int)
            self.losses[self.rows, taken[-1]] += 1 - rewards[-1].astype(int)


def test_the_best_agent_gets_the_optimum_in_the_world() -> None:
    count, arms, pulls = 20_000, 5, 10
    expected, chosen = best(arms, pulls)
    counts = Counts(count, arms)

    def policy(time: int, rewards: list[np.ndarray], taken: list[np.ndarray], _: object) -> np.ndarray:
        counts.note(rewards, taken)
        actions = np.zeros(count, int)
        for row, (gains, losses) in enumerate(zip(counts.gains.tolist(), counts.losses.tolist(), strict=True)):
            each = list(zip(gains, losses, strict=True))
            actions[row] = each.index(chosen[tuple(sorted(arm for arm in each if any(arm)))])
        return actions

    found = returns(BernoulliBandit(arms, pulls), policy, count).sum(0)
    assert float(found.mean()) == pytest.approx(expected, abs=4 * float(found.std()) / count**0.5)


@pytest.mark.parametrize(
    ("arms", "pulls", "greedy", "thompson", "within"),
    [(5, 10, 6.64, 5.79, 0.1), (10, 10, 6.68, 5.56, 0.1), (5, 100, 76.02, 74.91, 0.8), (10, 100, 79.0, 77.04, 0.8)],
)
def test_rules_of_thumb_get_what_they_are_known_for(
    arms: int, pulls: int, greedy: float, thompson: float, within: float
) -> None:
    count = 8000
    for rule, expected in (("greedy", greedy), ("thompson", thompson)):
        counts = Counts(count, arms)

        def policy(
            time: int, rewards: list[np.ndarray], taken: list[np.ndarray], generator: np.random.Generator,
            counts: Counts = counts, rule: str = rule,
        ) -> np.ndarray:  # fmt: skip
            counts.note(rewards, taken)
            if rule == "thompson":
                return generator.beta(counts.gains + 1, counts.losses + 1).argmax(1)
            mean = (counts.gains + 1) / (counts.gains + counts.losses + 2)
            return (mean + 1e-9 * generator.random(mean.shape)).argmax(1)  # any of equal ones

        found = float(returns(BernoulliBandit(arms, pulls), policy, count).sum(0).mean())
        assert found == pytest.approx(expected, abs=within)


def test_who_knows_the_table_gets_the_optimum_of_an_mdp() -> None:
    """Value iteration on the tables of the tasks; the agent of the paper, which has to learn them, is below it."""
    count, episodes = 1000, 10
    world = TabularMDP(episodes=episodes)
    envs = world.make(count, 0)
    envs.reset()
    mean, moves = envs.tasks["mean"].astype(float), np.diff(envs.tasks["cumulative"], axis=-1, prepend=0)
    value, plan = np.zeros((count, world.states)), []
    for _ in range(world.horizon):
        worth = mean + np.einsum("nsat,nt->nsa", moves, value)
        value = worth.max(-1)
        plan.insert(0, worth.argmax(-1))
    rows, total = np.arange(count), np.zeros(count)
    for time in range(world.trial_length):
        total += envs.step(plan[time % world.horizon][rows, envs.state["place"]])[1]
    left = total - episodes * value[:, 0]
    assert left.mean() == pytest.approx(0, abs=4 * left.std() / count**0.5)
    assert episodes * value[:, 0].mean() > 156.2  # RL² in ten episodes; at random it is 100
