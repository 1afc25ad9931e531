"""Which recipes the default run goes through: of a family that is alike, those that differ; with `long`, the others."""

import re
from collections.abc import Iterable
from typing import Any

import pytest

FAMILY = re.compile(r"(rin/noise_scheduling|carml/bandit|carml/mdp)_")
KEPT = ("rin/noise_scheduling_64.yaml", "carml/bandit_n10_k5.yaml")  # which lack options that the first ones have


def chosen(names: Iterable[str]) -> list[Any]:
    """Parameters of a test for names of recipes."""
    parameters, met = [], set()
    for name in names:
        family = FAMILY.match(name)
        again = family is not None and family[1] in met and name not in KEPT
        met |= {family[1]} if family else set()
        parameters.append(pytest.param(name, marks=[pytest.mark.long] if again else []))
    return parameters
