"""Child processes that do not hear what asks a run to stop: the process that started them does, and ends them itself.

A scheduler, a container and a shell send SIGTERM, or the warning before a job's time is up, to all processes of a run.
Where that ends those that read data or hold environments, the run dies of their death before it has saved anything.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its own end of children is registered before the one below, and so runs after it
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

STOPS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)  # SIGHUP: a terminal was closed
_children: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


@contextmanager
def sheltered() -> Iterator[None]:
    """Processes that are started inside never get SIGTERM, SIGHUP, SIGUSR1 or SIGUSR2.

    The signals are blocked meanwhile, which children inherit, and theirs stay so. One that comes meanwhile is not lost:
    another thread hears it, or this one at the end. Such children end by `kill`, or because their parent is gone, not
    by `terminate`, a SIGTERM. What they start inherits it, and so does all that a fork server starts later which was
    started inside.
    """
    resource_tracker.ensure_running()  # to start it, inside, would unblock SIGTERM
    others = set(multiprocessing.active_children())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _children.update(set(multiprocessing.active_children()) - others)


@atexit.register
def _end_children() -> None:
    """`multiprocessing` ends daemons by SIGTERM, and waits: for ever, for those that do not hear it."""
    for child in set(_children) & set(multiprocessing.active_children()):
        if child.daemon:
            child.kill()
