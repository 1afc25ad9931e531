import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_binding.errors import InputError
from lightning_binding.rin.schedules import (
    Cosine,
    Linear,
    Rectified,
    Scaled,
    Schedule,
    ShiftedCosine,
    Sigmoid,
    cosine,
    linear,
    rectified,
    sigmoid,
)

QUARTERS = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
# the original's values at t = 0, 1/4, 1/2, 3/4, 1
TABLE = [
    (ShiftedCosine(), [0.99999990, 0.853401, 0.499882, 0.146433, 6.165e-9]),
    (Cosine(0, 1, 1), [1, 0.853553, 0.5, 0.146447, 1e-9]),
    (Sigmoid(-3, 3, 0.9), [1, 0.866370, 0.5, 0.133630, 1e-9]),
    (Sigmoid(-3, 3, 1.0), [1, 0.850854, 0.5, 0.149146, 1e-9]),
    (Sigmoid(-3, 3, 1.1), [1, 0.837823, 0.5, 0.162177, 1e-9]),
    (Linear(), [1, 0.75, 0.5, 0.25, 1e-9]),
    (Rectified(), [1, 0.9, 0.5, 0.1, 1e-9]),
]
ALL = [row[0] for row in TABLE] + [
    Cosine(0.2, 1, 1.5),
    Cosine(0, 1, 0.7),
    Cosine(0, 0.5, 0.7),
    Cosine(1, 0, 2),
    Sigmoid(0, 3, 0.3),
    Scaled(Sigmoid(), 0.5),
    cosine.scaled(3.0),
]


@pytest.mark.parametrize(("schedule", "values"), TABLE, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_are_the_originals(schedule: Schedule, values: list[float], dtype: torch.dtype) -> None:
    gamma = schedule(QUARTERS.to(dtype))
    assert gamma.dtype == dtype
    torch.testing.assert_close(gamma[:4].double(), torch.tensor(values[:4], dtype=torch.float64), rtol=0, atol=1e-6)
    assert gamma[4].item() == pytest.approx(values[4], rel=2e-4 if dtype == torch.float64 else 5e-3)


def test_shifted_cosine_in_float32_ends_as_in_the_original() -> None:
    assert cosine(torch.ones(())).item() == pytest.approx(6.146e-9, rel=1e-3)


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_falls_from_one_to_almost_zero(schedule: Schedule) -> None:
    for dtype in (torch.float32, torch.float64):
        gamma = schedule(torch.linspace(0, 1, 2001, dtype=dtype))
        assert torch.isfinite(gamma).all()
        assert (gamma.diff() <= 1e-7).all()  # float32 may wobble by a unit in the last place
        assert gamma.max() <= 1
        assert gamma.min() > 0
    ends = schedule(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert ends[0] >= 1 - 1e-7
    assert ends[1] <= 1e-7 if isinstance(schedule, Scaled) else ends[1] <= 1e-8


@settings(deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.1, 8.0), st.floats(0.2, 5.0))
def test_symmetric_sigmoid_is_symmetric_about_one_half(t: float, end: float, temperature: float) -> None:
    schedule = Sigmoid(-end, end, temperature)
    left, right = schedule(torch.tensor([t, 1 - t], dtype=torch.float64))
    assert (left + right).item() == pytest.approx(1, abs=2e-9)  # 1e-9 of it is the floor


@settings(deadline=None)
@given(st.floats(0.0, 1.0), st.floats(0.0, 0.4), st.floats(0.6, 1.0), st.floats(0.3, 3.0))
def test_general_cosine_is_its_formula(t: float, start: float, end: float, temperature: float) -> None:
    def curve(position: float) -> float:
        return float(math.cos(position * math.pi / 2) ** (2 * temperature))

    expected = (curve(t * (end - start) + start) - curve(end)) / (curve(start) - curve(end))
    gamma = Cosine(start, end, temperature)(torch.tensor(t, dtype=torch.float64)).item()
    assert gamma == pytest.approx(max(expected, 1e-9), abs=1e-12)


@settings(deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0.1, 10.0))
def test_scaling_shifts_the_log_signal_to_noise_ratio(t: float, scale: float) -> None:
    time = torch.tensor(t, dtype=torch.float64)
    shift = torch.logit(sigmoid.scaled(scale)(time)) - torch.logit(sigmoid(time))
    assert shift.item() == pytest.approx(2 * math.log(scale), abs=1e-9)


def test_scaling_by_one_changes_nothing() -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    torch.testing.assert_close(cosine.scaled(1.0)(t), cosine(t), rtol=1e-12, atol=0)


def test_rectified_has_the_signal_to_noise_ratio_of_the_straight_path() -> None:
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    gamma = rectified(t)
    torch.testing.assert_close(gamma / (1 - gamma), ((1 - t) / t) ** 2)


def test_instances_are_the_defaults_and_print_as_their_constructor() -> None:
    assert repr(sigmoid) == "Sigmoid(start=-3.0, end=3.0, temperature=0.9)"
    assert repr(cosine) == "ShiftedCosine()"
    assert repr(linear.scaled(0.5)) == "Scaled(schedule=Linear(), scale=0.5)"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64])
def test_narrow_types_are_computed_in_float32(dtype: torch.dtype) -> None:
    t = torch.tensor([[0, 1]], dtype=dtype)
    for schedule in ALL:
        gamma = schedule(t)
        assert gamma.dtype == torch.float32
        torch.testing.assert_close(gamma, schedule(t.float()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sigmoid(2, 2), "flat between start=2 and end=2"),
        (lambda: Sigmoid(50, 60), "flat"),
        (lambda: Sigmoid(temperature=0), "temperature=0"),
        (lambda: Sigmoid(temperature=float("nan")), "temperature=nan"),
        (lambda: Cosine(0.3, 0.3), "flat"),
        (lambda: Cosine(temperature=-1), "temperature=-1"),
        (lambda: Cosine(0, 1.5), r"must lie in \[0, 1\]"),
        (lambda: cosine.scaled(0), "scale=0"),
    ],
)
def test_parameters_that_make_no_curve_are_refused(make: Callable[[], Schedule], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
