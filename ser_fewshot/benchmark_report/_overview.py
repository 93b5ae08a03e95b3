"""All protocols at a glance: the mean of every method over the corpora of each."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.significance import is_compared
from ser_fewshot.benchmark_report._grid import Protocol, percent_of
from ser_fewshot.benchmark_report._page import Block, Row, label_of
from ser_fewshot.benchmark_report._table import ABSENT, ReportTable, Tone, frame, number

_CAPTION = (
    "UAR in %, mean over the corpora of a protocol; whoever was not asked on all of them has none. Bold: the highest "
    "mean. ‡: its training set has clips of one of them, or more. Intervals, and what of this is chance, stand below."
)


def overview(found: Sequence[Protocol]) -> Block | None:
    """Return what every method scores on average, or None where there is one protocol."""
    if len(found) < 2:
        return None
    by_method: dict[str, list[Record]] = {}
    for protocol in found:
        for record in protocol.records:
            by_method.setdefault(record.method, []).append(record)
    rows = [_row(method, by_method[method], found) for method in _methods(found)]
    tones: dict[tuple[int, int], Tone] = {}
    for place, protocol in enumerate(found, start=1):
        able = [
            (row[protocol.name], -number)
            for number, row in enumerate(rows)
            if row[protocol.name] is not None and protocol.name not in row["apart"]
        ]
        if able:
            tones[-max(able)[1], place] = "best"
    chance = ["chance", *(number(_chance(protocol)) for protocol in found)]
    numbers = [
        {"method": row["method"], "protocol": protocol.name, "uar_percent": row[protocol.name]}
        for row in rows
        for protocol in found
    ]
    table = ReportTable(
        "overview",
        _CAPTION,
        frame(numbers, columns=("method", "protocol", "uar_percent")),
        frame(
            [*([row["name"], *(_text(row, one) for one in found)] for row in rows), chance],
            columns=["method", *(protocol.name for protocol in found)],
        ),
        tones=tones,
    )
    return Block("All protocols at a glance", tables=(table,), open=True)


def _methods(found: Sequence[Protocol]) -> list[str]:
    """Return all methods: those of most protocols first, and of them the one with the highest mean."""
    scores: dict[str, list[float]] = {}
    for protocol in found:
        for method in protocol.methods:
            mean = _mean(method, protocol)
            scores.setdefault(method, []).extend([] if mean is None else [mean])
    return sorted(scores, key=lambda name: (-len(scores[name]), -fmean(scores[name] or [0.0]), name))


def _row(method: str, records: Sequence[Record], found: Sequence[Protocol]) -> Row:
    """Return the means of a method, by protocol, and what else is to be known of it."""
    return {
        "method": method,
        "name": label_of(next(protocol for protocol in found if method in protocol.kinds), method),
        "heard": {record.protocol for record in records if record.heard},
        "apart": {record.protocol for record in records if not is_compared(record)},
        **{protocol.name: _mean(method, protocol) for protocol in found},
    }


def _mean(method: str, protocol: Protocol) -> float | None:
    records = [protocol.at(method, corpus) for corpus in protocol.corpora]
    asked = [record for record in records if record is not None]
    return fmean(map(percent_of, asked)) if len(asked) == len(records) else None


def _chance(protocol: Protocol) -> float:
    """Return chance in %, as a mean over corpora like that of a method."""
    return 100 * fmean(protocol.on(corpus)[0].chance for corpus in protocol.corpora)


def _text(row: Row, protocol: Protocol) -> str:
    mean = row[protocol.name]
    return ABSENT if mean is None else number(mean) + (" ‡" if protocol.name in row["heard"] else "")
