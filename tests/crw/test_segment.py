"""Masks of a whole video: streams, sparse ids, objects that appear late, and what is wrong in words."""

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lightning_binding.crw.objects import Objects
from lightning_binding.crw.segment import segment, winners
from lightning_binding.crw.settings import PRESETS, PropagationSettings
from lightning_binding.crw.sizes import frame_size
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
    settings = replace(preset, short_side=None, nearest_upsampling=True)
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


def stretched(channels: Tensor) -> Tensor:
    """Each channel (L, H, W) by its own least and largest value, as the codes of DINO and VFS write it."""
    low, high = channels.flatten(1).min(1).values, channels.flatten(1).max(1).values
    return (channels - low[:, None, None]) / (high - low)[:, None, None]


def pillow(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask of another height and width, by Pillow's nearest neighbours."""
    picture = Image.fromarray(mask.to(torch.uint8).numpy()).resize(size[::-1], Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(picture)).long()


def undecided(size: int, encoded: int) -> Tensor:
    """Where the middle of a pixel lies on the border of two: rounding decides which of them is the nearest."""
    return (2 * torch.arange(size) + 1) * encoded % (2 * size) == 0


@pytest.mark.parametrize("size", [(480, 854), (720, 1280), (333, 500)])
@pytest.mark.parametrize("name", ["dino", "dinov3", "vfs", "cropmae", "dense_ulearn", "crw"])
def test_masks_are_decided_as_each_method_did(name: str, size: tuple[int, int]) -> None:
    settings, patch = PRESETS[name], 16
    encoded = frame_size(*size, settings, patch)
    grid = (encoded[0] // patch, encoded[1] // patch)
    labels = torch.rand(*grid, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.3, 0.5, 0.8])
    channels = labels.permute(2, 0, 1)[None]
    expected = {
        "dino": lambda: pillow(
            stretched(F.interpolate(channels, scale_factor=patch, mode="bilinear")[0]).argmax(0), size
        ),
        "dinov3": lambda: stretched(F.interpolate(channels, size, mode="nearest")[0]).argmax(0),
        "vfs": lambda: stretched(F.interpolate(channels, size, mode="bilinear")[0]).argmax(0),
        "cropmae": lambda: pillow(F.interpolate(channels, (480, 880), mode="bilinear")[0].argmax(0), size),
        "dense_ulearn": lambda: F.interpolate(channels, size, mode="bilinear", align_corners=True)[0].argmax(0),
        "crw": lambda: F.interpolate(channels, size, mode="bilinear")[0].argmax(0),
    }[name]()
    found = winners(labels, size, encoded, settings)
    assert found.dtype == torch.int64
    decided = encoded if settings.decide_at_input_size else size
    rows, columns = (~undecided(*sides) for sides in zip(size, decided, strict=True))
    assert (found != expected)[rows][:, columns].float().mean() < 1e-5  # rounding where two channels cross


def test_a_channel_that_is_the_same_everywhere_is_not_stretched() -> None:
    labels = torch.zeros(4, 4, 3)
    labels[..., 1] = 0.4
    labels[0, 0, 2] = 0.2
    found = winners(labels, (8, 8), (8, 8), replace(SETTINGS, normalise_labels=True))
    assert found[0, 0] == 2
    assert (found[4:] == 1).all()


@given(st.integers(0, 2**31), st.integers(3, 40), st.integers(3, 40))
def test_masks_are_made_small_as_each_method_does(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(3, (37, 51), generator=generator, dtype=torch.uint8)
    first[0, 0] = 2
    sampled = Objects(first, nearest=True).labels(height, width)
    assert torch.equal(sampled, F.one_hot(pillow(first, (height, width)), len(sampled[0, 0])).float())
    aligned = Objects(first, align_corners=True).labels(height, width)
    assert aligned[0, 0].tolist() == pytest.approx([0, 0, 1], abs=1e-6)  # corners lie on corners
    assert int(aligned[-1, -1].argmax()) == int(first[-1, -1])
    torch.testing.assert_close(aligned.sum(-1), torch.ones(height, width))


def test_labels_of_a_video_are_made_small_by_the_settings() -> None:
    """Of a cell that the border of an object crosses, a share, or all or nothing."""
    first = mask(0, **FIRST)
    first[8:20, 9:20] = 3  # three of the four pixels of a cell
    still = [frame(0)] * 2
    settings = PropagationSettings(context=0, top_k=1, label_resampling="nearest", nearest_upsampling=True)
    found = list(segment(still, first, directions, settings))[1]
    assert torch.equal(found[:, ::CELL], pillow(pillow(first, (ROWS, COLUMNS)), first.shape)[:, ::CELL].to(torch.uint8))
    assert found[10, 8] == 3  # the middle of its cell has the object


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
