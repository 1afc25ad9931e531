"""Adaptation at test time: what is kept of a video, what is renewed, what is learnt, what stays as it was."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lightning_binding.crw.adaptation import Adaptation, windows
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.crw.patches import PatchGrid
from lightning_binding.crw.propagation import propagate_frames
from lightning_binding.crw.segment import segment
from lightning_binding.crw.settings import PropagationSettings
from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.errors import InputError


@given(count=st.integers(0, 12), reach=st.integers(1, 5))
def test_windows_are_slices(count: int, reach: int) -> None:
    frames = [torch.tensor(index) for index in range(count)]
    found = [(int(frame), [int(each) for each in window]) for frame, window in windows(frames, reach)]
    assert found == [(time, list(range(max(0, time - reach), min(count, time + reach + 1)))) for time in range(count)]


class Counting(nn.Module):
    """A network with one weight, whose features of a frame are the frame's number times the weight's angle."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.losses = 0

    def clip_loss(self, video: Tensor, generator: torch.Generator) -> Tensor:
        self.losses += 1
        self.lengths = video.shape[1]
        return -self.weight  # every step raises it

    def adapted(self) -> nn.Module:
        return self

    def encode(self, frames: Tensor) -> Tensor:
        angle = frames[:, :1, :1, :1].float() + self.weight.detach()
        return torch.cat([angle.cos(), angle.sin()], 1)


def stream(network: Counting, adaptation: Adaptation, length: int, context: int) -> tuple[list[Any], list[Any]]:
    """What `propagate_frames` is given: the features of each frame, and the renewed ones of each time."""
    video = torch.arange(length, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)
    adapter = adaptation.on(network, context)
    seen, renewed = [], []
    for time, frame in enumerate(adapter.watch(video)):
        seen.append(network.encode(frame[None]))
        if time:
            frames = adapter.renew([0, *range(max(1, time - context), time)])
            renewed.append(None if frames is None else network.encode(torch.stack(frames)))
    return seen, renewed


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("reset", [False, True])
def test_earlier_frames_are_encoded_by_the_adapted_network(every: int, reset: bool) -> None:
    network = Counting()
    adaptation = Adaptation(steps=2, every=every, window=3, clip_length=3, learning_rate=0.1, reset=reset)
    seen, renewed = stream(network, adaptation, length=8, context=2)
    for time, frames in enumerate(renewed, 1):
        due = (time - 1) % every == 0
        assert (frames is not None) == due
        weight = 0.2 if reset else 0.2 * ((time - 1) // every + 1)  # Adam on a constant gradient moves by its rate
        angle = torch.tensor(time + weight)
        torch.testing.assert_close(seen[time].flatten(), torch.stack([angle.cos(), angle.sin()]), atol=1e-5, rtol=0)
        if frames is not None:
            numbers = torch.tensor([0, *range(max(1, time - 2), time)])
            torch.testing.assert_close(frames[:, 0, 0, 0], (numbers + weight).cos(), atol=1e-5, rtol=0)
    assert network.losses == 2 * len([frames for frames in renewed if frames is not None])
    assert float(network.weight) == 0  # the weights came back
    assert adaptation.frames == 8
    assert adaptation.seconds > 0


def test_weights_come_back_when_the_video_is_left_early() -> None:
    network = Counting()
    frames = Adaptation(steps=1, every=1, clip_length=2).on(network, 2).watch(torch.zeros(6, 3, 4, 4).byte())
    for _ in range(3):
        next(frames)
    assert float(network.weight) != 0
    frames.close()  # type: ignore[attr-defined]
    assert float(network.weight) == 0


def test_renewed_features_replace_the_old_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    old, new = torch.randn(2, 5, 6, 3, 3, generator=generator)
    labels = torch.rand(3, 3, 2, generator=generator)
    settings = PropagationSettings(context=2, top_k=4, temperature=0.2, radius=3, pad_with_first_frame=False)

    def changed(times: list[int]) -> list[Tensor] | None:
        return [new[time] for time in times] if times[-1] == 1 else None  # after the second of the frames

    found = list(propagate_frames([old[0], old[1], *new[2:]], labels, settings, renew=changed))
    before = list(propagate_frames(old, labels, settings))
    torch.testing.assert_close(found[1], before[1])
    # From there on as if the first two frames had always had the new features, with the labels they had.
    after = list(propagate_frames(new, labels, settings, amend=lambda time, label: found[1] if time == 1 else label))
    torch.testing.assert_close(torch.stack(found[2:]), torch.stack(after[2:]))
    assert not torch.allclose(found[3], before[3])


@pytest.fixture(scope="module")
def sequence() -> dict[str, Any]:
    """A short video of sprites with masks."""
    data = MovingSpritesDataModule(frame_size=32, eval_sequences=1, eval_frames=9)
    return dict(data.eval_set()[0])


def walker(**options: Any) -> ContrastiveRandomWalk:
    nodes = PatchGrid(patch_size=12, grid_stride=10, frame_size=32)
    return ContrastiveRandomWalk(
        "emoji_resnet", layer="layer2", stride=4, dim=16, nodes=nodes, edge_dropout=0.0, **options
    )


def test_the_loss_on_the_video_falls_and_masks_change(sequence: dict[str, Any]) -> None:
    module = walker(adaptation=Adaptation(steps=15, every=8, window=8, clip_length=4, batch_size=2, learning_rate=3e-3))
    trained = {name: value.clone() for name, value in module.state_dict().items()}
    adapter = module.adaptation.on(module, 2)  # type: ignore[union-attr]

    def loss() -> float:
        with torch.no_grad():
            return float(module.clip_loss(sequence["video"][None, :6], torch.Generator().manual_seed(1)))

    losses = [loss(), *[loss() for _ in adapter.watch(sequence["video"])][1:]]
    assert losses[1] < losses[0] - 0.1
    assert loss() == pytest.approx(losses[0], abs=1e-6)
    assert all(torch.equal(trained[name], value) for name, value in module.state_dict().items())
    with torch.inference_mode():  # as the Trainer evaluates
        adapted = module.predict_step(sequence, 0)["mask"]
        module.adaptation = None
        plain = module.predict_step(sequence, 0)["mask"]
    assert adapted.shape == plain.shape == sequence["mask"].shape
    assert torch.equal(adapted[0], plain[0])
    assert not torch.equal(adapted, plain)


def test_a_vanishing_rate_is_no_adaptation(sequence: dict[str, Any]) -> None:
    module = walker(adaptation=Adaptation(steps=1, every=2, learning_rate=1e-12))
    plain = torch.stack(list(segment(sequence["video"], sequence["mask"][0], module.encode, module.propagation, 1)))
    assert torch.equal(module.predict_step(sequence, 0)["mask"], plain)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"every": 0}, {"clip_length": 1}, {"learning_rate": 0.0}])
def test_numbers_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"adaptation: {next(iter(wrong))}=.* must be"):
        Adaptation(**wrong)


def test_a_frozen_network_is_refused(sequence: dict[str, Any]) -> None:
    module = walker(adaptation=Adaptation())
    module.requires_grad_(False)
    with pytest.raises(InputError, match="every weight of the network is frozen"):
        module.predict_step(sequence, 0)
