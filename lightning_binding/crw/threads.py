"""Independent pieces of work side by side, each with a thread of its own from its first operation to its last.

When every small operation is shared out instead, the threads wait for one another thousands of times a frame, and a
core that another program holds for a moment holds up all of them each time.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")


def each(function: Callable[[Item], object], items: Iterable[Item], device: torch.device) -> None:
    """Calls a function with each of some items, on as many threads as torch uses on the CPU, one by one elsewhere.

    Args:
        function: What to do; nothing that it computes has a gradient.
        items: What to do it with, in any order.
        device: Where it computes.
    """
    threads = torch.get_num_threads()

    def call(item: Item) -> None:
        with torch.inference_mode():
            function(item)

    if threads == 1 or device.type != "cpu":
        for item in items:
            call(item)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for _ in pool.map(call, items):  # raises what a call raised
                pass
    finally:
        torch.set_num_threads(threads)  # the number set in a thread is also that of threads that start later
