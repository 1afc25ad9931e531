"""Clips at random places: within the video, held at its end, and cut again where a header lies."""

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_videos import STEP, encode

from lightning_binding import InputError
from lightning_binding.video.clip import cut
from lightning_binding.video.decode import Video
from lightning_binding.video.reader import read_clip


@pytest.fixture(scope="module")
def even(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two seconds, ten frames each."""
    return str(encode(tmp_path_factory.mktemp("videos") / "even.mkv", range(20)))


def values(clip: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / STEP) for frame in clip]


@settings(max_examples=40)
@given(st.floats(0, 1), st.integers(1, 8), st.sampled_from([4.0, 8.0, 10.0]))
def test_a_clip_lies_within_the_video(even: str, position: float, frames: int, fps: float) -> None:
    clip = cut(even, position, frames, fps)
    assert clip.shape == (frames, 32, 48, 3)
    start = position * (Video(even).probe().duration - frames / fps)
    expected = read_clip(even, start, frames, fps).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(clip, expected)
    assert values(clip)[0] == min(19, int(10 * start + 0.006))
    if fps == 10:
        assert np.array_equal(np.diff(values(clip)), np.ones(frames - 1))


def test_every_place_is_as_likely(even: str) -> None:
    first = [values(cut(even, (place + 0.5) / 64, 5, 10.0))[0] for place in range(64)]
    assert np.bincount(first).tolist() == pytest.approx([64 / 15] * 15, abs=1)


def test_without_a_rate_it_is_that_of_the_video(even: str) -> None:
    assert values(cut(even, 0.5, 4, None)) == [8, 9, 10, 11]


def test_the_last_frame_stays_for_a_while(tmp_path: Path) -> None:
    path = str(encode(tmp_path / "short.mp4", range(3)))
    assert values(cut(path, 0.9, 4, 10)) == [0, 1, 2, 2]
    assert values(cut(path, 0.9, 6, 10)) == [0, 1, 2, 2, 2, 2][:6]
    with pytest.raises(InputError, match=r"short\.mp4 is 0\.30 s long; a clip of 7 frames at 10 fps takes 0\.70 s"):
        cut(path, 0.1, 7, 10)
    with pytest.raises(InputError, match=r"a share of 0\.2 of it \(max_held\)"):
        cut(path, 0.1, 4, 10, max_held=0.2)
    assert values(cut(path, 0.1, 7, 10, max_held=0.6)) == [0, 1, 2, 2, 2, 2, 2]


@pytest.mark.parametrize("factor", [3.0, 100.0])
@pytest.mark.parametrize("position", [0.0, 0.4, 0.999])
def test_a_header_that_promises_more_is_found_out(even: str, tmp_path: Path, factor: float, position: float) -> None:
    content = Path(even).read_bytes()
    place = content.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a float of eight bytes
    duration = struct.unpack(">d", content[place : place + 8])[0]
    path = tmp_path / "lying.mkv"
    path.write_bytes(content[:place] + struct.pack(">d", factor * duration) + content[place + 8 :])
    assert Video(str(path)).probe().duration == pytest.approx(factor * 2, rel=0.1)
    found = values(cut(str(path), position, 5, 10))
    assert np.array_equal(np.diff(found), np.ones(4))
    assert found == values(cut(str(path), position, 5, 10))
    if position > 0.5:
        assert found == values(cut(even, position, 5, 10))


def test_a_part_of_a_file_gives_clips_of_that_part(even: str, tmp_path: Path) -> None:
    content = Path(even).read_bytes()
    path = str(tmp_path / "part.mkv")
    Path(path).write_bytes(content[: len(content) * 4 // 5])
    part = Video(path).measure()
    assert 0.5 < part < 1.9
    assert Video(path).probe().duration == pytest.approx(2)
    found = values(cut(path, 1, 3, 10))
    assert np.array_equal(np.diff(found), np.ones(2))
    assert found[-1] == round(10 * part) - 1


def test_a_folder_of_frames(tmp_path: Path) -> None:
    for index in range(12):
        Image.new("RGB", (20, 10), (STEP * index,) * 3).save(tmp_path / f"{index}.png")
    assert values(cut(str(tmp_path), 0.5, 3, 6, folder_fps=12)) == [3, 5, 7]
    assert cut(str(tmp_path), 0.5, 3, None, size=5).shape == (3, 5, 10, 3)
