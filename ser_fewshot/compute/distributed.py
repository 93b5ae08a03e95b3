"""Several processes, as `torchrun` or `accelerate launch` start them: rank, device, and sums over all of them.

The only module that uses accelerate. In a single process nothing here imports it, opens a port or waits. Only numbers
travel between processes, never objects: nothing is unpickled.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar, get_args

from ser_fewshot.errors import DistributedError, SettingsError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.amp.grad_scaler import GradScaler

Precision = Literal["fp32", "bf16", "fp16"]
"""Of the encoder's operations in training; its weights, and all that follows it, stay in single precision."""

Item = TypeVar("Item")

_PATIENCE = timedelta(minutes=30)  # for a process that is alive and does not answer; one that dies is noticed at once


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ["RANK"]) if world_size() > 1 else 0


def world_size() -> int:
    """Return how many processes there are, on all nodes."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def is_main() -> bool:
    """Return whether this is the process that writes files and prints."""
    return rank() == 0


@contextmanager
def alone() -> Iterator[None]:
    """Act as a single process while the context is open; the others go on by themselves."""
    left = {name: os.environ.pop(name) for name in ("RANK", "WORLD_SIZE") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(left)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM in one of several processes into an error that says how to go on.

    Launchers send it to the other processes when one dies, and clusters at the time limit.

    Raises:
        DistributedError: SIGTERM came.
    """
    # Only the main thread may set a signal handler; Ray works in another.
    if world_size() == 1 or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_number: int, _frame: object) -> NoReturn:
        raise _lost("a request to end, as the others get when one of the processes dies, or all at a time limit")

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def share(items: Sequence[Item]) -> list[Item]:
    """Return every world_size-th item, from this process's rank on."""
    return list(items[rank() :: world_size()])


@dataclass(frozen=True, eq=False)
class Compute:
    """The device and the precision of networks.

    Attributes:
        device: of weights and batches.
        precision: of the encoder in training.
        autocast: a context in which operations choose that precision.
        scaler: keeps gradients of half precision from vanishing; None where the precision needs none.
    """

    device: torch.device
    precision: Precision = "fp32"
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    scaler: GradScaler | None = None


def compute(device: str = "cpu", precision: Precision = "fp32") -> Compute:
    """Join the other processes, if there are any, and return where and how this one computes.

    Args:
        device: "cpu", "cuda", "cuda:1", or "auto" for a GPU where there is one; each of several processes has its own.
        precision: see `Precision`.

    Raises:
        SettingsError: there is no such device, it cannot compute in this precision, or several processes are to share
            one GPU.
        DistributedError: the other processes cannot be reached.
    """
    chosen = _device(device)
    if precision not in get_args(Precision):
        expected = " | ".join(get_args(Precision))
        raise SettingsError("precision", found=repr(precision), expected=expected, remedy="Choose one of these.")
    if world_size() > 1:
        joined = _join(cpu=chosen.type == "cpu")
        chosen = chosen if chosen.type == "cpu" else joined.device
    if precision == "fp32":
        return Compute(chosen)
    _check_precision(chosen, precision)
    from accelerate import Accelerator  # noqa: PLC0415
    from accelerate.state import AcceleratorState  # noqa: PLC0415

    AcceleratorState._reset_state()  # a program may train twice, in different precisions
    accelerator: Any = Accelerator(cpu=chosen.type == "cpu", mixed_precision=precision)
    return Compute(chosen, precision, accelerator.autocast, accelerator.scaler)


def barrier() -> None:
    """Wait until every process is here.

    Raises:
        DistributedError: one of them is gone.
    """
    if world_size() > 1:
        with _explained():
            _join().wait_for_everyone()


