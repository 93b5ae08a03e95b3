"""The cells of a run on disk: one file each, written whole, so that a run that was killed goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ser_fewshot.benchmark.build import slug
from ser_fewshot.benchmark.methods import Method
from ser_fewshot.benchmark.protocols import LeftOut, Question
from ser_fewshot.benchmark.read import read_record
from ser_fewshot.benchmark.records import Record
from ser_fewshot.errors import SettingsError
from ser_fewshot.storage.files import write_atomically

CELLS = "cells"
RUN = "run.json"
ASKED = "asked.json"
_LONGEST = 200  # bytes of a file's name, of which most systems take 255


@dataclass(frozen=True, eq=False, kw_only=True)
class Job:
    """What one process does in one go: a method is made once for a split, and asked all questions on it."""

    method: Method
    questions: tuple[Question, ...]

    @property
    def name(self) -> str:
        """Unique in a run, and part of a path."""
        first = self.questions[0]
        return f"{_short(first.split)}/{first.spec.label}/{slug(self.method.name)}"


def key_of(question: Question | LeftOut, method: Method | None = None) -> str:
    """Return what a cell is called in the results and for --only."""
    name = f"{question.protocol.name}/{question.corpus}"
    return name if method is None else f"{name}/{method.name}"


def jobs_of(methods: Sequence[Method], questions: Sequence[Question]) -> list[Job]:
    """Return the work of a run, the methods in turn, so that every n-th job is as long as any other n-th."""
    groups: dict[tuple[str, str, str], list[tuple[Method, Question]]] = {}
    for method in methods:
        for question in questions:
            groups.setdefault((method.name, question.split, question.spec.label), []).append((method, question))
    return [Job(method=of[0][0], questions=tuple(question for _, question in of)) for of in groups.values()]


def keys_of(methods: Sequence[Method], asked: Sequence[Question | LeftOut]) -> list[str]:
    """Return the keys of all cells of a run, and of what is left out of it."""
    keys = [key_of(one) for one in asked if isinstance(one, LeftOut)]
    return keys + [key_of(one, method) for one in asked if isinstance(one, Question) for method in methods]


def path_of(out: Path, key: str) -> Path:
    """Return where the record of a cell lies."""
    return out / CELLS / f"{_short(key.replace('/', '--').replace(':', '-'))}.json"


def write_cell(out: Path, record: Record) -> None:
    """Keep a record."""
    write_atomically(path_of(out, record.key), record.as_json() + "\n")


def read_cell(out: Path, key: str) -> Record | None:
    """Return the record of a cell, None where it is not there yet.

    Raises:
        SettingsError: the file is damaged.
    """
    path = path_of(out, key)
    return read_record(path.read_bytes(), origin=str(path)) if path.exists() else None


def read_cells(out: Path) -> list[Record]:
    """Return the records of all cells that are there.

    Raises:
        SettingsError: a file is damaged.
    """
    paths = sorted((out / CELLS).glob("*.json"))
    return [read_record(path.read_bytes(), origin=str(path)) for path in paths]


def n_cells(out: Path) -> int:
    """Return how many cells there are, without reading them."""
    return len(list((out / CELLS).glob("*.json")))


def is_finished(out: Path, key: str) -> bool:
    """Return whether a cell needs no more work; one that failed is tried again."""
    record = read_cell(out, key)
    return record is not None and record.done


def check_run(out: Path, told: Mapping[str, Any]) -> None:
    """Note what all cells of a folder have in common, or refuse to add others to them.

    Args:
        out: folder of the run.
        told: what decides the value of every cell: version, episodes, seed, clips.

    Raises:
        SettingsError: the folder holds a run of something else.
    """
    path = out / RUN
    given = json.loads(json.dumps(told))
    if not path.exists():
        write_atomically(path, json.dumps(given, indent=1) + "\n")
        return
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        known = None
    if not isinstance(known, dict) or not known.keys() & given.keys():
        raise SettingsError(
            str(path), found="something else", expected="what the benchmark notes there", remedy="Give another folder."
        )
    if known != given:
        changed = [f"{name} {known.get(name)!r:.60}" for name in given if known.get(name) != given[name]]
        raise SettingsError(
            str(out),
            found=f"a run with {', '.join(changed)}",
            expected=", ".join(f"{name} {given[name]!r:.60}" for name in given if known.get(name) != given[name]),
            remedy="To go on with it, give the same options and corpora to the same version; or give another folder.",
        )


def write_asked(out: Path, keys: Sequence[str]) -> None:
    """Note which cells a run is to have, for a later command that computes one of them alone."""
    write_atomically(out / ASKED, json.dumps(sorted(keys), indent=1) + "\n")


def read_asked(out: Path) -> list[str]:
    """Return the keys of the cells that a run is to have; none where nobody asked for more than one."""
    try:
        keys = json.loads((out / ASKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def _short(name: str) -> str:
    """Return a name as it is, or a slug of one that is too long for a file."""
    return name if len(name.encode()) <= _LONGEST else slug(name)


def now() -> str:
    """Return the time, ISO 8601, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def as_values(item: Any) -> dict[str, Any]:
    """Return a dataclass as JSON has it."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(item)))
    return values
