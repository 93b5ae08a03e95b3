"""How long a run took by the clock, over all its starts: noted after each job, so that a killed start counts too."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ser_fewshot import distributed
from ser_fewshot._files import write_atomically
from ser_fewshot.errors import SettingsError

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
    """Return the time of a run in a sentence; nothing where none is noted.

    Raises:
        SettingsError: a note is damaged.
    """
    minutes: dict[int, float] = defaultdict(float)
    workers: dict[int, int] = defaultdict(int)
    paths = sorted((out / SESSIONS).glob("*.json"))
    for path in paths:
        try:
            told = json.loads(path.read_bytes())
            minutes[int(told["place"])] += float(told["minutes"])
            workers[int(told["place"])] = max(workers[int(told["place"])], int(told["workers"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(
                str(path), found=str(error), expected="a note of this program", remedy="Delete the file."
            ) from error
    if not paths:
        return ""
    started = "one start" if len(paths) == 1 else f"{len(paths)} starts"
    processes = "one process" if sum(workers.values()) == 1 else f"{sum(workers.values())} processes"
    return f"By the clock: {max(minutes.values()):.0f} minutes of {processes}, in {started}, reading and analysing too."
