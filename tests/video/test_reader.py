"""Which frame is read: by time stamps, at constant and varying rates, from files and folders, upright."""

import sys
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_videos import encode, encode_audio, value

from lightning_binding import InputError
from lightning_binding.video.reader import clip_frames, probe, read_clip, read_frames
from lightning_binding.video.timing import TimedFrame, shown, since

UNEVEN = [0.0, 0.04, 0.08, 0.5, 0.55, 1.3, 1.31, 1.9]
CONTAINERS = [".mp4", ".mkv", ".webm", ".mov", ".avi"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def regular(folder: Path) -> dict[str, Path]:
    """Two seconds, ten frames each, in each container."""
    return {ending: encode(folder / f"regular{ending}", range(20)) for ending in CONTAINERS}


@pytest.fixture(scope="module")
def even(regular: dict[str, Path]) -> Path:
    """Two seconds, ten frames each, with a key frame every six."""
    return regular[".mp4"]


def values(frames: object) -> list[int]:
    return [value(frame) for frame in frames]  # type: ignore[attr-defined]


@pytest.mark.parametrize("ending", CONTAINERS)
def test_every_frame_comes_once_and_in_order(regular: dict[str, Path], ending: str) -> None:
    path = regular[ending]
    frames = list(read_frames(path))
    assert values(frames) == list(range(20))
    assert frames[0].dtype == torch.uint8
    assert frames[0].shape == (3, 32, 48)
    info = probe(path)
    assert (info.width, info.height) == (48, 32)
    assert info.fps == pytest.approx(10, rel=0.06)
    assert info.duration == pytest.approx(2, abs=0.11)
    assert abs(info.frames_estimate - 20) <= 1


@pytest.mark.parametrize("ending", CONTAINERS)
@pytest.mark.parametrize("fps", [4.0, 10.0, 25.0])
def test_the_frame_at_a_time_is_the_last_that_began(regular: dict[str, Path], ending: str, fps: float) -> None:
    path = regular[ending]
    times = [index / fps for index in range(int(2 * fps))]
    expected = [int(10 * time + 1e-6) for time in times]
    assert values(read_frames(path, fps=fps))[: len(times)] == expected
    assert values(clip_frames(path, times)) == expected
    assert values(read_clip(path, 0.0, len(times), fps)) == expected


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_varying_rate(folder: Path, ending: str) -> None:
    path = encode(folder / f"uneven{ending}", range(8), times=UNEVEN)
    times = np.arange(0, 1.9, 0.05)
    expected = [int(np.searchsorted(UNEVEN, time + 1e-6, side="right")) - 1 for time in times]
    assert expected.count(4) == 15  # a frame that stays is read again and again; one that is short, never
    assert 5 in expected
    assert values(clip_frames(path, list(times))) == expected
    assert values(read_frames(path, fps=20))[: len(times)] == expected
    assert values(read_frames(path)) == list(range(8))
    for start in (0.3, 0.5, 1.0, 1.305):
        assert values(read_clip(path, start, 1, 10)) == [int(np.searchsorted(UNEVEN, start + 1e-6, side="right")) - 1]


@pytest.mark.parametrize("start", [0.0, 0.05, 0.1, 0.55, 0.6, 0.61, 1.15, 1.2, 1.25, 1.9, 1.95])
def test_reading_in_the_middle_is_reading_from_the_beginning(even: Path, start: float) -> None:
    first = int(10 * start + 1e-6)
    assert values(read_frames(even, start=start)) == list(range(first, 20))
    assert values(read_clip(even, start, 3, 10)) == [min(first + index, 19) for index in range(3)]
    whole = torch.stack(list(read_frames(even)))
    assert torch.equal(read_clip(even, start, 1, 10)[0], whole[first])  # to the bit, from whatever key frame


def test_a_file_that_begins_late_begins_at_zero(folder: Path) -> None:
    path = encode(folder / "late.mkv", range(6), times=[5 + index / 10 for index in range(6)])
    assert values(read_frames(path)) == list(range(6))
    assert values(read_clip(path, 0.2, 3, 10)) == [2, 3, 4]


def test_sizes_limits_and_repeats(even: Path) -> None:
    assert [tuple(frame.shape) for frame in read_frames(even, size=16, max_frames=2)] == [(3, 16, 24)] * 2
    assert values(read_frames(even, size=16)) == list(range(20))
    repeated = list(read_frames(even, fps=20, max_frames=2))
    repeated[0].zero_()
    assert value(repeated[1]) == 0
    assert repeated[1].data_ptr() != repeated[0].data_ptr()
    assert list(read_frames(even, start=2.0)) == list(read_frames(even, start=9.0, fps=5)) == []
    assert values(read_clip(even, 1.8, 5, 10)) == [18, 19, 19, 19, 19]


@pytest.mark.parametrize(("angle", "corner"), [(None, (0, 0)), (-90, (0, -1)), (90, (-1, 0)), (180, (-1, -1))])
def test_frames_are_upright(folder: Path, angle: float | None, corner: tuple[int, int]) -> None:
    path = encode(folder / f"turned{angle}.mp4", range(2), rotation=angle, marked=True)
    frame = next(read_frames(path))
    bright = {place for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)) if frame[0][place] > 128}
    assert bright == {corner}
    info = probe(path)
    assert frame.shape[1:] == (info.height, info.width) == ((48, 32) if angle in (90, -90) else (32, 48))


