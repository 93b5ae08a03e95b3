"""Records from files, which may be damaged or come from strangers: what is read can be shown and compared.

Types and names are checked as for all settings; here is checked that the parts of a record fit each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ser_fewshot.benchmark.records import FORMAT, RESULTS, Record, Score
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import SerFewshotError, SettingsError
from ser_fewshot.evaluation import t_quantile
from ser_fewshot.settings import fill
from ser_fewshot.storage.paths import what_is

_OLDEST = 1
_Z = 1.96  # standard errors that the intervals of format 1 reach


def read_record(text: str | bytes, *, origin: str) -> Record:
    """Return the record of a line; `origin` says where it stands.

    Raises:
        SettingsError: it is none.
    """
    try:
        values = json.loads(text)
        record = fill(Record, values, where=origin)
        fault = next(_faults(record), "")
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


def read_results(path: Path) -> tuple[Record, ...]:
    """Read the records of a run.

    Args:
        path: `results.jsonl`, or the folder of the run that holds it.

    Raises:
        SettingsError: it cannot be read, or a line is no record.
    """
    file = path / RESULTS if path.is_dir() else path
    try:
        if not file.is_file():
            raise OSError(what_is(file))  # a pipe would be waited for
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            str(file),
            found=what_is(file),
            expected="the results of a benchmark",
            remedy="Give the folder of a run of 'ser-fewshot benchmark'.",
        ) from error
    return tuple(read_record(line, origin=f"{file}, line {number}") for number, line in enumerate(lines, start=1))


def _with_t(record: Record) -> Record:
    """Return a record of format 1 with the intervals that are written today."""

    def widened(score: Score | None) -> Score | None:
        if score is None or score.ci95 is None:
            return score
        return replace(score, ci95=score.ci95 * t_quantile(record.episodes) / _Z)

    return replace(record, uar=widened(record.uar), accuracy=widened(record.accuracy), format=FORMAT)


def _damaged(origin: str, found: str) -> SettingsError:
    return SettingsError(
        origin,
        found=found,
        expected="a record as the benchmark writes it",
        remedy="Give the folder of a run; if it is one, remove this line of it: its cell is computed again.",
    )


def _faults(record: Record) -> Iterator[str]:
    """Yield what does not fit in a record whose fields have the right types."""
    if record.key != "/".join(filter(None, (record.protocol, record.corpus, record.method))):
        yield f"the key {record.key!r:.80} of another cell"
    if not _of_text(record.origin.versions) or not _of_text(record.diverged):
        yield "versions or reasons that are no text"
    if not record.done:
        if record.uar is not None:
            yield f"a score of a cell that is {record.status}"
        return
    yield from _faults_of_scores(record)
    yield from _faults_of_counts(record)


def _faults_of_scores(record: Record) -> Iterator[str]:
    if record.uar is None or record.accuracy is None:
        yield "no score of a cell that is done"
    if not 1 <= record.episodes == len(record.uar_per_episode):
        yield f"{len(record.uar_per_episode)} scores for {record.episodes} episodes"
    scores = (record.uar, record.accuracy)
    means = [score.mean for score in scores if score is not None]
    shares = [*record.uar_per_episode, record.chance, *means, *record.recall.values()]
    if not all(_is_share(value) for value in shares):
        yield "scores that are not in [0, 1]"
    lacking = {field.name for field in fields(EpisodeSpec)} - set(record.spec)
    if lacking:
        yield f"a spec without {', '.join(sorted(lacking))}"
    fill(EpisodeSpec, record.spec, where="spec")
    told = record.open_set
    if told is not None and len(told.accepted_unknown) != len(told.named_known):
        yield "a curve of the open set whose two sides differ in length"


def _faults_of_counts(record: Record) -> Iterator[str]:
    n_labels = len(set(record.labels))
    square = [n_labels] * n_labels
    if len(record.labels) != n_labels or [len(row) for row in record.confusion] != square:
        yield f"a confusion that is not {n_labels} by {n_labels}, as its labels are"
    if any(count < 0 for row in record.confusion for count in row):
        yield "a negative count of answers"
    if not all(isinstance(group, dict) and all(map(_is_tally, group.values())) for group in record.tallies.values()):
        yield "tallies that are not right answers of answers"


def _of_text(values: dict[str, Any]) -> bool:
    return all(isinstance(value, str) for value in values.values())


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def _is_tally(value: object) -> bool:
    """Return whether a value is [right answers, answers]."""
    if not isinstance(value, list) or len(value) != 2 or not all(type(count) is int for count in value):
        return False
    return bool(0 <= value[0] <= value[1])
