"""Children that a signal to the whole group passes by, and that keep nobody waiting at the end."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from types import FrameType

import pytest
from forks import Fork

from lightning_binding import sheltered as module
from lightning_binding.sheltered import STOPS, sheltered

HANGING = f"""
import importlib.util, multiprocessing, time
spec = importlib.util.spec_from_file_location("module", {module.__file__!r})  # without the package, which imports torch
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
with module.sheltered():
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True).start()
print("end", flush=True)
"""


def sleep_as_new(stop: signal.Signals) -> None:
    signal.signal(stop, signal.SIG_DFL)  # a trainer may have left a handler in this process, which forks have
    time.sleep(600)


@pytest.mark.parametrize("stop", STOPS)
def test_a_child_does_not_hear_it(stop: signal.Signals) -> None:
    context = multiprocessing.get_context("fork")
    with sheltered():
        child = context.Process(target=time.sleep, args=(600,), daemon=True)
        child.start()
    bare = context.Process(target=sleep_as_new, args=(stop,), daemon=True)
    bare.start()
    time.sleep(0.5)  # until it sleeps
    for process in (child, bare):
        assert process.pid is not None
        os.kill(process.pid, stop)
    bare.join(30)
    assert bare.exitcode == -stop
    assert child.exitcode is None
    child.kill()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL


def test_what_comes_meanwhile_is_not_lost() -> None:
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGUSR1, hear)
    try:
        with sheltered():
            os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_inside_of_another_it_changes_nothing() -> None:
    with sheltered():
        with sheltered():
            pass
        assert set(STOPS) <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert not set(STOPS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_process_does_not_wait_for_one_that_hangs() -> None:
    result = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (0, "end\n"), result.stderr


def test_what_others_started_is_left_to_them() -> None:
    code = HANGING.replace('print("end"', 'pool = multiprocessing.get_context("fork").Pool(1)\nprint("end"')
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (0, "end\n"), result.stderr


def test_without_shelter_the_group_dies() -> None:
    """The tests above would show nothing if a signal to a group reached the leader alone."""

    def target() -> None:
        os.setpgid(0, 0)
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        child.start()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.killpg(0, signal.SIGUSR1)
        child.join(30)
        assert child.exitcode == -signal.SIGUSR1

    fork = Fork(target)
    try:
        assert fork.wait(60) == (0, "")
    finally:
        fork.close()
