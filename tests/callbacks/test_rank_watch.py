"""Two ranks, of which one is killed, stopped or sleeps, anywhere: the other ends in time and says which."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import Fork
from launching import free_port
from lightning.pytorch import LightningModule, Trainer
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.utils.data import DataLoader

from lightning_binding import InputError, checkpoints
from lightning_binding.callbacks import RankWatch, rank_news, rank_progress, rank_store, rank_watch
from lightning_binding.fully_sharded import FullySharded

TIMEOUT = 4.0


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks on one machine hear of each other sooner."""
    monkeypatch.setattr(rank_watch, "LAST_WORDS", 1.5)
    monkeypatch.setattr(rank_news, "ROLL_CALL", 2.5)


class Troubled(LightningModule):
    """At its third step, a rank does what it is told."""

    def __init__(self, what: str, culprit: int) -> None:
        super().__init__()
        self.what, self.culprit = what, culprit
        self.layers = torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))

    def configure_model(self) -> None:
        if self.device_mesh is not None and not isinstance(self.layers[0], FSDPModule):
            for layer in self.layers:
                fully_shard(layer, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if batch_idx == 2:
            print("the third step", flush=True)
        what = self.what if batch_idx == 2 and self.global_rank == self.culprit else ""
        if what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        for place, layer in enumerate(self.layers):
            if what == ("asleep", "asleep within")[min(place, 1)]:
                time.sleep(1000)
            batch = layer(batch)
            if place == 1 and (what == "fails" or (self.what == "fails together" and batch_idx == 2)):
                raise ValueError("no more\nof \udcff")
            if what == "killed in silence" and place == 1:
                os.fork() and os.kill(os.getpid(), signal.SIGKILL)  # the child keeps the connections open
                time.sleep(20)
                os._exit(0)
            if what == "killed in backward" and place == 1:
                batch.register_hook(lambda gradient: os.kill(os.getpid(), signal.SIGKILL))
            if what == "asleep in backward" and place == 1:
                batch.register_hook(lambda gradient: time.sleep(1000))
            if self.what == "slow" and batch_idx == 2 and place == 1:
                batch.register_hook(lambda gradient: time.sleep(1.5 * TIMEOUT))
        return batch.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(what: str, culprit: int, sharded: bool, batches: int, timeout: float) -> None:
    """One rank of a fit in which a rank dies, hangs, or behaves."""
    world = int(os.environ["WORLD_SIZE"])
    trainer = Trainer(
        accelerator="cpu", devices=world, strategy=FullySharded() if sharded else "ddp", max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, callbacks=[RankWatch(timeout, batches)],
    )  # fmt: skip
    if what == "fewer batches" and trainer.global_rank == culprit:
        trainer.limit_train_batches = 3
    trainer.fit(Troubled(what, culprit), DataLoader(torch.ones(8 * world, 2), 2))
    print(f"steps {trainer.global_step}")


def both(
    what: str, culprit: int = 1, sharded: bool = False, batches: int = 1, world: int = 2, run: Any = fit
) -> list[Fork]:
    """Ranks as torchrun would start them, without anybody who watches over them."""
    group = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "test"}
    group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    ranks = [{**group, "RANK": rank, "LOCAL_RANK": rank} for rank in range(world)]
    return [Fork(run, what, culprit, sharded, batches, TIMEOUT, environment=rank) for rank in ranks]


@pytest.mark.parametrize("what", ["killed", "asleep"])
def test_the_culprit_is_named(what: str) -> None:
    first, second = both(what)
    try:
        begun = time.monotonic()
        status, text = first.wait(120)  # half an hour without the callback
        assert status not in (0, None)
        hangs = f"rank 1 did not come with its loss at step 2 within {TIMEOUT:g} s" in text
        assert hangs == (what == "asleep"), text
        assert ("rank 1 does not answer any more: it died" in text) == (what == "killed"), text
        assert time.monotonic() - begun < 100
        status, own = second.wait(60)
        assert status == (2 if what == "asleep" else -signal.SIGKILL)
        assert ("this rank, 1, hangs at step 2" in own and "in training_step" in own) == (what == "asleep"), own
    finally:
        for rank in (first, second):
            rank.close()


@pytest.mark.parametrize(("where", "culprit"), [(" in backward", 0), (" in backward", 1), ("", 0)])
def test_a_rank_that_dies(where: str, culprit: int) -> None:
    """The connection that the other one waits for closes, and says but a port."""
    text, dead = named(f"killed{where}", culprit, sharded=False, batches=3, status=1)
    dead.close()
    who = ("rank 0 or torchrun, which keeps the ranks together, has ended", "rank 1 does not answer any more")
    assert who[culprit] in text, text
    assert "about step 2, so this one ends, too" in text
    assert "RuntimeError" in text  # the error itself is shown, too


