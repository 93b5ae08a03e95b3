"""What it costs to grow: measured rates, and what they come to for 1,000 hours of speech."""

from __future__ import annotations

import statistics
from typing import Any

from _tables._text import RESULTS, read, table

HOURS = 1_000
CORES = 64  # of a node, for an example
EPOCHS, STEPS = 12, 40  # a training as it comes: see `TrainSettings`


def growth_extraction() -> str:
    runs = _result()["extraction"]
    first = runs[0]
    rows = [
        [
            f"{run['clips']:,} ({run['clips'] / first['clips']:.0f} x)",
            f"{run['sound'] / 60:.0f} min",
            f"{run['seconds']:.1f} s",
            f"{1000 * run['seconds'] / run['clips']:.1f} ms",
            f"{run['peak_bytes'] / 1e6:.0f} MB",
            f"{run['cache_bytes'] / 1e6:.0f} MB",
        ]
        for run in runs
    ]
    head = ["clips", "sound", "time, one process on one thread", "time a clip", "memory at its highest", "cache"]
    return table(head, rows)


def growth_processes() -> str:
    found = _result()["processes"]
    rates, ratio = found["episodes_per_second"], found["times_as_fast"]
    rows = [
        ["one process, one thread", _rates(rates["one"]), "1"],
        [
            "two processes, one thread each",
            _rates(rates["two"]),
            f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})",
        ],
    ]
    head = [f"training {found['learner']}", "episodes a second, median (range)", "times as fast, median (range)"]
    return table(head, rows)


def growth_thousand_hours() -> str:
    result = _result()
    largest, pretrained, processes = result["extraction"][-1], result["pretrained"], result["processes"]
    logmel = HOURS * largest["seconds"] / largest["sound"]
    whisper = HOURS * pretrained["seconds"] / pretrained["sound"]
    clip_hours = largest["sound"] / largest["clips"] / 3600
    episodes = EPOCHS * STEPS * processes["meta_batch"] * len(processes["tasks"])
    training = episodes / statistics.median(processes["episodes_per_second"]["one"]) / 3600
    rows = [
        [f"log-mel frames of {HOURS:,} h", *_cost(logmel), _gigabytes(largest["cache_bytes"] / largest["clips"])],
        [
            f"mean and deviation of an encoder like Whisper base, of {HOURS:,} h",
            *_cost(whisper),
            _gigabytes(pretrained["cache_bytes_per_clip"]),
        ],
        [f"training {processes['learner']} on {episodes:,} episodes, whatever the corpus", f"{training:.2f}", "-", "-"],
    ]
    head = ["work", "core hours", f"hours on {CORES} cores, a process each", "cache"]
    per_clip = f"Clips of {3600 * clip_hours:.0f} s, {HOURS / clip_hours:,.0f} of them."
    return table(head, rows) + f"\n{per_clip} Hours on {CORES} cores are core hours over {CORES}.\n"


def _cost(hours: float) -> tuple[str, str]:
    return f"{hours:.1f}", f"{hours / CORES:.2f}"


def _gigabytes(bytes_per_clip: float) -> str:
    largest = _result()["extraction"][-1]
    n_clips = HOURS * 3600 * largest["clips"] / largest["sound"]
    return f"{n_clips * bytes_per_clip / 1e9:.0f} GB"


def _rates(rates: list[float]) -> str:
    return f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"


def _result() -> dict[str, Any]:
    return read(RESULTS / "growth.json")
