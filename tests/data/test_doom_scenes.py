"""Scenes of Doom: with a stand-in for the game everywhere, and with the game itself where the extra is installed."""

import gc
import itertools
import os
import pickle
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lightning_binding import InputError
from lightning_binding.data import DoomScenesDataModule
from lightning_binding.data.doom_game import open_game, scenario_file, screen_resolution
from lightning_binding.data.doom_scenes import DoomClips, DoomSequences, Studio
from lightning_binding.masks import read_mask

from .doom_double import FakeGame


def studio(**options):
    return Studio(["one", "two"], (24, 32), 2, 1, lambda *given: FakeGame(*given, **options))


def test_scenarios_take_turns_and_games_are_opened_once():
    opened = []

    def opener(scenario, height, width):
        opened.append((scenario, height, width))
        return FakeGame(scenario, height, width)

    clips = DoomClips(Studio(["one", "two"], (24, 32), 2, 1, opener), 6, 3, 0)
    for clip in clips:
        assert clip["video"].shape == (3, 3, 24, 32)
        assert clip["mask"].shape == (3, 24, 32)
    assert opened == [("one", 24, 32), ("two", 24, 32)]


def test_clips_depend_on_seed_epoch_and_index_alone():
    clips, others, seeded = (DoomClips(studio(), 6, 3, seed) for seed in (0, 0, 1))
    for index in (4, 1, 4):
        assert torch.equal(clips[index, 2]["video"], others[index, 2]["video"])
        assert not torch.equal(clips[index, 2]["video"], others[index, 3]["video"])
        assert not torch.equal(clips[index, 2]["video"], seeded[index, 2]["video"])


def test_games_stay_in_their_process():
    taken = studio()
    taken.opener = FakeGame
    clips = DoomClips(taken, 6, 3, 0)
    clip = clips[0]
    copy = pickle.loads(pickle.dumps(clips))
    assert clips.studio._games
    assert not copy.studio._games
    assert torch.equal(copy[0]["mask"], clip["mask"])


def test_games_are_closed_by_those_who_opened_them(monkeypatch):
    opened = []

    def opener(*given):
        opened.append(FakeGame(*given))
        return opened[-1]

    taken = Studio(["one", "two"], (24, 32), 2, 1, opener)
    clips = DoomClips(taken, 6, 3, 0)
    before = [clips[index]["video"] for index in range(2)]
    with monkeypatch.context() as fork:  # a forked process knows games that are not its own
        fork.setattr(os, "getpid", lambda: -1)
        taken.close()
    assert not any(game.closed for game in opened)
    taken.close()
    assert [game.closed for game in opened] == [True, True]
    assert torch.equal(clips[0]["video"], before[0])
    assert len(opened) == 3


def test_the_end_of_a_stage_ends_the_games(monkeypatch):
    opened = []

    class Opened(FakeGame):
        def __init__(self, *given):
            super().__init__(*given)
            opened.append(self)

    monkeypatch.setattr(Studio.__init__, "__defaults__", (Opened,))
    data = DoomScenesDataModule(resolution=(24, 32), eval_frames=4, least_area=0.01)
    data.train_set()[0], data.eval_set()[0]
    assert [game.closed for game in opened] == [False, False]
    data.teardown("fit")
    assert [game.closed for game in opened] == [True, True]


def test_objects_of_a_sequence_are_those_of_its_first_frame():
    for sequence in DoomSequences(studio(), 5, 20, 0.02):
        first = sequence["mask"][0].flatten().bincount()
        assert len(first) > 1
        assert (first[1:] >= 0.02 * 24 * 32).all()
        assert sequence["mask"].max() == len(first) - 1
        assert len(sequence["frame_names"]) == len(sequence["video"]) == 20
    assert sequence["name"] == "doom-0004"


def test_episodes_that_end_or_show_nothing_are_said():
    with pytest.raises(InputError, match="none of 50 episodes of one lasts for 8 frames"):
        DoomClips(studio(lasts=3), 6, 8, 0)[0]
    with pytest.raises(InputError, match=r"none of 50 episodes of two .* shows an object in the first"):
        DoomSequences(studio(), 5, 4, 0.5)[1]


