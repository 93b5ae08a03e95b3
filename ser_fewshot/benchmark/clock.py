"""How long a run took by the clock, over all its starts: noted after each job, so that a killed start counts too."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ser_fewshot.compute import distributed
from ser_fewshot.storage.files import write_atomically

SESSIONS = "sessions"


@dataclass(frozen=True, kw_only=True)
class Session:
    """One start of the command, from its beginning: reading clips, analysing them, and every cell.

    Attributes:
        workers: processes of this start.
        place: of this start among those of a launcher, which work at the same time.
        since: when it began, in seconds of `time.monotonic`.
    """

    workers: int
    place: int = field(default_factory=distributed.rank)
    since: float = field(default_factory=time.monotonic)
    _name: str = field(default_factory=lambda: uuid.uuid4().hex)

    def keep(self, out: Path) -> None:
        """Note how long it has taken until now."""
        minutes = round((time.monotonic() - self.since) / 60, 2)
        told = {"place": self.place, "workers": self.workers, "cores": os.cpu_count(), "minutes": minutes}
        write_atomically(out / SESSIONS / f"{self._name}.json", json.dumps(told) + "\n")


def by_the_clock(out: Path) -> str:
    """Return the time of a run in a sentence, from the notes that can be read; nothing where there is none."""
    told = [session for path in sorted((out / SESSIONS).glob("*.json")) if (session := _read(path)) is not None]
    if not told:
        return ""
    minutes: dict[int, float] = defaultdict(float)
    workers: dict[int, int] = defaultdict(int)
    for place, spent, number in told:
        minutes[place] += spent
        workers[place] = max(workers[place], number)
    started = "one start" if len(told) == 1 else f"{len(told)} starts"
    processes = "one process" if sum(workers.values()) == 1 else f"{sum(workers.values())} processes"
    return f"By the clock: {max(minutes.values()):.0f} minutes of {processes}, in {started}, reading and analysing too."


def _read(path: Path) -> tuple[int, float, int] | None:
    """Return place, minutes and workers of a note, None of a damaged one: no result depends on it."""
    try:
        told = json.loads(path.read_bytes())
        return int(told["place"]), float(told["minutes"]), int(told["workers"])
    except (ValueError, KeyError, TypeError):
        return None
