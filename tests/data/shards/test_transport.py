"""Shards from a real server that stalls, fails, cuts and alters: what is read is what was written, or a sentence."""

import fcntl
import multiprocessing
import os
import signal
import socket
import ssl
import threading
import time
import urllib.error
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from data.shards.pictures import write_pictures, write_shards
from data.shards.server import Server, serving
from lightning.pytorch import LightningModule, Trainer

from lightning_binding import InputError
from lightning_binding.data import ShardedImageDataModule
from lightning_binding.data.shards import attempts, transport
from lightning_binding.data.shards import reading as reading_module
from lightning_binding.data.shards.cache import Cached
from lightning_binding.data.shards.chunk import Chunk
from lightning_binding.data.shards.index import ChunkInfo
from lightning_binding.data.shards.items import ShardItems
from lightning_binding.data.shards.locks import locked
from lightning_binding.data.shards.reading import Reading
from lightning_binding.data.shards.store import Folder
from lightning_binding.data.shards.transport import Disk, Http

IMAGES: dict[str, Any] = {"image_size": 8, "num_workers": 0, "batch_size": 4}
FIRST = "train/chunk-00000.bin"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    write_shards(write_pictures(root / "source"), root / "shards")
    return root / "shards"


@pytest.fixture
def server(shards: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(attempts, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("no_proxy", "*")
    with serving(shards) as found:
        yield found


def store(server: Server, folder: Path, most: int = 2**30, retries: int = 2, timeout: float = 0.3) -> Cached:
    return Cached(Http(f"{server.address}/train", timeout, retries), str(folder), most)


@pytest.mark.parametrize(
    "faults", [["500"], ["drop"], ["cut"], ["short"], ["altered"], ["long"], ["stall", "500"], ["drip"]]
)
def test_what_fails_for_a_while_is_fetched_again(
    server: Server, shards: Path, tmp_path: Path, faults: list[str]
) -> None:
    server.faults[FIRST] = list(faults)
    server.faults["train/index.json"] = [fault for fault in faults if fault in ("500", "drop", "stall")]
    cached = store(server, tmp_path / "cache")
    info = cached.index().chunks[0]
    chunk = cached.open(info)
    assert cached.path(info).read_bytes() == (shards / FIRST).read_bytes()
    assert server.asked[FIRST] == 1 + len(faults)
    chunk.close()
    cached.open(info).close()
    assert server.asked[FIRST] == 1 + len(faults)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("500", "in 3 attempts; the last one ended with HTTPError: HTTP Error 500"),
        ("drop", "ended with RemoteDisconnected"),
        ("cut", "bytes came, where the index says"),
        ("short", "bytes came, where the index says"),
        ("altered", "Altered: its checksum is not that of the index"),
        ("long", "it is longer than"),
        ("stall", "ended with TimeoutError: (timed out|the server takes too long), after [1-9]"),  # whichever is first
        ("trickle", "ended with TimeoutError: the server takes too long, after [1-9]"),
        ("drip", "ended with TimeoutError: the server takes too long, after 0 bytes"),
    ],
)
def test_what_fails_always_is_said(
    server: Server, tmp_path: Path, fault: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "SLOWEST", 2**20)
    server.faults[FIRST] = [fault] * 3
    cached = store(server, tmp_path / "cache")
    info = cached.index().chunks[0]
    started = time.monotonic()
    with pytest.raises(InputError, match=f"{FIRST} could not be fetched.*{message}"):
        cached.open(info)
    assert time.monotonic() - started < 10
    assert server.asked[FIRST] == 3
    assert not list((tmp_path / "cache").glob("*.bin")) + list((tmp_path / "cache").glob("*.part"))


def test_what_is_not_there_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    cached = store(server, tmp_path / "cache")
    with pytest.raises(InputError, match=r"nothing\.bin cannot be had: the server answers 404"):
        cached.open(ChunkInfo("nothing.bin", 1, 100, None))
    assert server.asked["train/nothing.bin"] == 1
    with pytest.raises(InputError, match=r"index\.json cannot be had: the server answers 404 .*that holds `train`"):
        Cached(Http(f"{server.address}/nowhere"), str(tmp_path), 1).index()


