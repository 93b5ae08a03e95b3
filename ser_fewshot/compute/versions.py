"""Versions of libraries and the kind of processor, which decide the last digits of a number."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

_PACKAGE = "ser-fewshot"
_LIBRARIES = ("torch", "torchaudio", "numpy", "scipy", "scikit-learn", "librosa", "soxr", "opensmile", "resemblyzer")
_CPUINFO = Path("/proc/cpuinfo")
MACHINE, PROCESSOR = "machine", "processor"
"""The keys of the two entries that are not versions."""


def versions() -> dict[str, str]:
    """Return the versions of this package, of Python and of the libraries that decide values, and the processor."""
    installed = {name: number for name in _LIBRARIES if (number := _version(name))}
    return {
        _PACKAGE: version(_PACKAGE),
        "python": platform.python_version(),
        MACHINE: platform.machine(),
        PROCESSOR: processor(),
        **installed,
    }


def processor() -> str:
    """Return the instruction set that torch uses, which decides how sums are rounded, and the processor's model."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(models, platform.processor())
    return ", ".join(filter(None, (torch.backends.cpu.get_cpu_capability(), model)))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