def total(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes, on its own device: the same in each of them, to the bit.

    Raises:
        DistributedError: one of them is gone.
    """
    if world_size() == 1:
        return values
    from accelerate.utils import reduce  # noqa: PLC0415

    with _explained():
        summed: Tensor = reduce(values.to(_join().device), "sum")
    return summed.to(values.device)


def total_gradients(parameters: Sequence[torch.nn.Parameter], loss: float) -> float:
    """Replace each gradient by its sum over all processes, in one message, and return the sum of a loss.

    A parameter without a gradient in any process has none afterwards, so that an optimiser leaves it alone.

    Raises:
        DistributedError: a process is gone.
    """
    if world_size() == 1:
        return loss
    import torch  # noqa: PLC0415

    grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    known = grads[0].new_tensor([*(one.grad is not None for one in parameters), loss])
    summed = total(torch.cat([*(grad.flatten() for grad in grads), known]))
    *parts, known = torch.split(summed, [*(grad.numel() for grad in grads), len(known)])
    for parameter, part, has in zip(parameters, parts, known[:-1].tolist(), strict=True):
        parameter.grad = part.view_as(parameter) if has else None
    return float(known[-1])


def check_alike(what: str, digest: bytes) -> None:
    """Refuse to go on if a digest, of `what`, is not the same in every process.

    Raises:
        DistributedError: it is not, or a process is gone.
    """
    if world_size() == 1:
        return
    import torch  # noqa: PLC0415

    own = torch.tensor(list(digest), dtype=torch.int64)
    moments = total(torch.stack([own, own.square()]))
    if not torch.equal(moments, world_size() * torch.stack([own, own.square()])):
        raise DistributedError(
            f"process {rank()} of {world_size()}",
            found=f"{what} that are not those of every other process",
            expected="the same everywhere",
            remedy="Let all nodes see the same files at the same places, with the same versions of the libraries.",
        )


def _device(name: str) -> torch.device:
    import torch  # noqa: PLC0415

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, number = name.partition(":")
    n_gpus = torch.cuda.device_count()
    found = f"{name!r}, and {n_gpus} GPUs that torch {torch.__version__} can use"
    if kind not in ("cpu", "cuda") or (number and (kind == "cpu" or not number.isdecimal())):
        remedy = "Choose one of these."
    elif kind == "cuda" and int(number or 0) >= n_gpus:
        remedy = "Choose another device, or install a torch that is built for your GPU."
    elif number and world_size() > 1:
        found, remedy = f"{name!r} for {world_size()} processes", "Say 'cuda': each process takes a GPU of its own."
    else:
        return torch.device(name)
    raise SettingsError("device", found=found, expected="cpu | cuda | cuda:NUMBER | auto", remedy=remedy)


def _check_precision(device: torch.device, precision: Precision) -> None:
    import torch  # noqa: PLC0415

    if precision == "fp16" and device.type != "cuda":
        found = f"'fp16' on {device}, whose half precision is slower than single"
    elif precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        found = f"'bf16' on {torch.cuda.get_device_name(device)}, which has no such numbers"
    else:
        return
    expected = "fp32 | bf16" if device.type == "cpu" else "fp32 | fp16"
    raise SettingsError("precision", found=found, expected=expected, remedy="Choose one of these, or another device.")


def _join(*, cpu: bool | None = None) -> Any:
    """Return accelerate's state of this process; the first call meets the others."""
    import torch  # noqa: PLC0415
    from accelerate import PartialState  # noqa: PLC0415

    if PartialState._shared_state:
        return PartialState()
    with _explained():
        state = PartialState(cpu=not torch.cuda.is_available() if cpu is None else cpu, timeout=_PATIENCE)
    return state


@contextmanager
def _explained() -> Iterator[None]:
    """Turn torch's error where a process is gone into DistributedError."""
    try:
        yield
    except RuntimeError as error:
        raise _lost(str(error).partition("\n")[0]) from error


def _lost(found: str) -> DistributedError:
    return DistributedError(
        f"process {rank()} of {world_size()}",
        found=found,
        expected="every process to the end",
        remedy="See above which one failed first; start the same command again, with --resume where it has that.",
    )
