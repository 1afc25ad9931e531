"""Child processes that do not hear what asks a run to stop: the process that started them does, and ends them itself.

A scheduler, a container and a shell send SIGTERM, or the warning before a job's time is up, to all processes of a run.
Where that ends those that read data or hold environments, the run dies of their death before it has saved anything.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its own end of children is registered before the one below, and so runs after it
import signal
from collections.abc import Iterator
from contextlib import contextmanager

STOPS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def sheltered() -> Iterator[None]:
    """Processes that are started inside never get SIGTERM, SIGUSR1 or SIGUSR2.

    The signals are blocked meanwhile, which children inherit, and theirs stay so. One that comes meanwhile is not lost:
    another thread hears it, or this one at the end. Such children end by `kill`, or because their parent is gone.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@atexit.register
def _end_children() -> None:
    """`multiprocessing` ends daemons by SIGTERM, and waits: for ever, for those that do not hear it."""
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
