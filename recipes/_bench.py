"""What the speed recipes share: options, timing, the machine, and the result file."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ser_fewshot.storage.files import write_atomically


def options(text: str | None) -> argparse.ArgumentParser:
    """Return a parser whose help is the docstring of the recipe."""
    return argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def machine() -> dict[str, Any]:
    return {"cpus": os.cpu_count(), "processor": platform.machine(), "torch": torch.__version__}


def seconds(run: Callable[[], object]) -> float:
    """Return how long a call took."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratios(reference: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Return how many times as fast ours is, from the seconds of both in each round."""
    each_round = [slow / fast for slow, fast in zip(reference, ours, strict=True)]
    return {"times_as_fast": statistics.median(each_round), "slowest_round": min(each_round)}


def write(path: Path, result: dict[str, Any]) -> None:
    """Write a result file, and print it."""
    text = json.dumps(result, indent=1)
    write_atomically(path, text + "\n")
    print(text)
