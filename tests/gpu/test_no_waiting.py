"""A training step never makes the host wait for the GPU: it gives its work ahead, and the GPU is never idle for it."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from lightning_binding import InputError
from lightning_binding.crw.module import ContrastiveRandomWalk
from lightning_binding.metrics import FrechetDistance
from lightning_binding.module import BindingModule
from lightning_binding.rin.joint_diffusion import RINJoint
from lightning_binding.rin.module import RINDiffusion
from lightning_binding.rin.video import RINVideoDiffusion

pytestmark = pytest.mark.gpu


@pytest.fixture
def watched() -> Iterator[None]:
    """Any operation that waits is an error from here on."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def pictures(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, device="cuda")


def case(name: str) -> tuple[BindingModule, dict[str, Any]]:
    if name == "image":
        batch = {"image": pictures(4, 3, 32, 32), "label": torch.arange(4, device="cuda")}
        return RINDiffusion("rin_emoji32", label_dropout=0.1), batch
    if name == "video":
        return RINVideoDiffusion("rin_sprites"), {"video": pictures(2, 16, 3, 32, 32)}
    if name == "joint":
        return RINJoint(), {"image": pictures(4, 3, 32, 32), "label": torch.arange(4, device="cuda")}
    return ContrastiveRandomWalk(padding="reflect", channels_last=True), {"video": pictures(2, 4, 3, 256, 256)}


@pytest.mark.parametrize("name", ["image", "video", "joint", "walk"])
def test_a_step_waits_for_nothing(name: str, cuda: torch.device, watched: None) -> None:
    module, batch = case(name)
    module = module.to(cuda)
    module.generator = torch.Generator(cuda).manual_seed(0)
    module.log = module.log_dict = lambda *arguments, **options: None  # type: ignore[assignment,method-assign]
    optimizer = torch.optim.AdamW(module.trained().parameters(), lr=1e-4, fused=True)
    for index in range(3):
        torch.cuda.set_sync_debug_mode("error" if index else "default")  # the first step makes what is kept
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = module.training_step(batch, index)
        loss.backward()
        optimizer.step()
    torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()


def test_features_are_added_without_waiting(cuda: torch.device, watched: None) -> None:
    metric = FrechetDistance(torch.nn.Identity()).to(cuda)
    features = torch.randn(500, 64, device=cuda)
    torch.cuda.set_sync_debug_mode("error")
    for real in (True, False):
        metric.update(features, real=real)
    torch.cuda.set_sync_debug_mode("default")
    metric.update(torch.full((2, 64), float("nan"), device=cuda), real=False)
    with pytest.raises(InputError, match="not finite"):
        metric.compute()
