"""The settings of sampling: what they refuse when they are made, and a sampler of one's own."""

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.rin.diffusion import Diffusion
from lightning_binding.rin.objectives import X0
from lightning_binding.rin.samplers import ddim
from lightning_binding.rin.sampling import Sampling, find_sampler
from lightning_binding.rin.schedules import Linear


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "dimm"}, "unknown sampler 'dimm'; did you mean ddim"),
        ({"sampler": "os.path.nothing"}, "unknown sampler 'os.path.nothing'"),
        ({"sampler": "nowhere.mine"}, "unknown sampler 'nowhere.mine'"),
        ({"steps": 0}, "steps=0 must be a whole number of at least 1"),
        ({"time_difference": -1.0}, "time_difference=-1.0"),
        ({"guidance": float("nan")}, "scale=nan of guidance"),
        ({"guidance_interval": (0.5, 0.2)}, r"interval=\(0.5, 0.2\) of guidance"),
    ],
)
def test_settings_are_refused_before_anything_is_trained(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**options)


def in_grey(denoise: Any, noise: Tensor, **options: Any) -> Tensor:
    """A sampler of one's own: it ends in grey whatever DDIM finds."""
    return 0 * ddim(denoise, noise, **options)


def test_a_sampler_of_one_s_own_is_found_by_its_path() -> None:
    assert find_sampler("ddim") is ddim

    def network(x: Tensor, *inputs: Any, **options: Any) -> tuple[Tensor, None, None]:
        return torch.ones_like(x), None, None

    process, noise = Diffusion(Linear(), X0(), self_conditioning=0.0), torch.randn(2, 3, 4, 4)
    assert torch.equal(Sampling(steps=2)(network, process, noise), torch.ones(2, 3, 4, 4))
    mine = Sampling(sampler=f"{__name__}.in_grey", steps=2)
    assert torch.equal(mine(network, process, noise), torch.zeros(2, 3, 4, 4))