def test_no_server_and_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_WAIT", 0.01)
    with pytest.raises(InputError, match=r"could not be fetched in 2 attempts.*Connection refused"):
        Http("http://127.0.0.1:1", 1, 1).index()
    for wrong in ("file:///etc", "s3://bucket"):
        with pytest.raises(InputError, match=f"{wrong} is not read; expected is a folder, or an address"):
            Reading(cache=str(tmp_path)).store(wrong)
    with pytest.raises(InputError, match=r"give --data\.reading\.cache"):
        Reading().store("http://127.0.0.1")
    with pytest.raises(InputError, match="timeout is 0"):
        Reading(cache=str(tmp_path), timeout=0).store("http://127.0.0.1")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:port", "nonnumeric port"),
        ("http://127.0.0.1/a folder", "can't contain control characters"),
        ("http:///folder", "no host given"),
        (f"http://{'a' * 70}.example", "label .*too long"),
    ],
)
def test_an_address_that_is_none_is_not_tried_again(address: str, message: str) -> None:
    with pytest.raises(InputError, match=f"index.json cannot be had: .*{message}"):
        Http(address, 1, 1000).index()


def test_a_redirection_leads_to_no_other_protocol(server: Server) -> None:
    server.faults["train/index.json"] = ["ftp"]
    with pytest.raises(InputError, match=r"cannot be had: .*unknown url type: ftp"):
        Http(f"{server.address}/train").index()


def test_a_certificate_that_nobody_signed_is_not_tried_again(tmp_path: Path) -> None:
    """And a handshake that drips ends in time."""
    stranger = transport.hopeless(urllib.error.URLError(ssl.SSLCertVerificationError("self-signed certificate")))
    assert stranger
    assert not transport.hopeless(urllib.error.URLError(ConnectionResetError("reset")))
    with socket.create_server(("127.0.0.1", 0)) as slow:
        begin = b"\x16\x03\x03\x10\x00\x02\x00\x0f\xfc\x03\x03"  # of a long TLS record
        threading.Thread(target=drip, args=(slow, begin), daemon=True).start()
        started = time.monotonic()
        with pytest.raises(InputError, match=r"in 1 attempts; .*TimeoutError: the server takes too long"):
            Http(f"https://127.0.0.1:{slow.getsockname()[1]}", 0.3, 0).index()
        assert time.monotonic() - started < 5


def test_a_proxy_that_drips_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one to CONNECT, after which TLS would begin."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as slow:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{slow.getsockname()[1]}")
        args = (slow, b"HTTP/1.1 200 Connection established\r\nX: ")
        threading.Thread(target=drip, args=args, daemon=True).start()
        started = time.monotonic()
        with pytest.raises(InputError, match=r"in 1 attempts; .*TimeoutError: the server takes too long"):
            Http("https://shards.invalid", 0.3, 0).index()
        assert time.monotonic() - started < 5


def drip(server: socket.socket, begin: bytes) -> None:
    """A beginning, and then a byte now and then."""
    connection, _ = server.accept()
    with connection, suppress(OSError):
        connection.send(begin)
        while True:
            connection.send(b"x")
            time.sleep(0.05)


def size_of(folder: Path) -> int:
    """Bytes of the chunks in a cache that a thread may be filling: each once, though it be renamed meanwhile."""
    sizes = {}
    with locked(folder / "room.lock"):  # or a chunk that made room would be counted beside the one it made room for
        for path in folder.iterdir():
            with suppress(FileNotFoundError):
                if path.suffix in (".bin", ".part"):
                    found = path.stat()
                    sizes[found.st_ino] = found.st_size
    return sum(sizes.values())


def test_the_chunk_not_opened_for_longest_makes_room_but_none_in_use(server: Server, tmp_path: Path) -> None:
    infos = store(server, tmp_path).index().chunks[:6]
    largest = max(info.bytes for info in infos)
    cached = store(server, tmp_path / "cache", most=3 * largest)
    held = cached.open(infos[0])
    for info in (*infos[1:], infos[2]):
        cached.open(info).close()
        assert size_of(tmp_path / "cache") <= 3 * largest
        assert cached.path(infos[0]).is_file()
    kept = [info for info in infos if cached.path(info).is_file()]
    assert infos[2] in kept
    assert infos[1] not in kept
    held.example(0)
    held.close()
    for info in infos[1:4]:
        cached.open(info).close()
    assert not cached.path(infos[0]).is_file()
    tight = store(server, tmp_path / "tight", most=1)
    pinned = [tight.open(info) for info in infos]  # what is in use stays, even beyond the limit
    assert [chunk.count for chunk in pinned] == [info.examples for info in infos]
    for chunk in pinned:
        chunk.close()


