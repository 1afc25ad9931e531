"""Light over a clip: nothing where none is asked for, bounds, smoothness, and what it leaves to be seen."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lightning_binding.data import MovingSpritesDataModule
from lightning_binding.data.lighting import PERIOD, Lighting
from lightning_binding.errors import InputError


def test_none_changes_nothing_and_draws_nothing() -> None:
    random = np.random.default_rng(0)
    video = torch.randint(256, (3, 3, 4, 5), dtype=torch.uint8)
    assert Lighting()(random, video) is video
    assert random.random() == np.random.default_rng(0).random()


@given(swing=st.floats(0.01, 0.9), seed=st.integers(0, 1000))
def test_the_swing_is_smooth_and_bounded(swing: float, seed: int) -> None:
    gain = Lighting(swing).gain(np.random.default_rng(seed), 40)
    assert gain.shape == (40, 3)
    assert abs(gain - 1).max() <= swing
    assert abs(np.diff(gain, axis=0)).max() <= swing * 2 * np.pi / PERIOD[0]  # the slope of the fastest wave


def test_noise_has_its_deviation_and_mean() -> None:
    video = torch.full((4, 3, 64, 64), 128, dtype=torch.uint8)
    lit = Lighting(noise=5)(np.random.default_rng(0), video).float()
    assert float(lit.std()) == pytest.approx(5, rel=0.03)
    assert float(lit.mean()) == pytest.approx(128, abs=0.2)


def test_masks_and_motion_do_not_depend_on_the_light() -> None:
    plain = MovingSpritesDataModule(frame_size=32, eval_sequences=1, eval_frames=6).eval_set()[0]
    lit = MovingSpritesDataModule(frame_size=32, eval_sequences=1, eval_frames=6, lighting=0.5).eval_set()[0]
    assert torch.equal(plain["mask"], lit["mask"])
    ratio = lit["video"].float() / plain["video"].float().clamp(min=1)
    seen = (plain["video"] > 60) & (lit["video"] < 255)
    for frame, shown in zip(ratio, seen, strict=True):  # one factor for each channel of a frame
        for channel, where in zip(frame, shown, strict=True):
            assert float(channel[where].std()) < 0.01
    assert float(ratio[seen].std()) > 0.05


@pytest.mark.parametrize("wrong", [{"lighting": 1.0}, {"lighting": -0.1}, {"noise": -1.0}])
def test_light_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is .*must be"):
        MovingSpritesDataModule(**wrong)  # type: ignore[arg-type]
