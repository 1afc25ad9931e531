"""Losses of analog bits: the original's formulas, posterior means, and a network that learns a discrete picture."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.rin.bit_objectives import SigmoidBits, SoftmaxBits, widen_readout
from lightning_binding.rin.bits import AnalogBits, BinaryBits, GrayBits, OneHot, PermutedBits
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.network import RIN
from lightning_binding.rin.objectives import X0, Objective, add_noise
from lightning_binding.rin.samplers import ddim
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.schedules import Sigmoid

IMAGES = torch.randint(6, (4, 3, 5, 7), generator=torch.Generator().manual_seed(0))
GAMMA = torch.tensor([0.2, 0.5, 0.8, 0.99])


def noisy(form: AnalogBits) -> tuple[Tensor, Tensor, Tensor]:
    x_0 = form.encode_images(IMAGES)
    eps = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(1))
    return x_0, eps, add_noise(x_0, eps, GAMMA)


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_the_sigmoid_loss_is_the_original_s(scale: float) -> None:
    x_0, eps, _ = noisy(BinaryBits(6, scale))
    logits = 2 * torch.randn(x_0.shape)
    objective = SigmoidBits(scale)
    original = -(torch.sigmoid(logits * x_0 / scale) + 1e-8).log()
    loss = objective.loss(logits, objective.target(x_0, eps, GAMMA))
    assert torch.allclose(loss, original.mean(dim=(1, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_the_softmax_loss_of_one_hot_is_the_original_s(scale: float) -> None:
    form = OneHot(6, scale)
    x_0, eps, _ = noisy(form)
    logits = 2 * torch.randn(x_0.shape)
    share = ((x_0 / scale + 1) / 2).view(4, 3, 6, 5, 7)
    original = -(share * logits.view(4, 3, 6, 5, 7).log_softmax(dim=2)).sum(dim=2)
    objective = SoftmaxBits(form)
    loss = objective.loss(logits, objective.target(x_0, eps, GAMMA))
    assert torch.allclose(loss, original.mean(dim=(1, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("form", [BinaryBits(8), PermutedBits(8), GrayBits(8), BinaryBits(6)])
def test_the_grouped_softmax_is_the_original_s(form: AnalogBits) -> None:
    x_0, eps, x_t = noisy(form)
    objective = SoftmaxBits(form)
    assert objective.prediction_shape(x_0.shape) == (4, 3 * form.classes, 5, 7)
    logits = 2 * torch.randn(objective.prediction_shape(x_0.shape))
    groups = logits.split(form.classes, dim=1)  # one for each colour
    means = [2 * torch.einsum("bdhw,do->bohw", group.softmax(dim=1), form.codes) - 1 for group in groups]
    assert torch.allclose(objective.decode(logits, x_t, GAMMA).x_0, torch.cat(means, dim=1), atol=1e-5)
    target = objective.target(x_0, eps, GAMMA)
    assert torch.equal(target, IMAGES)
    entropy = torch.stack(groups, 1).log_softmax(dim=2).gather(2, IMAGES[:, :, None])[:, :, 0]
    assert torch.allclose(objective.loss(logits, target), -entropy.mean(dim=(1, 2, 3)), atol=1e-5)


@pytest.mark.parametrize("objective", [SigmoidBits(0.5), SoftmaxBits(OneHot(6, 0.5)), SoftmaxBits(BinaryBits(6, 0.5))])
def test_decoded_pairs_make_the_noisy_bits(objective: Objective) -> None:
    form = objective.form if isinstance(objective, SoftmaxBits) else BinaryBits(6, 0.5)
    x_0, _, x_t = noisy(form)
    found = objective.decode(torch.randn(objective.prediction_shape(x_0.shape)), x_t, GAMMA)
    assert torch.allclose(add_noise(found.x_0, found.eps, GAMMA), x_t, atol=1e-5)
    assert found.x_0.abs().max() <= 0.5


def test_where_the_loss_is_least_the_mean_of_the_data_is_decoded() -> None:
    """Of values 0 and 5 with shares 1/4 and 3/4, seen through noise that hides all, the mean of the bits is known."""
    for form, objective in (
        (BinaryBits(6), SigmoidBits()),
        (BinaryBits(6), SoftmaxBits(BinaryBits(6))),
        (OneHot(6), SoftmaxBits(OneHot(6))),
    ):
        values = torch.tensor([0, 5, 5, 5]).view(4, 1, 1, 1)
        x_0, gamma = form.encode_images(values), torch.full((4,), 0.01)
        logits = torch.zeros(objective.prediction_shape(x_0[:1].shape), requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

        def closure(
            x_0: Tensor = x_0,
            gamma: Tensor = gamma,
            logits: Tensor = logits,
            objective: Objective = objective,
            optimizer: torch.optim.LBFGS = optimizer,
        ) -> Tensor:
            optimizer.zero_grad()
            target = objective.target(x_0, x_0, gamma)
            loss = objective.loss(logits.expand(4, -1, -1, -1), target).mean()
            loss.backward()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]
        mean = objective.decode(logits.detach(), x_0[:1], gamma[:1]).x_0
        assert torch.allclose(mean, x_0.mean(dim=0, keepdim=True), atol=1e-2)


def test_the_mean_squared_error_of_the_bits_is_an_objective_too() -> None:
    x_0, eps, _ = noisy(GrayBits(6))
    prediction = torch.randn(x_0.shape)
    loss = X0().loss(prediction, X0().target(x_0, eps, GAMMA))
    assert torch.allclose(loss, (x_0 - prediction).square().mean(dim=(1, 2, 3)))


@pytest.mark.parametrize(
    ("form", "objective"),
    [
        (GrayBits(4), X0),
        (BinaryBits(4), SigmoidBits),
        (OneHot(4), lambda: SoftmaxBits(OneHot(4))),
        (BinaryBits(4), lambda: SoftmaxBits(BinaryBits(4))),
    ],
)
def test_a_rin_learns_two_discrete_pictures(form: AnalogBits, objective: Callable[[], Objective]) -> None:
    """Samples are one of the two pictures that it was trained on, number for number."""
    goal, generator, schedule = objective(), torch.Generator().manual_seed(0), Sigmoid()
    network = RIN(8, 8, 32, 8, 32, [1, 1], 4, 4, in_channels=form.width)
    if isinstance(goal, SoftmaxBits):
        widen_readout(network, form.classes)
    pictures = torch.randint(4, (2, 1, 8, 8), generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    for _ in range(120):
        x_0 = form.encode_images(pictures[torch.randint(2, (16,), generator=generator)])
        gamma = schedule(torch.rand(16, generator=generator))
        eps = torch.randn(x_0.shape, generator=generator)
        prediction = network(add_noise(x_0, eps, gamma), gamma).prediction
        optimizer.zero_grad()
        goal.loss(prediction, goal.target(x_0, eps, gamma)).mean().backward()
        optimizer.step()

    def denoise(x: Tensor, gamma: Tensor, latents: Tensor | None) -> tuple[Tensor, None]:
        return network(x, gamma).prediction, None

    with torch.no_grad():
        noise = torch.randn(16, form.width, 8, 8, generator=generator)
        drawn = form.decode_images(ddim(denoise, noise, steps=20, schedule=schedule, objective=goal))
    exact = (drawn[:, None] == pictures.to(torch.uint8)).flatten(2).float().mean(dim=2).max(dim=1)
    assert exact.values.mean() > 0.99
    assert set(exact.indices.tolist()) == {0, 1}


def test_what_makes_no_sense() -> None:
    with pytest.raises(InputError, match="scale=0 of a bit"):
        SigmoidBits(0)
    with pytest.raises(InputError, match=r"expected \(2, 15, 4, 4\)"):
        ddim(
            lambda x, gamma, latents: (x, None),
            torch.randn(2, 9, 4, 4),
            steps=2,
            schedule=Sigmoid(),
            objective=SoftmaxBits(BinaryBits(5)),
        )


@pytest.mark.parametrize(
    ("form", "objective"),
    [
        (BinaryBits(scale=0.5), X0()),
        (GrayBits(), SigmoidBits()),
        (PermutedBits(), SoftmaxBits(PermutedBits())),
        (OneHot(), SoftmaxBits(OneHot())),
    ],
)
def test_the_module_trains_and_draws_pictures_of_bits(form: AnalogBits, objective: Objective) -> None:
    module = RINDiffusion("rin_tiny", {"dropout": 0.0}, objective=objective, bits=form, sampling=Sampling(steps=2))
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    bits = module.diffusion.from_images(images)
    assert bits.shape == (4, 3 * form.width, 8, 8)
    assert torch.equal(module.diffusion.to_images(bits), images)
    losses = module.losses({"image": images, "label": torch.zeros(4, dtype=torch.int64)}, None)
    losses.mean().backward()
    assert torch.isfinite(losses).all()
    assert module.network.readout.weight.grad.abs().sum() > 0
    drawn = module.sample(2)
    assert (drawn.shape, drawn.dtype) == ((2, 3, 8, 8), torch.uint8)


def test_channels_that_hold_no_whole_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"has 4 channels, and a number .* has 8 bits"):
        RINDiffusion("rin_tiny", {"in_channels": 4}, bits=BinaryBits())
