"""The report of adaptive computation, of images, of video, and of a network without latents."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from lightning_binding import InputError
from lightning_binding.callbacks import ComputationReport
from lightning_binding.callbacks.attention_pictures import colours, heat, spread_tokens
from lightning_binding.data import EmojiDataModule, MovingSpritesDataModule
from lightning_binding.module import BindingModule
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.sampling import Sampling
from lightning_binding.rin.video import RINVideoDiffusion

SIZES: dict[str, Any] = {
    "image_size": 16, "interface_dim": 16, "latents": 6, "latent_dim": 16, "latent_heads": 2, "cross_heads": 2,
}  # fmt: skip


def report(module: BindingModule, data: Any, folder: Path) -> dict[str, float]:
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        callbacks=[ComputationReport(num=4, steps=3, shown=2)],
    )
    trainer.validate(module, data, verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def test_of_images(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = RINDiffusion("rin_tiny", network_options={"num_classes": 9}, sampling=Sampling(guidance=1.0))
    values = report(module, EmojiDataModule(image_size=8, batch_size=8), tmp_path)
    for name in ("gradient", "bytes"):
        blocks = [values[f"val/read_{name}_block{block}"] for block in range(2)]
        assert all(-1 <= each <= 1 for each in blocks)
        assert values[f"val/read_{name}"] == pytest.approx(sum(blocks) / 2, abs=1e-6)
    written = json.loads((tmp_path / "computation" / "step-00000000.json").read_text())
    assert len(written["read_gradient_by_step_and_block"]) == 3
    assert written["val/read_gradient"] == pytest.approx(values["val/read_gradient"])
    with Image.open(tmp_path / "computation" / "step-00000000.gif") as animation:
        assert animation.n_frames == 3  # type: ignore[attr-defined]
        assert animation.size == (2 * (4 * 10 + 2), 2 * (2 * 10 + 2))  # drawn, two blocks, writing; two examples
    assert (tmp_path / "computation" / "step-00000000.png").exists()


def test_without_pyav_the_animation_is_a_gif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    report(RINDiffusion("rin_tiny", network_options={"num_classes": 9}), EmojiDataModule(image_size=8), tmp_path)
    assert {path.suffix for path in (tmp_path / "computation").iterdir()} == {".json", ".png", ".gif"}


def test_of_video(tmp_path: Path) -> None:
    torch.manual_seed(0)
    options = SIZES | {"frames": 6, "context_frames": 2, "blocks": [1, 1]}
    module = RINVideoDiffusion("rin_sprites", network_options=options)
    data = MovingSpritesDataModule(frame_size=16, frames=6, eval_frames=6, eval_sequences=4, camera=0.0)
    values = report(module, data, tmp_path)
    for key in ("read_moving", "read_static", "read_given"):
        assert values[f"val/{key}"] > 0
    assert values["val/copy_psnr_static"] > 36  # what differs by less than 8 grey levels counts as still
    assert values["val/copy_psnr_moving"] < values["val/copy_psnr_static"]
    written = json.loads((tmp_path / "computation" / "step-00000000.json").read_text())
    share = written["share_of_moving_tokens"]
    mean = share * values["val/read_moving"] + (1 - share) * values["val/read_static"]
    assert mean == pytest.approx(1, abs=1e-3)  # a noisy token is read like a noisy token, in the mean
    with Image.open(tmp_path / "computation" / "step-00000000.gif") as animation:
        assert animation.n_frames == 4  # type: ignore[attr-defined]


def test_of_a_network_without_latents(tmp_path: Path) -> None:
    module = RINDiffusion(
        "dit_emoji32", network_options={"image_size": 8, "width": 16, "depth": 1, "heads": 2}, self_conditioning=0.0
    )
    values = report(module, EmojiDataModule(image_size=8, batch_size=8), tmp_path)
    assert {key for key in values if "read" in key} == set()
    assert values["val/error_complex_bytes"] > 0


def test_a_module_that_is_none_of_diffusion(tmp_path: Path) -> None:
    from lightning_binding.rin.joint_diffusion import RINJoint

    options = {key: value for key, value in SIZES.items() if key != "image_size"} | {"blocks": [1]}
    with pytest.raises(InputError, match="not for a RINJoint"):
        report(RINJoint(network_options=options), EmojiDataModule(batch_size=8, eval_batch_size=8), tmp_path)
    with pytest.raises(InputError, match="num=0"):
        ComputationReport(num=0)


def test_tokens_spread_over_their_pixels() -> None:
    values = torch.arange(8.0)
    maps = spread_tokens(values, (2, 2, 2), 3, 4)
    assert maps.shape == (3, 4, 4)
    assert maps[0].unique().tolist() == [0, 1, 2, 3]
    assert torch.equal(maps[0], maps[1])
    assert maps[2, 0].tolist() == [4, 4, 5, 5]
    assert heat(maps).shape == (3, 3, 4, 4)
    assert len(colours(maps[:1].round()).flatten(-2).unique(dim=-1)[0].T) == 4
