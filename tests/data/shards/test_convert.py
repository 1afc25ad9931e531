"""Conversion: everything once, the same bytes after a kill, and what is wrong in words."""

import errno
import multiprocessing
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from data.shards.pictures import content, write_pictures, write_shards

from lightning_binding import InputError
from lightning_binding.cli import main
from lightning_binding.data.broken import TooManyBroken
from lightning_binding.data.shards import convert
from lightning_binding.data.shards.convert import PROGRESS
from lightning_binding.data.shards.items import ShardItems
from lightning_binding.data.shards.store import Folder
from lightning_binding.data.shards.verify import verify

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "source")


def test_every_file_once_as_it_is(source: Path, tmp_path: Path) -> None:
    indices = write_shards(source, tmp_path / "out")
    assert indices["train"].class_names == CLASSES
    for side, count in (("train", 36), ("val", 9)):
        items = ShardItems(Folder(str(tmp_path / "out" / side)))
        assert items.total == count
        found = [items.example(index) for index in range(count)]
        assert sorted(each.name for each in found) == sorted(
            path.relative_to(source / side).as_posix() for path in (source / side).rglob("*.*")
        )
        for each in found:
            assert each.data == (source / side / each.name).read_bytes()
            assert CLASSES[each.label] == each.name.split("/")[0]
    sizes = [chunk.bytes for chunk in indices["train"].chunks]
    assert len(sizes) > 5
    assert max(sizes) < 3000 + 500


def test_shards_among_their_source_are_refused(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["shard", f"--source={source}", f"--out={source / 'shards'}", "--workers=0"])
    assert "lies in --source" in " ".join(capsys.readouterr().err.split())
    assert not (source / "shards").exists()


def test_the_order_is_shuffled_or_that_of_the_source(source: Path, tmp_path: Path) -> None:
    orders = {}
    for seed in (None, 0, 1):
        write_shards(source, tmp_path / str(seed), seed=seed)
        items = ShardItems(Folder(str(tmp_path / str(seed) / "train")))
        orders[seed] = [items.example(index).name for index in range(36)]
    assert orders[None] == sorted(orders[None])
    assert len({tuple(order) for order in orders.values()}) == 3
    assert {tuple(sorted(order)) for order in orders.values()} == {tuple(orders[None])}


