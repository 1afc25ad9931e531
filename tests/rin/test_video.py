"""RINVideoDiffusion: clips with and without context, prediction window after window."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_binding import InputError
from lightning_binding.export import load
from lightning_binding.rin.network import RIN
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.video import RINVideoDiffusion

SIZES: dict[str, Any] = {
    "image_size": 8, "patch_size": 4, "interface_dim": 16, "latents": 6, "latent_dim": 16, "blocks": [1, 1],
    "latent_heads": 2, "cross_heads": 2, "temporal_patch": 2, "sinusoidal_init": False,
}  # fmt: skip


def module(frames: int = 6, context_frames: int = 2, **options: Any) -> RINVideoDiffusion:
    torch.manual_seed(0)
    network = SIZES | {"frames": frames, "context_frames": context_frames} | options
    return RINVideoDiffusion("rin_sprites", network_options=network, sampling=Sampling(steps=3)).eval()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(batch: int = 3, frames: int = 6, seed: int = 0) -> Tensor:
    return torch.randint(256, (batch, frames, 3, 8, 8), generator=generator(seed), dtype=torch.uint8)


def test_the_loss_is_on_the_frames_after_the_context() -> None:
    model, video = module(), clips()
    data, context = model.examples({"video": video})
    assert torch.equal(data, video[:, 2:])
    assert context is not None
    assert torch.equal(context, video[:, :2])
    loss = model.losses({"video": video}, generator())
    process = model.diffusion
    expected = process.losses(
        model.network, process.from_images(data), None, process.from_images(context), generator=generator()
    )
    assert torch.equal(loss, expected.loss)


def test_the_context_changes_the_prediction() -> None:
    model = module()
    other = clips(seed=1)
    other[:, 2:] = clips()[:, 2:]
    assert not torch.allclose(
        model.losses({"video": clips()}, generator()), model.losses({"video": other}, generator())
    )


def test_without_context_whole_clips_are_learnt_and_drawn() -> None:
    model = module(frames=5, context_frames=0)
    data, context = model.examples({"video": clips(frames=7)})
    assert torch.equal(data, clips(frames=7)[:, :5])
    assert context is None
    drawn = model.sample(3, generator=generator(), batch_size=2)
    assert drawn.shape == (3, 5, 3, 8, 8)
    assert drawn.dtype == torch.uint8


def test_clips_of_a_class() -> None:
    model = module(frames=4, context_frames=0, num_classes=3)
    first, second = (model.sample(2, label=torch.tensor([0, each]), generator=generator()) for each in (1, 2))
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])


def test_a_sequence_is_cut_into_clips() -> None:
    video = clips(1, 14)[0]
    assert torch.equal(module().clips(video), video[:12].view(2, 6, 3, 8, 8))


def test_one_window_is_a_sample() -> None:
    model, context = module(), clips()[:, :2]
    assert torch.equal(
        model.predict_video(context, generator=generator()), model.sample(3, context=context, generator=generator())
    )


def test_windows_go_on_from_the_frames_before() -> None:
    model, context = module(), clips()[:, :2]
    noise = generator()
    first = model.sample(3, context=context, generator=noise)
    second = model.sample(3, context=first[:, -2:], generator=noise)
    longer = model.predict_video(context, frames=7, generator=generator())
    assert torch.equal(longer, torch.cat([first, second], 1)[:, :7])


def test_latents_are_carried_from_window_to_window() -> None:
    model, context = module(), clips()[:, :2]
    torch.nn.init.ones_(model.network.previous_norm.weight)  # type: ignore[union-attr, arg-type]
    given: list[Tensor | None] = []

    def note(network: RIN, inputs: tuple[Any, ...]) -> None:
        given.append(inputs[3])

    handle = model.network.register_forward_pre_hook(note)  # type: ignore[arg-type]
    alone = model.predict_video(context, frames=8, generator=generator())
    assert [each is None for each in given] == [True, False, False] * 2
    given.clear()
    carried = model.predict_video(context, frames=8, generator=generator(), carry_latents=True)
    handle.remove()
    assert [each is None for each in given] == [True] + [False] * 5
    assert torch.equal(alone[:, :4], carried[:, :4])
    assert not torch.equal(alone[:, 4:], carried[:, 4:])


def test_longer_context_than_is_looked_at() -> None:
    model, video = module(), clips()
    assert torch.equal(
        model.predict_video(video, frames=3, generator=generator()),
        model.predict_video(video[:, -2:], frames=3, generator=generator()),
    )


def test_fit_validate_predict_and_come_back(tmp_path: Path) -> None:
    model = module()
    train = DataLoader([{"video": clip} for clip in clips(4)], batch_size=2)  # type: ignore[arg-type]
    sequences = DataLoader([{"video": clips(1, 13)[0], "name": "one"}], batch_size=None)  # type: ignore[arg-type, var-annotated]
    trainer = Trainer(
        default_root_dir=tmp_path, max_steps=2, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, train, sequences)
    assert torch.isfinite(trainer.callback_metrics["val/loss"])
    (predicted,) = trainer.predict(model, sequences) or []
    assert predicted.shape == (2, 4, 3, 8, 8)  # type: ignore[union-attr]
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    again = load(tmp_path / "run.ckpt")
    assert isinstance(again, RINVideoDiffusion)
    assert torch.equal(again.predict_video(clips()[:, :2]), model.eval().predict_video(clips()[:, :2]))


def test_bad_input() -> None:
    model = module()
    with pytest.raises(InputError, match="rin_emoji32 is for images"):
        RINVideoDiffusion("rin_emoji32")
    with pytest.raises(InputError, match="clips of 4 frames are too short for the network, which takes 6"):
        model.losses({"video": clips(frames=4)}, generator())
    with pytest.raises(InputError, match=r"frames have shape \(3, 4, 8\), the network takes \(3, 8, 8\)"):
        model.losses({"video": clips()[..., :4, :]}, generator())
    with pytest.raises(InputError, match="context_frames=6 of frames=6 leaves nothing to predict"):
        module(context_frames=6)
    with pytest.raises(InputError, match="predicts from 2 clean frames: give context"):
        model.sample(2)
    with pytest.raises(InputError, match=r"context is torch.uint8 of shape \(3, 6, 3, 8, 8\)"):
        model.sample(3, context=clips())
    with pytest.raises(InputError, match="with at least 2 frames"):
        model.predict_video(clips()[:, :1])
    with pytest.raises(InputError, match="predicts from none"):
        module(context_frames=0).predict_video(clips())
    with pytest.raises(InputError, match="network that predicts from none"):
        module(context_frames=0).sample(3, context=clips())
    with pytest.raises(InputError, match="frames=0 must be 1 or more"):
        model.predict_video(clips(), frames=0)


@pytest.mark.parametrize(("frames", "context"), [(5, 1), (7, 3), (6, 3)])
def test_a_temporal_patch_that_does_not_divide_is_filled_up(frames: int, context: int) -> None:
    model = module(frames=frames, context_frames=context)
    assert model.sample(2, context=clips(2, context)).shape == (2, frames - context, 3, 8, 8)
    assert torch.isfinite(model.losses({"video": clips(2, frames)}, generator())).all()
