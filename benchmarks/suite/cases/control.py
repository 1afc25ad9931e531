"""Control: agent steps with learning, and the E-step."""

import logging
from functools import partial

import carml_bandit
import carml_estep

from suite.side import Side

PULLS, COUNTED = 100, 5  # rollouts of 100 steps that count in a call, after those that warm up
TRAJECTORIES, WIDTH = 1024, 32


def bandit(run: str, count: int, rollouts: int) -> Side:
    """A training of its own in each call, of which the first rollouts do not count."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    steps = rollouts * count * carml_bandit.STEPS
    return Side(lambda: steps / carml_bandit.WORK[run](PULLS, count, rollouts)["steps"], steps, warm=0)


def estep(fit: str) -> Side:
    """Twenty iterations for 16 components."""
    data = carml_estep.walks(TRAJECTORIES, WIDTH)
    return Side(lambda: getattr(carml_estep, fit)(data) is None or None, TRAJECTORIES, warm=0)


def sides(count: int) -> dict[str, partial[Side]]:
    """Ours, the peer, and acting without learning, which is the limit."""
    runs = {"ours": ("here", COUNTED), "peer": ("RecurrentPPO", 1), "rollout": ("rollout alone", COUNTED)}
    return {name: partial(bandit, run, count, rollouts) for name, (run, rollouts) in runs.items()}


SIDES = {
    "rl2_8": sides(8),
    "rl2_64": sides(64),
    "e_step": {"ours": partial(estep, "ours"), "peer": partial(estep, "theirs")},
}
