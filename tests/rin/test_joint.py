"""The joint model: one interface for several modalities, a noise level for each."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.rin.bits import BinaryBits
from lightning_binding.rin.joint import JointRIN
from lightning_binding.rin.joint_diffusion import RINJoint
from lightning_binding.rin.modalities import Category, Masks, Pictures
from lightning_binding.rin.network import RIN
from lightning_binding.rin.sampling import Sampling

SIZES: dict[str, Any] = {
    "interface_dim": 16, "latents": 6, "latent_dim": 16, "blocks": [1, 1], "latent_heads": 2, "cross_heads": 2,
}  # fmt: skip


def network(*modalities: tuple[int, int, int]) -> JointRIN:
    torch.manual_seed(0)
    return JointRIN(modalities or ((3, 8, 4), (5, 1, 1)), **SIZES)


def module(**options: Any) -> RINJoint:
    torch.manual_seed(0)
    parts = [Pictures(size=8), Category(5)]
    return RINJoint(parts, SIZES, sampling=Sampling(steps=2), **options)


def batch(count: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return {"image": images, "label": torch.arange(count) % 5}


def inputs(count: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(count, 3, 8, 8, generator=generator), torch.randn(count, 5, 1, 1, generator=generator)]


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_one_modality_alone_is_a_rin() -> None:
    single = network((3, 8, 4))
    rin = RIN(image_size=8, patch_size=4, **SIZES)
    tokens = single.modalities[0]
    weights = {name: value for name, value in single.state_dict().items() if not name.startswith("modalities.")}
    weights |= {f"time_token.{name}": value for name, value in tokens.time_token.state_dict().items()}  # type: ignore[union-attr, operator]
    weights |= {f"stem.{name}": value for name, value in tokens.stem.state_dict().items()}  # type: ignore[union-attr, operator]
    weights |= {f"readout.{name}": value for name, value in tokens.readout.state_dict().items()}  # type: ignore[union-attr, operator]
    rin.load_state_dict(weights | {"interface_position": tokens.position})  # type: ignore[dict-item]
    x, gamma = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.7])
    joint, alone = single([x], gamma[:, None]), rin(x, gamma)
    assert joint.predictions is not None
    assert torch.equal(joint.predictions[0], alone.prediction)
    assert torch.equal(joint.latents, alone.latents)


@pytest.mark.parametrize("changed", [0, 1])
def test_every_modality_depends_on_every_input_and_level(changed: int) -> None:
    model, x, gamma = network(), inputs(), torch.full((2, 2), 0.5)
    before = model(x, gamma).predictions
    other = [each + (index == changed) for index, each in enumerate(x)]
    levels = gamma.clone()
    levels[:, changed] = 0.9
    for after in (model(other, gamma).predictions, model(x, levels).predictions):
        for one, two in zip(before, after, strict=True):
            assert not torch.allclose(one, two)


def test_the_same_core_as_a_rin() -> None:
    from lightning_binding.rin.core import core

    names = {name for name in core(RIN(image_size=8, **SIZES).state_dict()) if not name.startswith("time_token.")}
    assert names == set(core(network().state_dict()))


def test_what_belongs_to_one_place_may_share_its_tokens() -> None:
    torch.manual_seed(0)
    shapes = ((3, 8, 4), (5, 1, 1), (2, 4, 2))
    model = JointRIN(shapes, **SIZES, share_tokens=True)
    assert model.places == [0, 1, 0]
    x = [torch.randn(2, channels, size, size) for channels, size, _ in shapes]
    output = model(x, torch.full((2, 3), 0.5))
    assert output.interface.shape[1] == 4 + 1
    assert [each.shape for each in output.predictions] == [each.shape for each in x]
    # Without blocks a mask depends on the frame at its own place alone.
    model.blocks = torch.nn.ModuleList()
    before = model(x, torch.full((2, 3), 0.5)).predictions[2]
    x[0][:, :, :4, :4] += 1
    changed = (model(x, torch.full((2, 3), 0.5)).predictions[2] - before).abs().amax((0, 1)) > 0
    assert changed[:2, :2].all()
    assert not changed[2:].any()
    assert not changed[:, 2:].any()


def test_losses_without_noise_are_left_out() -> None:
    clean = module(ends=1.0, schedule=None)
    torch.manual_seed(0)
    losses = clean.losses(batch(4000), generator())
    assert torch.isfinite(losses).all()
    # A modality is clean or noise; what is noise has the target eps - x_0, of mean square 1 + x_0^2 for zero output.
    torch.nn.init.zeros_(clean.network.modalities[1].readout.weight)  # type: ignore[union-attr, arg-type]
    torch.nn.init.zeros_(clean.network.modalities[1].readout.bias)  # type: ignore[union-attr, arg-type]
    assert abs(clean.losses(batch(4000), generator())[1].item() - 2) < 0.05


def test_what_is_given_stays_and_the_rest_is_drawn() -> None:
    model, data = module(), batch()
    joint = model.sample(3, generator=generator())
    assert joint["image"].shape == (3, 3, 8, 8)
    assert joint["image"].dtype == torch.uint8
    assert joint["label"].shape == (3,)
    labels = model.sample(6, given={"image": data["image"]}, generator=generator())
    assert list(labels) == ["label"]
    assert list(model.sample(2, wanted=["image"])) == ["image"]


def test_the_given_modality_is_what_the_network_sees_clean() -> None:
    model, data, seen = module(), batch(2), []

    def note(module: object, arguments: tuple[Any, ...]) -> None:
        seen.append((arguments[0], arguments[1]))

    model.network.register_forward_pre_hook(note)
    model.sample(2, given={"image": data["image"]})
    for x, gamma in seen:
        assert torch.equal(x[0], model.modalities[0].encode(data["image"]))
        assert (gamma[:, 0] == 1).all()
        assert (gamma[:, 1] < 1).all()
    seen.clear()
    model.sample(2, wanted=["image"])
    assert all((gamma[:, 1] == 0).all() for _, gamma in seen)
    assert torch.equal(seen[0][0][1], seen[1][0][1])  # noise that stays as it is


def test_one_step_gives_the_posterior_mean() -> None:
    """With the label's bits noise, the optimal x_0 is their mean: here the network is told to answer with it."""
    model = module()
    readout = model.network.modalities[1].readout
    torch.nn.init.zeros_(readout.weight)  # type: ignore[union-attr, arg-type]
    with torch.no_grad():
        readout.bias.copy_(torch.tensor([0.3, 0.1, -0.9, 0.2, 0.3]))  # type: ignore[union-attr, operator]
    noise = {}

    def note(module: object, arguments: tuple[Any, ...]) -> None:
        noise["label"] = arguments[0][1].flatten(1)

    model.network.register_forward_pre_hook(note)
    found = model.sample(6, given={"image": batch()["image"]}, steps=1)["label"]
    expected = (noise["label"] - torch.tensor([0.3, 0.1, -0.9, 0.2, 0.3])).clamp(-1, 1)  # Flow: eps - u
    assert torch.equal(found, expected.argmax(1))