def test_colours(folder: Path) -> None:
    import av

    colours = [(200, 30, 40), (20, 180, 60), (40, 60, 220)]
    with av.open(str(folder / "colour.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for colour in colours:
            pixels = np.broadcast_to(np.uint8(colour), (32, 48, 3)).copy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    for colour, frame in zip(colours, read_frames(folder / "colour.mp4"), strict=True):
        assert (frame[:, 16, 24].int() - torch.tensor(colour)).abs().max() <= 3


def test_a_folder_of_frames_in_natural_order(tmp_path: Path) -> None:
    for index in [10, 9, 2, 1]:
        Image.new("RGB", (48, 32), (10 * index,) * 3).save(tmp_path / f"frame{index}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    assert values(read_frames(tmp_path)) == [1, 2, 9, 10]
    assert values(read_frames(tmp_path, folder_fps=8, fps=4)) == [1, 9]
    assert values(read_frames(tmp_path, folder_fps=8, start=0.25)) == [9, 10]
    assert values(read_clip(tmp_path, 0.125, 4, 8, folder_fps=8)) == [2, 9, 10, 10]
    assert probe(tmp_path, folder_fps=8) == (48, 32, 8, 0.5, 4)
    assert next(read_frames(tmp_path, size=16)).shape == (3, 16, 24)


def test_photographs_in_a_folder_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :16] = 255
    Image.fromarray(pixels).save(tmp_path / "1.jpg", exif=exif)
    frame = next(read_frames(tmp_path))
    assert frame.shape == (3, *probe(tmp_path)[1::-1]) == (3, 48, 32)
    assert frame[0, 0, -1] > 128 > frame[0, 0, 0]


def test_a_stream_reads_no_more_than_is_asked_for(tmp_path: Path) -> None:
    for index in range(3):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"not a picture")
    frames = read_frames(tmp_path)
    assert [next(frames).shape for _ in range(3)] == [(3, 8, 8)] * 3
    with pytest.raises(InputError, match=r"The frame .*3\.png cannot be read as a picture"):
        next(frames)


def damaged(folder: Path) -> dict[str, Path]:
    """Files that cannot be read, by what ails them."""
    whole = encode(folder / "whole.mp4", range(20)).read_bytes()
    contents = {"zero bytes": b"", "text": b"not a video" * 100, "truncated": whole[: len(whole) // 2]}
    paths = {name: folder / f"{name}.mp4" for name in contents}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    encode_audio(folder / "audio.mp4")
    return {**paths, "audio alone": folder / "audio.mp4", "missing": folder / "nowhere.mp4"}


MESSAGES = {
    "zero bytes": "cannot be read as a video",
    "text": "cannot be read as a video",
    "truncated": "cannot be read as a video",
    "audio alone": "has no video",
    "missing": "There is no video .*nowhere",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_damaged_files(folder: Path, what: str) -> None:
    path = damaged(folder)[what]
    for read in (probe, lambda path: next(read_frames(path)), lambda path: read_clip(path, 0, 2, 5)):
        with pytest.raises(InputError, match=MESSAGES[what]) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_wrong_input(even: Path, tmp_path: Path) -> None:
    wrong = {
        "The folder .* has no frames": lambda: next(read_frames(tmp_path)),
        r"no backend 'pyaw' .*did you mean pyav": lambda: read_frames(even, backend="pyaw"),
        "fps is 0; it must be positive": lambda: read_frames(even, fps=0),
        "size is -1": lambda: read_frames(even, size=-1),
        "frames is 0": lambda: read_clip(even, 0, 0, 8),
        "folder_fps is 0": lambda: read_frames(tmp_path, folder_fps=0),
        r"do not decrease, not \[1, 0\]": lambda: clip_frames(even, [1, 0]),
        r"ends before 3 s": lambda: read_clip(even, 3, 4, 8),
    }
    for message, read in wrong.items():
        with pytest.raises(InputError, match=message):
            read()


def test_without_pyav_the_extra_is_named(even: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'lightning-binding\[video\]'"):
        probe(even)
    Image.new("RGB", (8, 8)).save(tmp_path / "1.png")
    assert len(list(read_frames(tmp_path))) == 1  # folders need none


@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=12),
    st.lists(st.integers(0, 5000), min_size=1, max_size=20).map(sorted),
)
def test_shown_is_a_search_of_the_time_stamps(gaps: list[int], wanted: list[int]) -> None:
    """In steps of 4 ms, halves apart, so that no time is within the tolerance of a stamp."""
    stamps = np.cumsum([0, *gaps])
    frames = [
        TimedFrame(begin / 250, end / 250, lambda: np.zeros((1, 1, 3), np.uint8)) for begin, end in pairwise(stamps)
    ]
    times = [(time + 0.5) / 250 for time in wanted if time < stamps[-1]]
    expected = [frames[int(np.searchsorted(stamps, 250 * time, side="right")) - 1] for time in times]
    assert list(shown(frames, [*times, *[30.0] * 2])) == expected
    if times:
        place = frames.index(expected[0])
        assert list(since(frames, times[0])) == frames[place:]
    assert len(list(shown(frames, (index / 250 for index in count())))) == stamps[-1]


def test_torchcodec_reads_the_same_frames(folder: Path, even: Path) -> None:
    pytest.importorskip("torchcodec.decoders", exc_type=(ImportError, RuntimeError, OSError))
    uneven = encode(folder / "both.mkv", range(8), times=UNEVEN)
    for path in (even, uneven):
        for fps in (None, 4.0, 20.0):
            ours, theirs = (list(read_frames(path, fps=fps, backend=name)) for name in ("pyav", "torchcodec"))
            assert values(ours) == values(theirs)
        for start in (0.3, 0.5, 1.0, 1.305):
            ours, theirs = (read_clip(path, start, 3, 8, backend=name) for name in ("pyav", "torchcodec"))
            assert values(ours) == values(theirs)
            assert (ours.int() - theirs.int()).abs().max() <= 3
    assert probe(even, backend="torchcodec") == probe(even)
    turned = encode(folder / "both.mp4", range(2), rotation=-90, marked=True)
    ours, theirs = (next(read_frames(turned, backend=name)) for name in ("pyav", "torchcodec"))
    assert (ours.int() - theirs.int()).abs().max() <= 3
    assert probe(turned, backend="torchcodec") == probe(turned)
    with pytest.raises(InputError, match="cannot be read as a video"):
        next(read_frames(damaged(folder)["truncated"], backend="torchcodec"))
