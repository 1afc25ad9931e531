"""Presets and their options: each is said to be wrong where it is, before anything runs."""

from typing import Any

import pytest

from lightning_binding.crw.settings import CHOICES, PRESETS, PropagationSettings, preset
from lightning_binding.crw.windows import SHAPES
from lightning_binding.errors import InputError


def test_windows_have_the_shapes_that_can_be_chosen() -> None:
    assert CHOICES["shape"] == tuple(SHAPES)


def test_every_setting_is_documented() -> None:
    documented = str(PropagationSettings.__doc__)
    for name in PropagationSettings.__dataclass_fields__:
        assert f"        {name}: " in documented


def test_options_override_a_preset() -> None:
    found = preset("cropmae", {"size": [240, 440], "radius": 5})  # lists are what YAML has
    assert (found.size, found.radius, found.temperature) == ((240, 440), 5, PRESETS["cropmae"].temperature)
    assert preset("cropmae", {"size": None, "short_side": 96}).short_side == 96
    assert hash(found) is not None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dino5", {}, "propagation: unknown preset 'dino5'; did you mean dino"),
        ("crw", {"radios": 3}, "propagation_options: unknown setting 'radios'; did you mean radius"),
        ("crw", {"top_k": 0}, "top_k=0 must be 1 or more"),
        ("crw", {"temperature": 0}, "temperature=0 must be positive"),
        ("crw", {"label_resampling": "cubic"}, "label_resampling='cubic' is unknown; known are bilinear, nearest"),
        ("cropmae", {"short_side": 480}, r"short_side=480, size=\(480, 880\): give one of short_side, long_side, size"),
        ("crw", {"size": [480]}, r"size=\(480,\) must be a height and a width"),
        ("crw", {"size": [480, 0]}, r"size=\(480, 0\) must be 1 or more"),
        ("crw", {"long_side": 0}, "long_side=0 must be 1 or more"),
    ],
)
def test_wrong_settings_are_explained(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        preset(name, options)
