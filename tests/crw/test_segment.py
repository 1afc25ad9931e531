"""Masks of a whole video: streams, sparse ids, objects that appear late, and what is wrong in words."""

import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lightning_binding.crw.objects import Objects
from lightning_binding.crw.segment import segment
from lightning_binding.crw.settings import PRESETS, PropagationSettings
from lightning_binding.errors import InputError

CELL, ROWS, COLUMNS = 4, 12, 16
SETTINGS = PropagationSettings(context=4, radius=5, nearest_upsampling=True)  # exact, as the content moves by cells


def large(cells: Tensor) -> Tensor:
    return cells.repeat_interleave(CELL, 0).repeat_interleave(CELL, 1)


def frame(time: int, appearing: Tensor | None = None) -> Tensor:
    """Every cell of 4 x 4 pixels has a grey of its own; the content rolls a cell to the right every frame.

    Content that was not there before is where a mask at frame 0 says.
    """
    cells = torch.arange(ROWS * COLUMNS, dtype=torch.uint8).view(ROWS, COLUMNS)
    if appearing is not None:
        inside = appearing[::CELL, ::CELL] > 0
        cells[inside] = (ROWS * COLUMNS + torch.arange(int(inside.sum()))).to(torch.uint8)
    return large(cells.roll(time, 1)).expand(3, -1, -1)


def video(appears: int, **boxes: tuple[int, int, int, int]) -> list[Tensor]:
    """Six frames; new content from one of them on."""
    return [frame(time, mask(0, **boxes) if time >= appears else None) for time in range(6)]


def directions(frames: Tensor) -> Tensor:
    """Features in which every grey has a direction of its own, (F, 256, 12, 16)."""
    return torch.eye(256)[frames[:, 0, ::CELL, ::CELL].long()].permute(0, 3, 1, 2)


def mask(time: int, **boxes: tuple[int, int, int, int]) -> Tensor:
    """Boxes (top, bottom, left, right) of cells at frame 0, where they are at another; `id7=…` has the id 7."""
    cells = torch.zeros(ROWS, COLUMNS, dtype=torch.uint8)
    for name, (top, bottom, left, right) in boxes.items():
        cells[top:bottom, left:right] = int(name.removeprefix("id"))
    return large(cells.roll(time, 1))


FIRST = {"id3": (2, 5, 2, 5), "id200": (6, 9, 4, 8)}
LATE = {"id9": (1, 4, 8, 11)}


def run(count: int = 6, **options: object) -> list[Tensor]:
    defaults: dict[str, object] = {"video": [frame(time) for time in range(count)], "mask": mask(0, **FIRST)}
    return list(segment(**{**defaults, "encode": directions, "settings": SETTINGS, **options}))  # type: ignore[arg-type]


def test_masks_follow_what_moves_and_ids_may_be_any() -> None:
    for time, found in enumerate(run()):
        assert found.dtype == torch.uint8
        assert torch.equal(found, mask(time, **FIRST))


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_tensors_lists_and_streams_give_the_same_in_any_batch(batch: int) -> None:
    video = torch.stack([frame(time) for time in range(6)])
    expected = torch.stack(run())
    for given_as in (video, list(video), iter(video), (picture for picture in video)):
        assert torch.equal(torch.stack(run(video=given_as, batch=batch)), expected)


def test_a_stream_is_read_as_it_is_needed_and_not_kept() -> None:
    read: list[weakref.ref[Tensor]] = []
    sizes: list[int] = []

    def stream() -> Iterator[Tensor]:
        for time in range(12):
            picture = frame(time).clone()
            read.append(weakref.ref(picture))
            yield picture
            del picture

    def encode(frames: Tensor) -> Tensor:
        sizes.append(len(frames))
        return directions(frames)

    for time, _ in enumerate(segment(stream(), mask(0, **FIRST), encode, SETTINGS, batch=3)):
        assert len(read) <= time + 3
        assert sum(reference() is not None for reference in read) <= 4  # the first, for its shape, and a batch
    assert sizes == [3, 3, 3, 3]


def test_void_is_background() -> None:
    first = mask(0, **FIRST)
    first[:8, :8] = 255
    found = run(mask=first)
    assert not (torch.stack(found) == 255).any()
    assert torch.equal(found[0], torch.where(first == 255, 0, first))


def test_a_video_of_one_frame_is_its_mask() -> None:
    assert torch.equal(torch.stack(run(1)), mask(0, **FIRST)[None])


