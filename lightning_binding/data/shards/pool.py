"""Work in several processes, which end with the one that began it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from lightning_binding.errors import InputError


def in_processes(function: Callable[[Any], Any], jobs: list[Any], workers: int) -> Iterator[Any]:
    """The results of a function, as they come, in the order of the jobs.

    Raises:
        InputError: A process was killed.
    """
    if workers == 0 or not jobs:
        yield from map(function, jobs)
        return
    try:
        with ProcessPoolExecutor(min(workers, len(jobs)), initializer=partial(_end_with, os.getpid())) as pool:
            try:
                yield from pool.map(function, jobs)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except BrokenProcessPool as error:
        raise InputError(
            "a process died at work on shards; the system kills processes when memory is short. Give fewer "
            "(--workers) or smaller chunks (--chunk_mb); finished chunks are kept."
        ) from error


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone: one that is killed cannot say so."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
