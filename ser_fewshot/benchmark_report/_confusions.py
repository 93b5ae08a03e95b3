"""What is taken for what: matrices of the best methods, and all counts as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark_report._grid import Protocol, percent_of
from ser_fewshot.benchmark_report._page import Block, Figure, Row, Section, identity, label_of
from ser_fewshot.benchmark_report._table import ReportTable, frame, percent
from ser_fewshot.report import confusion_table

_DRAWN = 2  # methods a protocol
_MOST_LABELS = 12  # of a matrix that can be read on a page
_LISTED = 5  # confusions a cell
_COUNTED = 200  # pairs a cell in the CSV file: all of 14 classes
_COLUMNS = ("protocol", "corpus", "method", "kind", "true", "answer", "count", "share")


def confusions(found: Sequence[Protocol]) -> Section:
    """Return the section."""
    return Section(
        "confusions",
        "Confusions",
        f"What each class is taken for, over the queries of all episodes; drawn for the best {_DRAWN} methods of each "
        "protocol, listed for all. Row: true class; column: answer; each row sums to 100 %.",
        tuple(_block(protocol) for protocol in found),
    )


def _block(protocol: Protocol) -> Block:
    best = protocol.best(_DRAWN)
    records = [record for corpus in protocol.corpora for record in protocol.on(corpus) if record.method in best]
    small = [record for record in records if len(record.labels) <= _MOST_LABELS]
    notes: tuple[str, ...] = ()
    if len(small) < len(records):
        notes = (f"Matrices of more than {_MOST_LABELS} classes are not drawn: the table lists what is confused most.",)
    figures = tuple(
        Figure(
            f"{label_of(protocol, record.method)} on {record.corpus}: UAR {percent_of(record):.1f} %",
            confusion_table(record.labels, np.array(record.confusion)),
        )
        for record in small
    )
    return Block(protocol.heading, notes=notes, figures=figures, tables=(_most(protocol),))


def _most(protocol: Protocol) -> ReportTable:
    """Return the most frequent confusions of each cell; as numbers the counts of all that occurred."""
    numbers = [{**identity(record), **row} for record in protocol.records for row in _counts(record)[:_COUNTED]]
    shown = [
        [label_of(protocol, record.method), record.corpus, "; ".join(map(_words, _worst(record)))]
        for corpus in protocol.corpora
        for record in protocol.on(corpus)
    ]
    return ReportTable(
        f"confusion_{protocol.slug}",
        f"The {_LISTED} most frequent confusions of each method: true class, answer, and its share of that class's "
        f"queries in %. The CSV file holds counts of pairs, at most the {_COUNTED} most frequent.",
        frame(numbers, columns=_COLUMNS),
        frame(shown, columns=["method", "corpus", "most frequent confusions"]),
        row_heads=3,
        folded=True,
    )


def _counts(record: Record) -> list[Row]:
    """Return the pairs of true class and answer that occurred, the most frequent first."""
    counts = np.array(record.confusion)
    asked = counts.sum(1).clip(1)
    order = np.argsort(-counts, axis=None, kind="stable")[: np.count_nonzero(counts)]
    pairs = zip(*np.unravel_index(order, counts.shape), strict=True)
    return [
        {
            "true": record.labels[i],
            "answer": record.labels[j],
            "count": int(counts[i, j]),
            "share": counts[i, j] / asked[i],
        }
        for i, j in pairs
    ]


def _worst(record: Record) -> list[Row]:
    wrong = [row for row in _counts(record) if row["true"] != row["answer"]]
    return sorted(wrong, key=lambda row: -row["share"])[:_LISTED]


def _words(row: Row) -> str:
    return f"{row['true']} → {row['answer']} {percent(row['share'])}"
