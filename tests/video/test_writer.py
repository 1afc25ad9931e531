"""Videos that are written: what is read again, names, odd sizes, and files that never stand there half."""

import sys
from collections.abc import Iterator
from pathlib import Path

import av
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_binding import InputError
from lightning_binding.video.reader import probe, read_frames
from lightning_binding.video.writer import write_video

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128), (10, 200, 90), (255, 255, 255)]


def frames(height: int = 32, width: int = 48) -> list[Tensor]:
    return [torch.tensor(colour, dtype=torch.uint8)[:, None, None].repeat(1, height, width) for colour in COLOURS]


@pytest.mark.parametrize("ending", [".mp4", ".gif", ".MP4"])
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    path = write_video(tmp_path / "deep" / f"video{ending}", iter(frames()), fps=12.5)
    assert [entry.name for entry in path.parent.iterdir()] == [f"video{ending}"]
    again = list(read_frames(path))
    assert len(again) == len(COLOURS)
    for written, read in zip(frames(), again, strict=True):
        assert (written.int() - read.int()).abs().max() <= 3
    assert probe(path).fps == pytest.approx(12.5)
    assert probe(path).duration == pytest.approx(len(COLOURS) / 12.5)


def test_an_mp4_is_one_that_players_show(tmp_path: Path) -> None:
    path = write_video(tmp_path / "video.mp4", frames(31, 45), fps=24)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.width, stream.height) == ("h264", "yuv420p", 46, 32)
        assert (stream.colorspace, stream.color_primaries, stream.color_trc, stream.color_range) == (1, 1, 1, 1)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # so that a browser shows it before it is there
    ramp = torch.arange(45, dtype=torch.uint8).mul(5).expand(3, 31, 45)
    read = next(read_frames(write_video(tmp_path / "ramp.mp4", [ramp], fps=1)))
    assert (read[:, :31, :45].int() - ramp.int()).abs().max() <= 6
    assert (read[:, 31] == read[:, 30]).float().mean() > 0.9  # the last row stands twice


def test_a_gif_repeats_for_ever_and_keeps_its_time(tmp_path: Path) -> None:
    for fps, milliseconds in ((10, 100), (8, 120), (100, 20)):
        with Image.open(write_video(tmp_path / "video.gif", frames(), fps)) as image:
            assert (image.n_frames, image.info["loop"], image.info["duration"]) == (6, 0, milliseconds)


@pytest.mark.parametrize("ending", [".mp4", ".gif"])
def test_an_error_leaves_the_file_that_was_there(tmp_path: Path, ending: str) -> None:
    path = write_video(tmp_path / f"video{ending}", frames(), fps=5)
    before = path.read_bytes()

    def broken() -> Iterator[Tensor]:
        yield from frames()[:2]
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError, match="the model failed"):
        write_video(path, broken(), fps=5)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_wrong_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong: list[tuple[str, str, list[Tensor], float]] = [
        ("video.avi", r"ends in \.avi; videos are written as \.mp4 or \.gif", frames(), 5),
        ("video", "ends in nothing", frames(), 5),
        ("video.mp4", "fps is 0; it must be positive", frames(), 0),
        ("video.mp4", r"There are no frames to write to .*video\.mp4", [], 5),
        ("video.mp4", r"float32 \(3, 2, 2\); expected uint8 \(3, H, W\), all of one size\.", [torch.zeros(3, 2, 2)], 5),
        ("video.gif", r"uint8 \(3, 9, 9\); .* that of the first, \(3, 32, 48\)", [*frames(), *frames(9, 9)], 5),
    ]
    for name, message, content, fps in wrong:
        with pytest.raises(InputError, match=message):
            write_video(tmp_path / name, content, fps)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r"pip install 'lightning-binding\[video\]'"):
        write_video(tmp_path / "video.mp4", frames(), 5)
    assert write_video(tmp_path / "video.gif", frames(), 5).exists()