def test_workers_change_nothing(source: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        write_shards(source, tmp_path / f"{workers}", workers=workers)
    assert content(tmp_path / "0") == content(tmp_path / "2")


@pytest.mark.filterwarnings("ignore:Skipped a broken")
def test_a_conversion_that_is_killed_goes_on(tmp_path: Path) -> None:
    source = write_pictures(tmp_path / "source", per_class=40)
    whole, out = tmp_path / "whole", tmp_path / "out"
    (source / "train" / "bee" / "3.png").write_bytes(b"no picture")
    write_shards(source, whole, chunk_bytes=900)
    kept: Counter[str] = Counter()
    for kill_at in (3, 40):
        args = (source, out, 900, 0, "image", 2)
        process = multiprocessing.get_context("fork").Process(target=write_shards, args=args)
        process.start()
        deadline = time.monotonic() + 60
        try:
            while len(list((out / PROGRESS).glob("*.json"))) < kill_at and process.is_alive():
                assert time.monotonic() < deadline
        finally:
            process.kill()
            process.join()
        assert (out / PROGRESS).is_dir(), "it was killed too late"
        time.sleep(0.5)  # the workers see it
        finished = [path.stem.split("-") for path in (out / PROGRESS).glob("*.json")]
        files = [out / side / f"chunk-{number}.bin" for side, number in finished]
        kept.update(f"{path} {path.stat().st_ino}" for path in files if path.is_file())
    write_shards(source, out, chunk_bytes=900, workers=2)
    assert content(out) == content(whole)
    now = {f"{path} {path.stat().st_ino}" for path in out.rglob("*.bin")}
    assert set(kept) <= now
    assert len(kept) > 40
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    write_shards(source, out, chunk_bytes=900)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_two_commands_at_a_time(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is told who is at work; the folder of one that was killed is free at once."""
    out, gate = tmp_path / "out", tmp_path / "gate"
    kind = convert.KINDS["image"]

    def check(path: str) -> None:
        while not gate.exists():
            time.sleep(0.01)
        kind.check(path)

    monkeypatch.setitem(convert.KINDS, "image", kind._replace(check=check))
    first = multiprocessing.get_context("fork").Process(target=write_shards, args=(source, out, 900, 0, "image", 2))
    first.start()
    deadline = time.monotonic() + 20
    while not (out / PROGRESS / "plan").is_file():
        assert time.monotonic() < deadline
    begun = content(out)
    with pytest.raises(
        InputError, match=rf"{out} is being written by process {first.pid} on .*, since .*: wait for it"
    ):
        write_shards(source, out, chunk_bytes=900)
    assert content(out) == begun
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    gate.touch()
    write_shards(source, out, chunk_bytes=900)
    write_shards(source, tmp_path / "whole", chunk_bytes=900)
    assert content(out) == content(tmp_path / "whole")
    assert not (out / ".lock").exists()


def test_an_end_killed_while_it_cleans_up(source: Path, tmp_path: Path) -> None:
    write_shards(source, tmp_path / "out")
    whole = content(tmp_path / "out")
    (tmp_path / "out" / PROGRESS).mkdir()
    (tmp_path / "out" / PROGRESS / "train-00000.json").write_text("{}")
    write_shards(source, tmp_path / "out")
    assert content(tmp_path / "out") == whole


@pytest.mark.filterwarnings("ignore:Skipped a broken")
def test_broken_files_are_left_out_and_listed(source: Path, tmp_path: Path) -> None:
    broken = [source / "train" / "ant" / "2.jpg", source / "val" / "cat" / "1.png"]
    broken[0].write_bytes(broken[0].read_bytes()[:-40])
    broken[1].write_bytes(b"")
    indices = write_shards(source, tmp_path / "out")
    assert [sum(chunk.examples for chunk in indices[side].chunks) for side in ("train", "val")] == [35, 8]
    lines = (tmp_path / "out" / "broken_files.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == [str(path) for path in broken]
    assert "truncated" in lines[0]
    with pytest.raises(TooManyBroken, match="1 of the 36 images"):
        write_shards(source, tmp_path / "other", max_broken=0)


@pytest.mark.filterwarnings("ignore:Skipped a broken image")
def test_a_share_of_broken_files_is_that_of_their_side(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ant", "bee"):
        next((source / "val" / name).iterdir()).write_bytes(b"")
    with pytest.raises(SystemExit):  # 0.07 of 9, but at least one; of all 45 it would be three
        main(["shard", f"--source={source}", f"--out={tmp_path / 'out'}", "--workers=0", "--max_broken=0.07"])
    message = capsys.readouterr().err
    assert "2 of the 9 images" in message
    assert "Raise --max_broken and give the command again" in message
    command = ["shard", f"--source={source}", f"--out={tmp_path / 'out'}", "--workers=0", "--max_broken=0.3"]
    assert main(command) == tmp_path / "out"  # and so it is


@pytest.mark.filterwarnings("ignore:Skipped a broken image")
def test_a_side_of_which_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said to be done leads to shards."""
    source = write_pictures(tmp_path / "source")
    shutil.rmtree(source / "val")
    for path in (path for name in CLASSES for path in sorted((source / "train" / name).iterdir())[1:]):
        path.unlink()
    command = ["shard", f"--source={source}", "--workers=0", "--max_broken=0.9"]
    share = "--held_out_share=0.4"
    main([*command, f"--out={tmp_path / 'whole'}", share])
    capsys.readouterr()
    items = ShardItems(Folder(str(tmp_path / "whole" / "val")))
    for index in range(items.total):
        (source / "train" / items.example(index).name).write_bytes(b"no picture")
    with pytest.raises(SystemExit):
        main([*command, f"--out={tmp_path / 'out'}", share])
    text = " ".join(capsys.readouterr().err.split())
    assert "No file of the side val can be decoded; see " in text
    assert "hold others out, with --val_root (a folder of them) or a larger --held_out_share; then give another" in text
    held_out = write_pictures(tmp_path / "other") / "val"
    assert main([*command, f"--out={tmp_path / 'again'}", f"--val_root={held_out}"]) == tmp_path / "again"


def test_a_file_that_cannot_be_read_just_now_is_not_left_out(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unread(path: str) -> None:
        raise OSError(errno.ESTALE, "stale file handle", path)

    kind = convert.KINDS["image"]
    monkeypatch.setitem(convert.KINDS, "image", kind._replace(check=unread))
    with pytest.raises(InputError, match=r"could not be read just now .*give the same command again"):
        write_shards(source, tmp_path / "out")
    assert not (tmp_path / "out" / "broken_files.txt").exists()
    monkeypatch.setitem(convert.KINDS, "image", kind)
    indices = write_shards(source, tmp_path / "out")
    assert [sum(chunk.examples for chunk in indices[side].chunks) for side in ("train", "val")] == [36, 9]


def test_another_source_or_another_option_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(source, out)
    with pytest.raises(InputError, match="holds shards of another source, or by other options"):
        write_shards(source, out, seed=1)
    (out / "train" / "index.json").unlink()
    with pytest.raises(InputError, match="holds shards of another source"):
        write_shards(source, out)
    (source / "train" / "ant" / "new.png").write_bytes((source / "train" / "ant" / "1.png").read_bytes())
    with pytest.raises(InputError, match="holds shards of another source"):
        write_shards(source, out)


def test_the_command(source: Path, tmp_path: Path, told: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["shard", f"--source={source}", f"--out={out}", "--workers=1"]
    assert main(command) == out
    assert "36 images in 1 shards" in told[0]
    assert "2 shards" in told[2]
    chunk = out / "val" / "chunk-00000.bin"
    altered = bytearray(chunk.read_bytes())
    altered[-1] ^= 1
    chunk.write_bytes(altered)
    for options in (command, ["shard", f"--out={out}"]):
        with pytest.raises(SystemExit):
            main(options)
        assert f"1 of 2 chunks in {out} are missing or damaged ({chunk}" in capsys.readouterr().err
    shutil.rmtree(out)
    for options, message in (
        (["shard", f"--out={out}"], "There are no shards in"),
        ([*command, "--chunk_mb=0"], "--chunk_mb 0 must be in"),
        (["shard", f"--out={out}", f"--source={tmp_path}/nowhere"], "There is no folder"),
    ):
        with pytest.raises(SystemExit):
            main(options)
        assert message in capsys.readouterr().err


def test_a_link_for_an_index_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_shards(source, out)
    index = out / "val" / "index.json"
    index.rename(tmp_path / "mine.json")
    index.symlink_to(tmp_path / "mine.json")
    for read in (lambda: Folder(str(index.parent)).index(), lambda: verify(out, 0), lambda: write_shards(source, out)):
        with pytest.raises(InputError, match=r"index\.json is a symbolic link, and links among shards are refused"):
            read()


def test_a_list_of_images(source: Path, tmp_path: Path) -> None:
    names = sorted(path.relative_to(source).as_posix() for path in (source / "train").rglob("*.*"))
    (source / "list.txt").write_text("# pictures\n" + "\n".join(names))
    indices = write_shards(source / "list.txt", tmp_path / "out")
    assert indices["train"].class_names == ()
    sides = [ShardItems(Folder(str(tmp_path / "out" / side))) for side in ("train", "val")]
    found = [items.example(index) for items in sides for index in range(items.total)]
    assert sorted(f"train/{each.name}" for each in found) == names
    assert {each.label for each in found} == {-1}


def test_too_many_shards(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_binding.data.shards.plan.MOST_CHUNKS", 35)
    with pytest.raises(InputError, match="36 shards of train are more than 35; give a larger --chunk_mb"):
        write_shards(source, tmp_path / "out", chunk_bytes=1)


def test_folders_of_frames_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder of frames, which is not converted"):
        write_shards(source, tmp_path / "out", kind="video")
