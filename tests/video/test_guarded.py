"""The decoder process: what it gives, and that no file takes more with it than itself."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from small_videos import encode, value
from torch.utils.data import DataLoader, Dataset

from lightning_binding import InputError
from lightning_binding.video import guarded
from lightning_binding.video.guarded import DecoderDied, DecoderHung, GuardedDecoder, Undecodable
from lightning_binding.video.reader import probe, read_clip, read_frames

# In the child, files are as bad as their names.
HOOK = guarded.PROGRAM.replace(
    "\nmain()",
    """
import os, pathlib, signal, time
import lightning_binding.video.decoder_process as process
process.GRACE = 0
whole = process.cut
def cut(path, **options):
    tried = pathlib.Path(path + ".tried")
    times = len(tried.read_text()) if tried.exists() else 0
    if "segfault" in path or ("once" in path and not times):
        tried.write_text("x" * (times + 1))
        os.kill(os.getpid(), signal.SIGSEGV)
    if "abort" in path:
        os.write(2, b"free(): invalid pointer\\n")
        os.abort()
    if "exit" in path:
        os._exit(3)
    if "sleep" in path:
        time.sleep(1000)
    if "chatty" in path:
        print("a word from a library", flush=True)
        os.write(1, b"and one from C")
    if "greedy" in path:
        bytearray(1 << 40)
    return whole(path, **options)
process.cut = cut
process.main()
""",
)

STREAM_HOOK = guarded.PROGRAM.replace(
    "\nmain()",
    """
