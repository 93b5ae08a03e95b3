"""Tasks side by side, one thread each.

A task of few-shot learning is a few clips: its operations are too small to be split well between the threads of one
operation, and every operation ends in a wait for the slowest of them, which on a machine that others use as well is
most of the time. Whole tasks depend on each other in nothing but the sum of their gradients, and batches of clips that
an encoder describes, in nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return what a function makes of each item, in order; items are shared out to as many threads as torch may use.

    Each of these threads runs torch's operations alone, and records gradients if the caller does. With one thread, or
    one item, the caller's thread does the work. Results do not depend on the number of threads, if it is above one.

    Args:
        function: must not change what several items share, and not draw from torch's global generator.
        items: are taken in order.

    Raises:
        Exception: what the function raised on the first item, in order, that it raised on.
    """
    allowed = torch.get_num_threads()
    workers = min(allowed, len(items))
    if workers < 2:
        return [function(item) for item in items]
    recording = torch.is_grad_enabled()

    def run(item: Item) -> Result:
        with torch.set_grad_enabled(recording):
            return function(item)

    try:
        with ThreadPoolExecutor(workers, "task", torch.set_num_threads, (1,)) as pool:
            return list(pool.map(run, items))
    finally:
        # A thread sets the number for itself, and for all that begin later.
        torch.set_num_threads(allowed)
