"""Tasks side by side, one thread each, without a change of the process's number of threads.

A task of few-shot learning is a few clips: its operations are too small to be split well between threads, and every
operation waits for its slowest thread, which on a shared machine is most of the time. Tasks share nothing but the sum
of their gradients, and batches of clips nothing at all: they run side by side.

`torch.set_num_threads` also changes the number of every thread that begins later
(https://github.com/pytorch/pytorch/issues/19001). OpenMP and MKL keep one number a thread, which is set instead.
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
"""The environment variable for the number of threads of enrolling and recognising."""

_TORCH = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
_WORKERS: ContextVar[int | None] = ContextVar("workers", default=None)  # of `each`, while operations are not split


def each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Apply a function to each item, on as many threads as torch may use, and return the results in order.

    Each thread runs torch's operations alone, and records gradients if the caller does. With one thread, or one item,
    the caller's thread does the work. Results do not depend on the number of threads, if it is above one.

    Args:
        function: must not change what several items share, and not draw from torch's global generator.
        items: are taken in order.

    Raises:
        Exception: the function's, on the first item in order for which it raised one.
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

    SER_FEWSHOT_THREADS sets another number for both, up to what torch may use.

    Raises:
        SettingsError: it is not a positive number.
    """
    chosen, most = _chosen(), _WORKERS.get() or torch.get_num_threads()
    token = _WORKERS.set(min(chosen or most, most))
    try:
        with threads(min(chosen or 1, most)):
            yield
    finally:
        _WORKERS.reset(token)


class Lock:
    """A lock that is new in copies, and open in a forked process, where its holder does not exist."""

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
    text = os.environ.get(THREADS, "").strip()
    if text and not (text.isdecimal() and int(text)):
        expected = "a number of threads, at least 1"
        raise SettingsError(THREADS, found=repr(text), expected=expected, remedy="Set one, or unset it.")
    return int(text) if text else None


@functools.cache
def _openmp() -> ThreadpoolController:
    return ThreadpoolController().select(internal_api="openmp")


@functools.cache
def _mkl() -> Callable[[int], int]:
    """Return the function that sets MKL's number of threads of the calling thread and returns the one before.

    0 follows OpenMP, the state before torch.set_num_threads. On Linux MKL is linked into torch itself, where
    threadpoolctl does not look for it.
    """
    try:
        found: Callable[[int], int] = ctypes.CDLL(str(_TORCH)).MKL_Set_Num_Threads_Local
    except (AttributeError, OSError):  # a torch without MKL, or a system where it cannot be reached
        return lambda _: 0
    return found


def _begin_alone() -> None:
    """Compute on one thread in a forked process, where OpenMP's others do not exist and it would wait for ever.

    https://github.com/pytorch/pytorch/issues/17199; PyTorch's DataLoader does the same in its workers.
    """
    _mkl()(1)
    _openmp().limit(limits=1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_alone)
