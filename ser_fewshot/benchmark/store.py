"""The folder of a run: a file per cell, `results.jsonl`, the settings of the run, and its expected cells.

A cell is written whole and at once, so that a run that was killed continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_fewshot.benchmark.record import FORMAT, Record, Score
from ser_fewshot.errors import SerFewshotError, SettingsError
from ser_fewshot.evaluation import t_quantile
from ser_fewshot.settings import fill
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.paths import check_is_file, what_is

RESULTS = "results.jsonl"
CELLS = "cells"
RUN = "run.json"
EXPECTED = "asked.json"
_OLDEST = 1
_Z = 1.96  # standard errors in the half-width of an interval of format 1
_LONGEST = 200  # bytes of a file's name, of which most systems take 255
_LONGEST_SLUG = 50  # characters, which may take four bytes each


def slug(name: str) -> str:
    """Return a name as part of a path, unique by a digest: "maml:inner_rate=1" -> "maml-inner_rate-1-fea727af"."""
    words = re.sub(r"[^\w.]+", "-", name)[:_LONGEST_SLUG]
    return f"{words}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def short(name: str) -> str:
    """Return a name as it is, or a slug of one that is too long for a file."""
    return name if len(name.encode()) <= _LONGEST else slug(name)


def read_record(text: str | bytes, *, origin: str) -> Record:
    """Return the record in a line of JSON; `origin` is where the line comes from, for errors.

    Raises:
        SettingsError: it is no record, or its parts contradict each other.
    """
    try:
        record = fill(Record, json.loads(text), where=origin)
        fault = next(record.inconsistencies(), "")
    except (ValueError, RecursionError, SerFewshotError) as error:
        raise _damaged(origin, str(error)) from error
    if not _OLDEST <= record.format <= FORMAT:
        raise SettingsError(
            origin,
            found=f"format {record.format}",
            expected=f"format {_OLDEST} to {FORMAT}",
            remedy="Run the benchmark again, or read it with the version that wrote it.",
        )
    if fault:
        raise _damaged(origin, fault)
    return record if record.format == FORMAT else _with_t(record)


def _with_t(record: Record) -> Record:
    """Return a record of format 1 with intervals of Student's t."""

    def widened(score: Score | None) -> Score | None:
        if score is None or score.ci95 is None:
            return score
        return replace(score, ci95=score.ci95 * t_quantile(record.episodes) / _Z)

    training = dict(record.training)
    if "validation_ci95" in (kept := training.get("kept_epoch", {})):
        factor = t_quantile(training["validation_episodes"]) / _Z
        training["kept_epoch"] = {**kept, "validation_ci95": kept["validation_ci95"] * factor}
    uar, accuracy = widened(record.uar), widened(record.accuracy)
    return replace(record, uar=uar, accuracy=accuracy, training=training, format=FORMAT)


def _damaged(origin: str, found: str) -> SettingsError:
    return SettingsError(
        origin,
        found=found,
        expected="a record as the benchmark writes it",
        remedy="Give the folder of a run; if it is one, remove this line of it: its cell is computed again.",
    )


def read_results(path: Path) -> tuple[Record, ...]:
    """Read the records of a run from `results.jsonl`, or from the folder that holds it.

    Raises:
        SettingsError: it cannot be read, or a line is no record.
    """
    file = path / RESULTS if path.is_dir() else path
    try:
        check_is_file(file)
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            str(file),
            found=what_is(file),
            expected="the results of a benchmark",
            remedy="Give the folder of a run of 'ser-fewshot benchmark'.",
        ) from error
    return tuple(read_record(line, origin=f"{file}, line {number}") for number, line in enumerate(lines, start=1))


def write_results(path: Path, records: Iterable[Record]) -> None:
    """Write records as one line of JSON each, sorted by key, so that the same cells give the same file."""
    ordered = sorted(records, key=lambda record: record.key)
    write_atomically(path, "".join(f"{record.as_json()}\n" for record in ordered))


def path_of(out: Path, key: str) -> Path:
    """Return the file of a cell."""
    return out / CELLS / f"{short(key.replace('/', '--').replace(':', '-'))}.json"


def write_cell(out: Path, record: Record) -> None:
    """Write the file of a cell."""
    write_atomically(path_of(out, record.key), record.as_json() + "\n")


def read_cells(out: Path) -> list[Record]:
    """Return the records of all cells that there are so far.

    Raises:
        SettingsError: a file is damaged.
    """
    paths = sorted((out / CELLS).glob("*.json"))
    return [read_record(path.read_bytes(), origin=str(path)) for path in paths]


def n_cells(out: Path) -> int:
    """Return the number of cells so far, without reading them."""
    return len(list((out / CELLS).glob("*.json")))


def is_finished(out: Path, key: str) -> bool:
    """Return whether a cell holds a score; one that failed is tried again.

    Raises:
        SettingsError: its file is damaged.
    """
    path = path_of(out, key)
    return path.exists() and read_record(path.read_bytes(), origin=str(path)).done


def check_run(out: Path, settings: Mapping[str, Any]) -> None:
    """Store the settings that decide the value of every cell, or compare them with those of the run in the folder.

    Raises:
        SettingsError: the folder holds a run with other settings.
    """
    path = out / RUN
    given = json.loads(json.dumps(settings))
    if not path.exists():
        write_atomically(path, json.dumps(given, indent=1) + "\n")
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        stored = None
    if not isinstance(stored, dict) or not stored.keys() & given.keys():
        raise SettingsError(
            str(path), found="something else", expected="what the benchmark notes there", remedy="Give another folder."
        )
    if stored != given:
        changed = [name for name in given if stored.get(name) != given[name]]
        raise SettingsError(
            str(out),
            found="a run with " + ", ".join(f"{name} {stored.get(name)!r:.60}" for name in changed),
            expected=", ".join(f"{name} {given[name]!r:.60}" for name in changed),
            remedy="To go on with it, give the same options and corpora to the same version; or give another folder.",
        )


def write_expected(out: Path, keys: Sequence[str]) -> None:
    """Store the keys of all cells of a run, for a later command that computes one of them alone."""
    write_atomically(out / EXPECTED, json.dumps(sorted(keys), indent=1) + "\n")


def read_expected(out: Path) -> list[str]:
    """Return the keys of all cells that a run should have; none where only single cells were computed."""
    try:
        keys = json.loads((out / EXPECTED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
