"""Threads of this package's own, whose number nobody else sees.

A task of few-shot learning is a few clips: its operations are too small to be split well between the threads of one
operation, and every operation ends in a wait for the slowest of them, which on a machine that others use as well is
most of the time. Whole tasks depend on each other in nothing but the sum of their gradients, and batches of clips that
an encoder describes, in nothing: they run side by side, each on one thread.

`torch.set_num_threads` cannot say that: it writes the number of the calling thread, and of every thread that begins
later (https://github.com/pytorch/pytorch/issues/19001). OpenMP and MKL keep a number for each thread, which is used.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

from ser_fewshot.errors import SettingsError

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = "SER_FEWSHOT_THREADS"
"""The environment variable that says how many threads enrolling and recognising take."""

_TORCH = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
_WORKERS: ContextVar[int | None] = ContextVar("workers", default=None)  # of `each`, while operations are not split


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
    workers = min(_WORKERS.get() or torch.get_num_threads(), len(items))
    if workers < 2:
        return [function(item) for item in items]
    recording = torch.is_grad_enabled()

    def run(item: Item) -> Result:
        with threads(1), torch.set_grad_enabled(recording):
            return function(item)

    with ThreadPoolExecutor(workers, "task") as pool:
        return list(pool.map(run, items))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Split torch's operations of this thread, and of no other, between so many threads."""
    torch.get_num_threads()  # the first call of a thread takes over the number of the process, so it must come before
    before = _mkl()(number)
    try:
        with _openmp().limit(limits=number):
            yield
    finally:
        _mkl()(before)


@contextmanager
def small_work() -> Iterator[None]:
    """Compute a batch of a few clips on one thread; several batches side by side on as many as torch may use.

    SER_FEWSHOT_THREADS says another number for both, up to what torch may use.

    Raises:
        SettingsError: it is no such number.
    """
    chosen, most = _chosen(), _WORKERS.get() or torch.get_num_threads()
    token = _WORKERS.set(min(chosen or most, most))
    try:
        with threads(min(chosen or 1, most)):
            yield
    finally:
        _WORKERS.reset(token)


class Lock:
    """A lock that is left out of copies, and that a forked process finds open: who held it is not there to let go."""

    def __init__(self) -> None:
        self._of_process: dict[int, threading.Lock] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock, and hold it while the context is open."""
        with self._of_process.setdefault(os.getpid(), threading.Lock()):
            yield

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


def _chosen() -> int | None:
    told = os.environ.get(THREADS, "").strip()
    if told and not (told.isdecimal() and int(told)):
        raise SettingsError(
            THREADS, found=repr(told), expected="a number of threads, at least 1", remedy="Set one, or unset it."
        )
    return int(told) if told else None


@functools.cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(internal_api="openmp")


@functools.cache
def _mkl() -> Callable[[int], int]:
    """Return what sets MKL's number of threads for the calling thread and returns the one before; 0 follows OpenMP.

    It follows OpenMP until somebody calls torch.set_num_threads. On Linux it is linked into torch itself, where
    threadpoolctl does not look for it.
    """
    try:
        found: Callable[[int], int] = ctypes.CDLL(str(_TORCH)).MKL_Set_Num_Threads_Local
    except (AttributeError, OSError):  # a torch without MKL, or a system where it cannot be reached
        return lambda _: 0
    return found


def _begin_alone() -> None:
    """Compute on one thread in a forked process: OpenMP's others are not there, and it would wait for them for ever.

    https://github.com/pytorch/pytorch/issues/17199; PyTorch's DataLoader does the same in its workers.
    """
    _mkl()(1)
    _openmp().limit(limits=1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_alone)