def test_masks_and_pictures_of_clips() -> None:
    parts = [Pictures(key="video", size=8), Masks(3, size=8)]
    data = {
        "video": torch.randint(256, (2, 3, 3, 8, 8), dtype=torch.uint8),
        "mask": torch.randint(5, (2, 3, 8, 8), dtype=torch.uint8),
    }
    model = RINJoint([*parts], SIZES)
    assert model.losses(data, generator()).shape == (2,)
    found = parts[1].decode(parts[1].encode(parts[1].of(data)))
    assert torch.equal(found, data["mask"].flatten(0, 1).clamp(max=2))
    assert torch.equal(parts[0].decode(parts[0].encode(parts[0].of(data))), data["video"].flatten(0, 1))


@pytest.mark.parametrize("code", [None, BinaryBits(5)])
def test_categories_survive_their_bits(code: BinaryBits | None) -> None:
    category = Category(5, code=code)
    assert category.encode(torch.arange(5)).shape == (5, 5 if code is None else 3, 1, 1)
    assert torch.equal(category.decode(category.encode(torch.arange(5))), torch.arange(5))
    assert category.agreement(torch.tensor([1, 2]), torch.tensor([1, 3])).tolist() == [1, 0]


def test_agreement_of_masks() -> None:
    masks = Masks(size=2, patch=2)
    found = torch.tensor([[[1, 1], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]])
    truth = torch.tensor([[[1, 0], [1, 0]], [[0, 0], [0, 0]], [[1, 0], [0, 0]]])
    assert masks.agreement(found, truth).tolist() == pytest.approx([1 / 3, 1, 0])


def test_a_category_is_learnt_together_with_its_picture() -> None:
    """Five plain colours, each a class: both conditionals are found within seconds."""
    torch.manual_seed(0)
    model = RINJoint([Pictures(size=8), Category(5)], SIZES | {"latent_dim": 32}, sampling=Sampling(steps=10))
    label = torch.arange(40) % 5
    colours = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)
    data = {"image": colours[label][:, :, None, None].expand(-1, -1, 8, 8), "label": label}
    optimizer, draws = torch.optim.Adam(model.parameters(), lr=3e-3), generator()
    for _ in range(250):
        loss = model.losses(data, draws).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = model.sample(40, given={"image": data["image"]}, steps=1)["label"]
    assert (found == label).float().mean() > 0.9
    drawn = model.sample(40, given={"label": label})["image"].float().mean((2, 3))
    nearest = torch.cdist(drawn, colours.float()).argmin(1)
    assert (nearest == label).float().mean() > 0.7


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least one modality"):
        JointRIN([], **SIZES)
    with pytest.raises(InputError, match="a patch must divide the size"):
        network((3, 8, 3))
    with pytest.raises(InputError, match=r"modalities of shape \[\(5, 1, 1\), \(3, 8, 8\)\]"):
        network()(inputs()[::-1], torch.zeros(2, 2))
    with pytest.raises(InputError, match=r"gamma has shape \(2,\), expected \(2, 2\)"):
        network()(inputs(), torch.zeros(2))
    with pytest.raises(InputError, match="each with a key of its own"):
        RINJoint([Pictures(), Pictures()], SIZES)
    with pytest.raises(InputError, match="expected one for each modality"):
        module(weights=[1.0])
    with pytest.raises(InputError, match="ends=2"):
        module(ends=2.0)
    with pytest.raises(InputError, match="the batches have no 'label', but 'image'"):
        module().losses({"image": batch()["image"]}, None)
    with pytest.raises(InputError, match="expected distinct ones of"):
        module().sample(2, wanted=["mask"])
    with pytest.raises(InputError, match="expected distinct ones of"):
        module().sample(2, wanted=["image"], given={"image": batch(2)["image"]})
