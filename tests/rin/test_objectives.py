import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_binding.errors import InputError
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import X0, Epsilon, Flow, Objective, V, add_noise, noise_within
from lightning_binding.rin.schedules import linear, rectified

OBJECTIVES = [Epsilon(), X0(), V(), Flow()]
numbers = st.floats(-3, 3, width=32)


def tensor(value: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor([value], dtype=dtype)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@settings(deadline=None)
@given(x_0=numbers, eps=numbers, gamma=st.floats(1e-4, 1 - 1e-4))
def test_decoding_the_target_gives_back_data_and_noise(
    objective: Objective, x_0: float, eps: float, gamma: float
) -> None:
    data, noise, level = tensor(x_0), tensor(eps), tensor(gamma)
    decoded = objective.decode(objective.target(data, noise, level), add_noise(data, noise, level), level)
    torch.testing.assert_close(decoded.x_0, data, rtol=0, atol=1e-10)
    torch.testing.assert_close(decoded.eps, noise, rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
@settings(deadline=None)
@given(prediction=numbers, x_t=numbers, gamma=st.floats(1e-4, 1 - 1e-4))
def test_any_prediction_decodes_to_a_pair_that_makes_x_t(
    objective: Objective, prediction: float, x_t: float, gamma: float
) -> None:
    level, x = tensor(gamma), tensor(x_t)
    x_0, eps = objective.decode(tensor(prediction), x, level)
    torch.testing.assert_close(add_noise(x_0, eps, level), x, rtol=0, atol=1e-10)
    torch.testing.assert_close(noise_within(x, x_0, level), eps, rtol=1e-8, atol=1e-8)
    # and the pair stands for the prediction
    torch.testing.assert_close(objective.target(x_0, eps, level), tensor(prediction), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_known_triple_in_float32(objective: Objective) -> None:
    data, noise, gamma = (tensor(value, torch.float32) for value in (0.7, -1.1, 0.3))
    decoded = objective.decode(objective.target(data, noise, gamma), add_noise(data, noise, gamma), gamma)
    assert decoded.x_0.item() == pytest.approx(0.7, abs=1e-6)
    assert decoded.eps.item() == pytest.approx(-1.1, abs=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_decoding_is_finite_at_both_ends(objective: Objective) -> None:
    gamma = torch.tensor([0.0, 1e-9, 1.0])
    prediction, x_t = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    for part in objective.decode(prediction, x_t, gamma):
        assert torch.isfinite(part).all()


def test_ends_of_v_and_flow() -> None:
    x_t, prediction, gamma = tensor(0.4), tensor(0.9), tensor(1.0)
    assert V().decode(prediction, x_t, gamma).x_0.item() == pytest.approx(0.4)  # no noise: x_t is the data
    assert V().decode(prediction, x_t, gamma).eps.item() == pytest.approx(0.9)  # v is the noise
    assert Flow().decode(prediction, x_t, 0 * gamma).eps.item() == pytest.approx(0.4)  # no signal: x_t is the noise
    assert Flow().decode(prediction, x_t, 0 * gamma).x_0.item() == pytest.approx(0.4 - 0.9)


def test_v_is_the_derivative_along_the_arc() -> None:
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 1, 5, generator=generator, dtype=torch.float64)
    angle = torch.tensor([0.8], dtype=torch.float64)
    derivative = torch.autograd.functional.jvp(  # type: ignore[no-untyped-call]
        lambda phi: add_noise(data, noise, torch.cos(phi) ** 2), angle, torch.ones_like(angle)
    )[1]
    torch.testing.assert_close(V().target(data, noise, torch.cos(angle) ** 2), derivative)


@settings(deadline=None)
@given(t=st.floats(0.01, 0.99))
def test_flow_with_the_rectified_schedule_is_the_straight_line(t: float) -> None:
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 1, 5, generator=generator, dtype=torch.float64)
    time = tensor(t)
    line = (1 - time) * data + time * noise
    deviation = ((1 - time) ** 2 + time**2).sqrt()
    arc = add_noise(data, noise, rectified(time))
    torch.testing.assert_close(arc * deviation, line)
    # the velocity brings the line's point to the data in the time that is left
    velocity = Flow().target(data, noise, rectified(time))
    torch.testing.assert_close(Flow().decode(velocity, arc, rectified(time)).x_0, line - time * velocity)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_one_gamma_for_each_example_of_a_video(objective: Objective) -> None:
    data, noise = torch.randn(2, 3, 2, 4, 5, 5, dtype=torch.float64)
    gamma = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    together = objective.target(data, noise, gamma)
    decoded = objective.decode(together, add_noise(data, noise, gamma), gamma)
    for i in range(3):
        alone = slice(i, i + 1)
        torch.testing.assert_close(objective.target(data[alone], noise[alone], gamma[alone]), together[alone])
    torch.testing.assert_close(decoded.x_0, data)


def test_half_precision_predictions_decode_in_float32() -> None:
    gamma = torch.tensor([0.999999])
    x_t, prediction = torch.randn(1, 8), torch.randn(1, 8)
    for objective in OBJECTIVES:
        decoded = objective.decode(prediction.bfloat16(), x_t, gamma)
        reference = objective.decode(prediction.bfloat16().float(), x_t, gamma)
        torch.testing.assert_close(decoded.x_0.float(), reference.x_0, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("scale", "gamma", "variance"), [(0.5, 0.6, 0.55), (1.0, 0.3, 1.0), (0.1, 0.9, 0.109)])
def test_variance_of_scaled_data(scale: float, gamma: float, variance: float) -> None:
    assert (scale**2 - 1) * gamma + 1 == pytest.approx(variance)
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 4, 50_000, generator=generator)
    x_t = add_noise(scale * data, noise, torch.full((4,), gamma))
    assert x_t.var().item() == pytest.approx(variance, rel=0.02)
    shown = Diffusion(linear, Epsilon(), input_scale=scale, normalize_input=True).network_input(x_t)
    torch.testing.assert_close(shown.std(dim=1, correction=0), torch.ones(4))


def test_a_gamma_of_another_shape_is_refused() -> None:
    x = torch.zeros(3, 2)
    with pytest.raises(InputError, match=r"gamma has shape \(2,\), expected \(3,\)"):
        add_noise(x, x, torch.zeros(2))
    with pytest.raises(InputError, match="one noise level for each example"):
        V().decode(x, x, torch.zeros(()))