@pytest.mark.parametrize(("culprit", "batches"), [(0, 3), (1, 3), (1, 1)])
def test_a_rank_that_fails_alone(culprit: int, batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other waits in a collective, or for the one that comes late: it ends long before the timeout."""
    monkeypatch.setattr(f"{__name__}.TIMEOUT", 1000.0)
    monkeypatch.setattr(rank_progress, "GRACE", 3.0)
    begun = time.monotonic()
    first, second = both("fails", culprit, batches=batches)
    ranks = [first, second]
    try:
        status, text = ranks[1 - culprit].wait(120)
        assert status in (1, 2), text
        assert f"rank {culprit} ended by its own error (ValueError: no more of \\udcff), " in text
        assert "so this one ends, too: go on" in text
        assert time.monotonic() - begun < 100
    finally:
        for rank in ranks:
            rank.close()


def test_the_dead_among_four(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that live name it, those whose own neighbours live, too."""
    monkeypatch.setattr(f"{__name__}.TIMEOUT", 1000.0)
    ranks = both("killed in backward", 2, batches=3, world=4)
    for number, rank in enumerate(ranks):
        text = rank.wait(120)[1]
        rank.close()
        if number != 2:
            assert "rank 2 does not answer any more: it died, or stands still, about step 2" in text, (number, text)


def named(what: str, culprit: int, sharded: bool, batches: int = 1, status: int = 2) -> tuple[str, Fork]:
    """What the other rank says in the end, in time, and the one that hangs."""
    ranks = both(what, culprit, sharded, batches)
    begun = time.monotonic()
    found, text = ranks[1 - culprit].wait(120)
    ranks[1 - culprit].close()
    assert time.monotonic() - begun < 100  # of which the start is the most; half an hour without the callback
    assert found == status, text  # 2 by itself, 1 by the error in this fork
    return text, ranks[culprit]


def test_rank_0_hangs() -> None:
    text, culprit = named("asleep", 0, False, status=1)
    culprit.close()
    assert f"rank 0 did not come with its loss at step 2 within {TIMEOUT:g} s" in text, text


def cases() -> list[Any]:
    """Every place with either rank; the default run has one of each kind, as all of them are waiting."""
    places = [("asleep in backward", False), ("asleep", True), ("asleep within", True), ("asleep in backward", True)]
    default = {("asleep in backward", False, 0), ("asleep within", True, 1)}
    each = [(*place, culprit) for place in places for culprit in (0, 1)]
    return [pytest.param(*case, marks=[] if case in default else [pytest.mark.long]) for case in each]


@pytest.mark.parametrize(("what", "sharded", "culprit"), cases())
def test_a_hang_where_the_others_wait_in_a_collective(what: str, sharded: bool, culprit: int) -> None:
    """In a hook of the backward pass, and anywhere in a sharded network; the rank that hangs says where, and ends."""
    text, hung = named(what, culprit, sharded, batches=3)
    try:
        assert f"rank {culprit} did not come on at step 2 within {TIMEOUT:g} s" in text, text
        status, own = hung.wait(60)
        assert status == 2, own
        assert f"this rank, {culprit}, hangs at step 2: the others waited for {TIMEOUT:g} s. It stands here:" in own
        assert "in <lambda>" in own if "backward" in what else "in training_step" in own
    finally:
        hung.close()


@pytest.mark.long
def test_a_rank_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of rank 0 is stopped, and with it what the others ask about each other."""
    monkeypatch.setattr(rank_store, "PATIENCE", 2.0)
    first, second = both("asleep in backward", 0)
    try:
        deadline = time.monotonic() + 60
        while "third" not in second.wait(0)[1] and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(first.process.pid or 0, signal.SIGSTOP)
        status, text = second.wait(120)
        assert status not in (0, None), text
        assert "rank 0, which keeps the others together and does not answer, did not come on" in text, text
    finally:
        os.kill(first.process.pid or 0, signal.SIGCONT)
        for rank in (first, second):
            rank.close()


@pytest.mark.parametrize(("what", "sharded"), [("well", False), ("well", True), ("slow", False)])
def test_ranks_that_are_well(what: str, sharded: bool) -> None:
    """Slow ones, too, if they are slow together."""
    for rank in both(what, sharded=sharded):
        status, text = rank.wait(120)
        assert status == 0, text
        assert "steps 4" in text
        rank.close()


def test_a_death_that_closes_no_connection() -> None:
    text, dead = named("killed in silence", 1, sharded=False, batches=3)
    dead.close()
    assert "rank 1 does not answer any more: it died, or stands still, about step 2" in text, text
    assert "hangs" not in text


def test_ranks_with_unequal_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 1 has come to its end, and well, when rank 0 waits for it."""
    first, second = both("fewer batches")
    status, text = first.wait(120)
    assert status == 1, text
    assert "rank 1 came to the end of its training after 3 steps, others did not" in text
    assert second.wait(60)[0] == 0
    for rank in (first, second):
        rank.close()


def again(_: str, *args: Any) -> None:
    """A fit in which a rank fails alone, and then one that goes well, in the same group of processes."""
    with pytest.raises((ValueError, RuntimeError)):
        fit("fails together", *args)
    fit("slow", *args)


def test_a_second_fit_hears_nothing_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.TIMEOUT", 1.0)
    monkeypatch.setattr(rank_progress, "GRACE", 0.0)
    for rank in both("", run=again):
        status, text = rank.wait(120)
        rank.close()
        assert status == 0, text
        assert "steps 4" in text
        assert "ended by its own error" not in text


def test_a_checkpoint_that_is_being_written_is_finished_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a rank that ends because another has."""
    save, begun = torch.save, threading.Event()

    def slowly(*arguments: Any) -> None:
        begun.set()
        time.sleep(0.5)
        save(*arguments)

    monkeypatch.setattr(torch, "save", slowly)
    writer = threading.Thread(target=checkpoints.write_checkpoint, args=({}, tmp_path / "a.ckpt"))
    ended: list[bool] = []
    monkeypatch.setattr(os, "_exit", lambda _: ended.append((tmp_path / "a.ckpt").exists()))
    writer.start()
    assert begun.wait(20)
    watch: Any = RankWatch()
    watch._progress = object()  # it is at work
    watch._end(Trainer(accelerator="cpu", logger=False), "another has ended")
    writer.join()
    assert ended == [True]


def test_bad_numbers() -> None:
    with pytest.raises(InputError, match="timeout is 0"):
        RankWatch(0)
    with pytest.raises(InputError, match="every_n_batches is -1"):
        RankWatch(every_n_batches=-1)