@pytest.mark.parametrize("preset", [PropagationSettings(), PRESETS["dinov3"], PRESETS["dino"]])
def test_an_object_appears_late(preset: PropagationSettings) -> None:
    settings = replace(preset, short_side=None, multiple_of=None, nearest_upsampling=True)
    found = run(video=video(2, **LATE), settings=settings, later={2: mask(2, **LATE)})
    for time, each in enumerate(found):
        assert torch.equal(each, mask(time, **FIRST, **(LATE if time >= 2 else {}))), time


def test_an_object_that_appears_takes_its_pixels_and_no_others() -> None:
    """It covers half of an object; the other half, and what is known of others, stay."""
    box = {"id9": (6, 9, 4, 6)}
    late = mask(2, **box)
    late[0, :4] = 3  # a known object is not looked at again
    found = run(video=video(2, **box), later={2: late})
    for time in range(6):
        covered = mask(time, **box) > 0 if time >= 2 else torch.tensor(False)
        assert torch.equal(found[time], torch.where(covered, 9, mask(time, **FIRST)).to(torch.uint8))


def test_pixels_of_a_new_object_are_exact_where_it_appears() -> None:
    late = mask(2)
    late[5:8, 31:34] = 9  # no border of a cell
    found = run(later={2: late})[2]
    assert torch.equal(found == 9, late == 9)


def test_the_first_mask_may_be_empty_if_an_object_appears() -> None:
    found = run(video=video(3, **LATE), mask=mask(0), later={1: mask(1), 3: mask(3, **LATE)})
    for time, each in enumerate(found):
        assert torch.equal(each, mask(time, **LATE) if time >= 3 else mask(0))


@given(st.integers(0, 2**31), st.integers(5, 13), st.integers(4, 9))
def test_labels_stay_shares_when_objects_appear(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second, third = (torch.randint(6, (20, 30), generator=generator, dtype=torch.uint8) for _ in range(3))
    objects = Objects(first % 3, {2: second, 4: third})
    labels = torch.rand(height, width, len(objects.ids), generator=generator).softmax(-1)
    amended = objects.amend(2, labels)
    torch.testing.assert_close(amended.sum(-1), torch.ones(height, width))
    assert (amended >= 0).all()
    assert torch.equal(objects.amend(3, labels), labels)
    torch.testing.assert_close(objects.labels(height, width).sum(-1), torch.ones(height, width))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mask": mask(0, **FIRST)[:, :32]}, "the first mask has 48 x 32 pixels, the frames have 48 x 64: give the"),
        ({"mask": mask(0)}, "the first mask holds no object: at least one pixel must have an id other than 0 and 255"),
        ({"mask": mask(0), "later": {2: mask(0)}}, "no mask holds an object"),
        (
            {"mask": mask(0).expand(3, -1, -1)},
            r"is torch.uint8 \(3, 48, 64\), expected uint8 ids \(H, W\): is it an ind",
        ),
        ({"mask": mask(0).float()}, r"the first mask is torch.float32 \(48, 64\), expected uint8 ids"),
        ({"later": {2: mask(0)[:9]}}, "the mask of frame 2 has 9 x 64 pixels, the first mask 48 x 64 pixels"),
        ({"later": {0: mask(0, **LATE)}}, "frame 0 has the first mask"),
        ({"later": {6: mask(0, **LATE)}}, "there is a mask for frame 6, and the last frame of the video is 5"),
        ({"later": {2: mask(0, **LATE)[None]}}, "the mask of frame 2 is torch.uint8"),
        ({"video": []}, "the video has no frame"),
        ({"video": [frame(0), frame(1)[:, :8]]}, r"frame 1 has the shape \(3, 8, 64\), the first \(3, 48, 64\): all"),
        ({"video": [frame(0).float()]}, r"frame 0 is torch.float32 \(3, 48, 64\), expected uint8 \(3, H, W\)"),
        ({"video": frame(0)}, r"frame 0 is torch.uint8 \(48, 64\), expected uint8 \(3, H, W\)"),
        ({"batch": 0}, "batch=0 must be 1 or more"),
    ],
)
def test_bad_input_is_explained(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(**options)


def test_what_comes_before_a_damaged_frame_is_given() -> None:
    found = segment([frame(0), frame(1), frame(2)[:, :8]], mask(0, **FIRST), directions, SETTINGS)
    assert torch.equal(next(found), mask(0, **FIRST))
    assert torch.equal(next(found), mask(1, **FIRST))
    with pytest.raises(InputError, match="frame 2"):
        next(found)