def test_without_vizdoom_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(InputError, match=r"scenes of Doom needs.*pip install 'lightning-binding\[doom\]'"):
        DoomScenesDataModule().setup("fit")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tics": 0}, "tics is 0; it must be 1 or more"),
        ({"shrink": 7}, r"shrink is 7, which does not divide the resolution \[240, 320\]"),
        ({"least_area": 0.0}, "least_area is 0.0"),
        ({"scenarios": []}, "scenarios is empty"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        DoomScenesDataModule(**wrong)


def engines(parent):
    """The processes that a process has begun."""
    children = [path.read_text().split() for path in Path(f"/proc/{parent}/task").glob("*/children")]
    return [int(child) for each in children for child in each]


def ends(process):
    """Whether a process ends soon."""
    for _ in range(200):
        try:
            if Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


class TestWithTheGame:
    """These run where the extra `doom` is installed."""

    @pytest.fixture(autouse=True)
    def _needs_vizdoom(self):
        pytest.importorskip("vizdoom")

    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
    def test_the_engine_ends_with_its_process_however_that_ends(self, end, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        read, write = os.pipe()
        parent = os.fork()
        if parent == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                _game = open_game("basic", 120, 160)
                os.write(write, b"open")
                time.sleep(0.2 if end is None else 60)
            finally:
                os._exit(1)  # no destructor is called
        assert os.read(read, 4) == b"open"
        begun = engines(parent)
        assert begun
        if end is not None:
            os.kill(parent, end)
        os.waitpid(parent, 0)
        assert all(ends(process) for process in begun)

    def test_engines_of_workers_end_with_the_loader(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = DoomScenesDataModule(resolution=(120, 160), train_clips=2, batch_size=1, num_workers=1)
        loader = data.train_dataloader()
        assert len(list(loader)) == 2
        (worker,) = loader._iterator._workers  # it stays for the next epoch
        begun = engines(worker.pid)
        assert len(begun) == 2  # one of each scenario
        del loader
        gc.collect()
        assert all(ends(process) for process in begun)

    def test_scenes_repeat_in_other_processes_and_masks_fit_them(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        data = DoomScenesDataModule(resolution=(120, 160), train_clips=4, batch_size=2, eval_frames=6, num_workers=1)
        data.setup("fit")
        batches = list(data.train_dataloader())
        here = DoomScenesDataModule(resolution=(120, 160), train_clips=4, batch_size=2, num_workers=0)
        for batch, again in zip(batches, here.train_dataloader(), strict=True):
            assert batch["video"].shape == (2, 4, 3, 120, 160)
            assert torch.equal(batch["video"], again["video"])
            assert torch.equal(batch["mask"], again["mask"])
        sequence, again = data.eval_set()[0], data.eval_set()[0]
        assert torch.equal(sequence["video"], again["video"])
        assert torch.equal(sequence["mask"], again["mask"])
        assert os.listdir(tmp_path) == []  # the engine leaves nothing behind

    def test_masks_are_where_the_pictures_change(self):
        """Demons are red on grey and brown: their pixels are redder than what surrounds them."""
        data = DoomScenesDataModule(["defend_the_line"], eval_sequences=3, eval_frames=8)
        for sequence in data.eval_set():
            red = sequence["video"][:, 0].float() - sequence["video"][:, 1:].float().mean(1)
            mask = sequence["mask"]
            largest = mask[0].flatten().bincount()[1:].argmax() + 1
            inside = mask == largest
            assert red[inside].mean() > red[mask == 0].mean() + 10
            centre = [torch.nonzero(frame).float().mean(0) for frame in inside if frame.any()]
            steps = [(b - a).norm().item() for a, b in itertools.pairwise(centre)]
            assert max(steps) < 40

    def test_sequences_are_written_for_others(self, tmp_path):
        data = DoomScenesDataModule(resolution=(120, 160), shrink=2, eval_sequences=2, eval_frames=3, least_area=0.002)
        data.write_davis(str(tmp_path))
        sequence = data.eval_set()[1]
        written = read_mask(tmp_path / "Annotations" / "480p" / "doom-0001" / "00002.png")
        assert torch.equal(written, sequence["mask"][2])
        assert written.shape == (60, 80)

    def test_what_vizdoom_has_not_is_said(self):
        with pytest.raises(InputError, match=r"no scenario 'defend_the_lin', .* did you mean defend_the_line"):
            scenario_file("defend_the_lin")
        with pytest.raises(InputError, match=r"resolution is \[100, 100\].*\[240, 320\]"):
            screen_resolution(100, 100)
        game = open_game(scenario_file("health_gathering"), 120, 160)
        game.set_seed(1)
        game.new_episode()
        assert np.asarray(game.get_state().screen_buffer).shape == (3, 120, 160)