def test_a_damaged_file_in_the_cache_is_fetched_again_and_a_link_refused(server: Server, tmp_path: Path) -> None:
    cached = store(server, tmp_path / "cache")
    info = cached.index().chunks[0]
    cached.open(info).close()
    for damage in (b"", cached.path(info).read_bytes()[:-1]):
        cached.path(info).write_bytes(damage)
        chunk = cached.open(info)
        assert chunk.bytes == info.bytes
        chunk.close()
    cached.path(info).unlink()
    cached.path(info).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"mine")
    with pytest.raises(InputError, match="links are refused"):
        cached.open(info)
    assert (tmp_path / "elsewhere").read_bytes() == b"mine"


def read_all(address: str, folder: Path, results: Any) -> None:
    cached = Cached(Http(f"{address}/train", 2, 2), str(folder), 2**30)
    items = ShardItems(cached)
    results.put([items.example(index).data for index in range(items.total)])


def test_processes_share_a_cache_and_fetch_once(server: Server, shards: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    readers = [context.Process(target=read_all, args=(server.address, tmp_path / "cache", results)) for _ in range(3)]
    for reader in readers:
        reader.start()
    found = [results.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join()
    items = ShardItems(Folder(str(shards / "train")))
    assert found == [[items.example(index).data for index in range(items.total)]] * 3
    chunks = {path: count for path, count in server.asked.items() if path.endswith(".bin")}
    assert set(chunks.values()) == {1}
    assert len(chunks) == len(items.index.chunks)


def test_a_process_that_is_killed_leaves_no_lock_and_its_room_is_taken_back(server: Server, tmp_path: Path) -> None:
    cached = store(server, tmp_path / "cache", timeout=20)
    infos = cached.index().chunks
    server.faults[FIRST] = ["stall"]
    process = multiprocessing.get_context("fork").Process(target=cached.open, args=(infos[0],))
    process.start()
    deadline = time.monotonic() + 20
    while not ((found := list((tmp_path / "cache").glob("*.part"))) and server.asked[FIRST]):
        assert time.monotonic() < deadline
    assert found[0].stat().st_size == infos[0].bytes  # counted whole
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    cached.open(infos[1]).close()
    assert not list((tmp_path / "cache").glob("*.part"))
    cached.open(infos[0]).close()


def test_the_next_chunks_are_fetched_meanwhile(server: Server, tmp_path: Path) -> None:
    cached = store(server, tmp_path / "cache")
    infos = cached.index().chunks
    server.faults[FIRST] = ["404"]  # left to whoever opens it
    cached.expect(infos[:5])
    deadline = time.monotonic() + 20
    while not all(cached.path(info).is_file() for info in infos[1:5]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    asked = dict(server.asked)
    for info in infos[1:5]:
        cached.open(info).close()
    assert dict(server.asked) == asked
    assert any(thread.name == "prefetch" for thread in threading.enumerate())


def test_what_is_expected_no_more_is_not_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that fell behind goes on with what is needed now; what is expected again makes room last."""
    cached = store(server, tmp_path / "cache", timeout=1)
    infos = cached.index().chunks
    for info in infos[1:3]:
        cached.fetch(info)
    cached.most = 4 * max(info.bytes for info in infos)
    server.faults[FIRST] = ["stall"]
    cached.expect([infos[0], infos[6]])
    deadline = time.monotonic() + 20
    while not server.asked[FIRST]:
        assert time.monotonic() < deadline
    cached.expect([infos[1], infos[3], infos[4]])
    while not cached.path(infos[4]).is_file():
        assert time.monotonic() < deadline
    assert not server.asked[f"train/{infos[6].file}"]
    there = [info.file for info in infos if cached.path(info).is_file()]
    assert there == [infos[at].file for at in (0, 1, 3, 4)]
    cached.expect([infos[4], infos[1]], past=[infos[3], infos[0], infos[7]])
    kept = sorted((at for at in (0, 1, 3, 4)), key=lambda at: cached.path(infos[at]).stat().st_mtime_ns)
    assert kept == [3, 0, 1, 4]  # what makes room first
    assert not cached.path(infos[7]).exists()  # what is past is not fetched again
    cached.path(infos[7]).symlink_to(tmp_path / "mine")
    (tmp_path / "mine").touch()
    os.utime(tmp_path / "mine", (1, 1))
    utime = os.utime

    def of_another(path: Path, *args: Any, ns: tuple[int, int] | None = None, **options: Any) -> None:
        if ns is not None:
            raise PermissionError
        utime(path, *args, **options)

    before = cached.path(infos[3]).stat().st_mtime_ns
    with monkeypatch.context() as patched:
        patched.setattr(os, "utime", of_another)  # as in a cache that a group shares
        time.sleep(0.05)
        cached.expect([infos[3]], past=[infos[7]])
    assert cached.path(infos[3]).stat().st_mtime_ns > before
    cached.expect([infos[3]], past=[infos[7]])
    assert (tmp_path / "mine").stat().st_mtime == 1  # what a link names is not the cache's


def test_a_folder_through_a_cache(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "FIRST_WAIT", 0.01)
    root = tmp_path / "train"
    root.mkdir()
    for path in (shards / "train").iterdir():
        (root / path.name).write_bytes(path.read_bytes())
    cached = Cached(Disk(str(root), 1), str(tmp_path / "cache"), 2**30)
    infos = cached.index().chunks
    cached.open(infos[0]).close()
    (root / infos[1].file).write_bytes(bytes(infos[1].bytes))
    with pytest.raises(InputError, match="checksum is not that of the index"):
        cached.open(infos[1])
    (root / infos[2].file).unlink()
    (root / infos[2].file).symlink_to(root / infos[0].file)
    with pytest.raises(InputError, match="Too many levels of symbolic links"):
        cached.open(infos[2])


@pytest.fixture
def arrivals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each chunk that came into a cache, in whichever process."""
    arrived, replace = tmp_path / "arrived", os.replace

    def noted(source: str, to: Path) -> None:
        if (room := Path(to).with_name("room.lock")).exists():  # whoever makes room must not list the files now
            with open(room) as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        replace(source, to)
        with open(arrived, "a") as file:
            file.write(f"{to}\n")

    monkeypatch.setattr(os, "replace", noted)
    return arrived


@pytest.mark.parametrize("workers", [0, 2])
def test_training_over_http_with_a_small_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrivals: Path, workers: int
) -> None:
    """The batches are those of the folder, whatever the server does, and hardly a chunk comes twice."""
    monkeypatch.setattr(attempts, "FIRST_WAIT", 0.01)
    monkeypatch.setenv("no_proxy", "*")
    root = tmp_path / "shards"
    chunks = write_shards(write_pictures(tmp_path / "source", per_class=40), root)["train"].chunks
    assert len(chunks) > 25
    blocks = 5 if workers else 3  # two workers read four batches ahead, more than two blocks of two chunks; else one
    limit = blocks * 2 * max(info.bytes for info in chunks)
    reading = Reading(2, cache=str(tmp_path / "cache"), cache_gb=limit / 2**30, timeout=0.5, retries=5)
    options = {**IMAGES, "num_workers": workers}
    arrivals.unlink(missing_ok=True)
    with serving(root) as server, warnings.catch_warnings(action="error", category=UserWarning):
        for info, fault in zip(chunks, ("500", "cut", "altered", "drop", "stall"), strict=False):
            server.faults[f"train/{info.file}"] = [fault]
        loader = ShardedImageDataModule(server.address, reading, **options).train_dataloader()
        plain = ShardedImageDataModule(str(root), Reading(2), **IMAGES).train_dataloader()
        for a, b in zip(loader, plain, strict=True):
            assert torch.equal(a["image"], b["image"])
            assert torch.equal(a["label"], b["label"])
            assert size_of(tmp_path / "cache") <= limit
        assert sum(server.asked[f"train/{info.file}"] for info in chunks) >= len(chunks) + 5
        came = Counter(arrivals.read_text().split())
        assert len(came) == len(chunks)
        assert came.total() <= len(chunks) + 2
        if workers:
            loader._iterator._shutdown_workers()  # type: ignore[union-attr]


def test_a_cache_too_small_for_what_workers_hold_is_warned_of(shards: Path, tmp_path: Path) -> None:
    infos = Folder(str(shards / "train")).index().chunks
    size = 4 * max(info.bytes for info in infos) / 2**30
    reading = Reading(1, cache=str(tmp_path / "cache"), cache_gb=size)
    options = {**IMAGES, "num_workers": 2}
    with pytest.warns(
        UserWarning, match=r"draws 16 examples before they are read, so that 6 blocks of 1 chunks are in"
    ):
        ShardedImageDataModule(str(shards), reading, **options).train_dataloader()


@pytest.mark.parametrize(
    ("world", "streams", "read_ahead", "behind"),
    [(1, None, 0, 0), (1, None, 5, 1), (1, 2, 5, 1), (1, 2, 21, 2), (8, 1, 8, 7), (8, 8, 8, 1), (2, 4, 21, 2)],
)
def test_how_far_reading_ahead_goes(
    shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    world: int,
    streams: int | None,
    read_ahead: int,
    behind: int,
) -> None:
    """In each stream, whose examples the ranks take in turn; here a block has ten."""
    monkeypatch.setattr(reading_module, "replicas", lambda: (world, 0))
    items = ShardItems(Folder(str(shards / "train")))
    monkeypatch.setattr(ShardItems, "sizes", [10] * len(items.sizes))
    reading = Reading(1, streams, cache=str(tmp_path))
    data: Any = range(10 * len(items.sizes))
    sampler = reading.sampler(data, items, 0, read_ahead=read_ahead)
    assert sampler.behind == behind


class Recorder(LightningModule):
    """Writes the sums of the images that a rank saw, which tell them apart, to a file of that rank."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        with open(self.folder / f"{self.global_rank} {self.current_epoch}", "a") as file:
            file.writelines(f"{image.double().sum():.0f}\n" for image in batch["image"])
        return self.weight * 0

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore")
def test_two_ranks_of_a_trainer_share_a_cache_and_see_no_image_twice(
    server: Server, shards: Path, tmp_path: Path
) -> None:
    (tmp_path / "seen").mkdir()
    reading = Reading(1, cache=str(tmp_path / "cache"))
    data = ShardedImageDataModule(server.address, reading, **{**IMAGES, "batch_size": 3, "horizontal_flip": False})
    trainer = Trainer(
        accelerator="cpu", devices=2, strategy="ddp_fork", max_epochs=2, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(Recorder(tmp_path / "seen"), data)
    images = ShardedImageDataModule(str(shards), **IMAGES).reference_dataloader()
    expected = sorted(f"{image.double().sum():.0f}" for batch in images for image in batch["image"])
    parts = {path.name: path.read_text().split() for path in (tmp_path / "seen").iterdir()}
    for epoch in range(2):
        assert sorted(parts[f"0 {epoch}"] + parts[f"1 {epoch}"]) == expected
    assert parts["0 0"] != parts["0 1"]
    assert {count for path, count in server.asked.items() if path.startswith("train/chunk")} == {1}


def test_a_cache_too_small_for_two_blocks_is_refused(server: Server, shards: Path, tmp_path: Path) -> None:
    """Two ranks of a machine need twice as much, as far as there are chunks."""
    infos = Folder(str(shards / "train")).index().chunks
    largest, options = max(info.bytes for info in infos), {**IMAGES, "batch_size": 3}
    reading = Reading(1, cache=str(tmp_path / "cache"), cache_gb=3 * largest / 2**30)
    data = ShardedImageDataModule(server.address, reading, **options)
    data.train_dataloader()
    data.trainer = Trainer(accelerator="cpu", devices=2, logger=False, enable_checkpointing=False)
    with pytest.raises(
        InputError, match=r"the run needs .* on this machine: two blocks of 1 .*1 in each of its 2 ranks"
    ):
        data.train_dataloader()
    everything = Reading(100, cache=str(tmp_path / "cache"), cache_gb=len(infos) * largest / 2**30)
    data.reading = everything
    data.train_dataloader()


def test_a_chunk_is_read_whole_where_it_is_removed(server: Server, tmp_path: Path) -> None:
    cached = store(server, tmp_path / "cache")
    info = cached.index().chunks[0]
    chunk: Chunk = cached.open(info)
    cached.path(info).unlink()
    assert [chunk.example(index).label for index in range(chunk.count)]
    chunk.close()