import os, signal, time
import lightning_binding.video.decoder_process as process
import lightning_binding.video.folder as folder
process.GRACE = 5
whole = folder._read
def read(path, size):
    if "segfault" in path and path.endswith("3.png"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if "sleep" in path and path.endswith("3.png"):
        time.sleep(1000)
    return whole(path, size)
folder._read = read
process.main()
""",
)


@pytest.fixture
def decoder(monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardedDecoder]:
    monkeypatch.setattr(guarded, "PROGRAM", HOOK)
    made = GuardedDecoder(timeout=20)
    yield made
    made.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos")
    for name in ("good", "segfault", "once", "abort", "exit", "sleep", "chatty", "greedy"):
        encode(path / f"{name}.mp4", range(20))
    return path


def clip(decoder: GuardedDecoder, path: Path, position: float = 0.5, **options: Any) -> list[int]:
    return [value(frame) for frame in decoder.cut(str(path), position, 3, 10, **options)]


def pid(decoder: GuardedDecoder) -> int:
    assert decoder._child is not None
    return decoder._child.process.pid


def alive(process: int) -> bool:
    """Whether a process runs; one that is dead and not yet waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(process: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while alive(process) and time.monotonic() < end:
        time.sleep(0.05)
    return not alive(process)


def test_clips_are_those_of_the_reader(decoder: GuardedDecoder, folder: Path) -> None:
    processes = set()
    for position in (0.0, 0.3, 0.77, 1.0):
        found = decoder.cut(str(folder / "good.mp4"), position, 4, 8.0, size=16)
        assert torch.equal(found, read_clip(folder / "good.mp4", position * (2 - 4 / 8), 4, 8, size=16))
        processes.add(pid(decoder))
    assert len(processes) == 1
    assert clip(decoder, folder / "chatty.mp4") == clip(decoder, folder / "good.mp4") == [8, 9, 10]


@pytest.mark.parametrize(
    ("name", "end"),
    [("segfault", "SIGSEGV"), ("abort", r"SIGABRT: free\(\): invalid pointer"), ("exit", "exit status 3")],
)
def test_a_file_that_ends_the_decoder(decoder: GuardedDecoder, folder: Path, name: str, end: str) -> None:
    clip(decoder, folder / "good.mp4")
    before = pid(decoder)
    with pytest.raises(DecoderDied, match=rf"{name}\.mp4 ended the decoder process: {end}"):
        clip(decoder, folder / f"{name}.mp4")
    assert clip(decoder, folder / "good.mp4") == [8, 9, 10]
    assert pid(decoder) != before
    assert not alive(before)


def test_what_died_is_tried_once_more(decoder: GuardedDecoder, folder: Path) -> None:
    assert clip(decoder, folder / "once.mp4") == [8, 9, 10]
    (folder / "segfault.mp4.tried").unlink(missing_ok=True)
    with pytest.raises(DecoderDied):
        clip(decoder, folder / "segfault.mp4")
    assert (folder / "segfault.mp4.tried").read_text() == "xx"


def test_a_file_that_hangs(decoder: GuardedDecoder, folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")  # nobody writes to it: to open it is to wait
    decoder.timeout = 0.5
    for path in (tmp_path / "pipe.mp4", folder / "sleep.mp4"):
        clip(decoder, folder / "good.mp4")
        before, begin = pid(decoder), time.monotonic()
        with pytest.raises(DecoderHung, match=rf"{path.name} gave no clip within 0.5 s"):
            clip(decoder, path)
        assert 0.4 < time.monotonic() - begin < 5
        assert not alive(before)
    assert clip(decoder, folder / "good.mp4") == [8, 9, 10]


def test_a_file_that_is_refused_leaves_the_process(decoder: GuardedDecoder, folder: Path, tmp_path: Path) -> None:
    clip(decoder, folder / "good.mp4")
    before = pid(decoder)
    odd = tmp_path / os.fsdecode(b"new\nline \xff \xc3\xa9.mp4")
    odd.write_bytes(b"no video")
    for path, message in (
        (odd, "cannot be read as a video"),
        (tmp_path / "nowhere.mp4", "There is no video"),
        (folder / "greedy.mp4", r"greedy\.mp4 cannot be decoded: MemoryError"),
    ):
        with pytest.raises(Undecodable, match=message):
            clip(decoder, path)
    encode(tmp_path / "good.mp4", range(20)).rename(odd)
    assert clip(decoder, odd) == [8, 9, 10]
    with pytest.raises(Undecodable, match="max_held"):
        clip(decoder, folder / "good.mp4", folder_fps=1, max_held=-1)
    assert pid(decoder) == before


def test_an_interrupt_leaves_no_half_answer(
    decoder: GuardedDecoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip(decoder, folder / "good.mp4", 0.0)
    with monkeypatch.context() as patch:
        read = guarded._Child._read

        def interrupted(child: Any, count: int, deadline: float) -> bytearray:
            if count > 1000:
                raise KeyboardInterrupt
            return read(child, count, deadline)

        patch.setattr(guarded._Child, "_read", interrupted)
        with pytest.raises(KeyboardInterrupt):
            clip(decoder, folder / "good.mp4", 0.0)
    assert clip(decoder, folder / "good.mp4", 0.5) == [8, 9, 10]


class Clips(Dataset[Any]):
    def __init__(self, decoder: GuardedDecoder, paths: list[Path]) -> None:
        self.decoder, self.paths = decoder, paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[list[int], int, int]:
        try:
            found = clip(self.decoder, self.paths[index])
        except Undecodable:
            found = []
        return found, os.getpid(), 0 if self.decoder._child is None else pid(self.decoder)


def test_each_worker_has_its_own_process_and_takes_it_along(decoder: GuardedDecoder, folder: Path) -> None:
    clip(decoder, folder / "good.mp4")
    here = pid(decoder)
    paths = [folder / "good.mp4", folder / "good.mp4", folder / "segfault.mp4", folder / "good.mp4"] * 2
    items = list(DataLoader(Clips(decoder, paths), batch_size=None, num_workers=2))
    assert [item[0] for item in items] == [[8, 9, 10] if path.stem == "good" else [] for path in paths]
    assert len({item[1] for item in items} - {os.getpid()}) == 2
    decoders = {item[2] for item in items} - {0}
    assert here not in decoders
    assert len(decoders) >= 2
    assert all(ends(process, 10) for process in decoders)
    assert clip(decoder, folder / "good.mp4") == [8, 9, 10]
    assert pid(decoder) == here


@pytest.mark.parametrize("busy", [False, True])
def test_the_process_ends_when_its_parent_is_killed(decoder: GuardedDecoder, folder: Path, busy: bool) -> None:
    decoder.timeout = 2
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            clip(decoder, folder / "good.mp4")
            os.write(write, str(pid(decoder)).encode())
            clip(decoder, folder / "sleep.mp4") if busy else signal.pause()
        finally:
            os._exit(1)
    child = int(os.read(read, 100))
    if busy:
        time.sleep(0.5)
    assert alive(child)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert ends(child, 6)


def test_the_process_has_no_torch() -> None:
    program = guarded.PROGRAM + "print(sorted({'torch', 'lightning', 'numpy'} & set(sys.modules)), file=sys.stderr)"
    package = str(Path(guarded.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, package], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert done.stderr.decode().strip() == "['numpy']"


def test_a_copy_has_no_process(decoder: GuardedDecoder, folder: Path) -> None:
    clip(decoder, folder / "good.mp4")
    copy = pickle.loads(pickle.dumps(decoder))
    assert (copy.timeout, copy._child) == (20, None)


def test_a_process_that_cannot_start_is_no_file_s_fault(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "PROGRAM", "import nothing_of_this_name")
    with pytest.raises(RuntimeError, match=r"does not start: exit status 1: ModuleNotFoundError.*nothing_of_this_name"):
        clip(GuardedDecoder(), folder / "good.mp4")


@pytest.mark.parametrize("fps", [None, 5.0])
def test_a_stream_is_that_of_the_reader(decoder: GuardedDecoder, folder: Path, fps: float | None) -> None:
    frames = list(decoder.stream(str(folder / "good.mp4"), fps))
    before = pid(decoder)
    assert len(frames) == (20 if fps is None else 10)
    for ours, theirs in zip(frames, read_frames(folder / "good.mp4", fps=fps), strict=True):
        assert torch.equal(ours, theirs)
    assert decoder.probe(str(folder / "good.mp4")) == probe(folder / "good.mp4")
    assert [value(frame) for frame in decoder.stream(str(folder / "good.mp4"))] == list(range(20))
    assert pid(decoder) == before


def test_a_stream_that_is_left_takes_its_process_with_it(decoder: GuardedDecoder, folder: Path) -> None:
    stream = decoder.stream(str(folder / "good.mp4"))
    assert [value(next(stream)) for _ in range(3)] == [0, 1, 2]
    assert clip(decoder, folder / "good.mp4") == [8, 9, 10]  # by a process of its own
    assert [value(frame) for frame in islice(stream, 2)] == [3, 4]
    between = pid(decoder)
    stream.close()  # type: ignore[attr-defined]
    assert pid(decoder) == between
    alone = decoder.stream(str(folder / "good.mp4"))
    next(alone)
    alone.close()  # type: ignore[attr-defined]
    assert decoder._child is None
    assert ends(between, 10)


def test_who_listens_slowly_hears_everything(decoder: GuardedDecoder, folder: Path, tmp_path: Path) -> None:
    """The process waits for as long as nobody reads; it is the video that may not take long."""
    for index in range(40):
        Image.new("RGB", (400, 300), (6 * index,) * 3).save(tmp_path / f"{index}.png")  # more than the pipe holds
    decoder.timeout = 0.5  # with the grace of the tests, the process would end itself after a second
    stream = decoder.stream(str(tmp_path))
    found = [int(next(stream)[0, 0, 0])]
    time.sleep(2.5)
    assert [*found, *(int(frame[0, 0, 0]) for frame in stream)] == [6 * index for index in range(40)]


def test_a_stream_gives_what_comes_before_damage(
    decoder: GuardedDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "PROGRAM", STREAM_HOOK)
    for index in range(5):
        Image.new("RGB", (20, 10), (10 * index,) * 3).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"damaged")
    for name, error, message in (
        ("refused", Undecodable, r"3\.png cannot be read as a picture"),
        ("segfault", DecoderDied, r"segfault ended the decoder process: SIGSEGV"),
        ("sleep", DecoderHung, r"sleep gave no frame within 1 s"),
    ):
        folder = tmp_path.parent / f"{tmp_path.name}-{name}"
        tmp_path.rename(folder)
        decoder.timeout = 20 if name == "segfault" else 1
        found: list[int] = []
        with pytest.raises(error, match=message):
            found.extend(int(frame[0, 0, 0]) for frame in decoder.stream(str(folder)))
        assert found == [0, 10, 20]
        folder.rename(tmp_path)


def test_wrong_timeout() -> None:
    with pytest.raises(InputError, match="decode_timeout is 0; it must be a positive number of seconds"):
        GuardedDecoder(0)
