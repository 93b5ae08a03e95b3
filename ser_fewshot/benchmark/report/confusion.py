"""Confusion matrices of the best methods, and the most frequent confusions of all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.report.figures import Figure
from ser_fewshot.benchmark.report.results import ProtocolResults, uar
from ser_fewshot.benchmark.report.table import Block, ReportTable, Row, identity, percent, titled
from ser_fewshot.report import confusion_table

_MAX_DRAWN = 2  # methods whose matrices are drawn
_MAX_LABELS = 12  # of a matrix that can be read on a page
_LISTED = 5  # confusions per record on the page
_COUNTED = 200  # pairs of classes per record in the CSV file: all of 14 classes


def confusions(protocols: Sequence[ProtocolResults]) -> list[Block]:
    """Return the matrices and the most frequent confusions of every protocol."""
    return [_block(results) for results in protocols]


def _block(results: ProtocolResults) -> Block:
    best = [record for record in results.records if record.method in results.best(_MAX_DRAWN)]
    figures = [
        Figure(
            f"{results.label(record.method)} on {record.corpus}: UAR {uar(record):.1f} %",
            confusion_table(record.labels, np.array(record.confusion)),
        )
        for record in best
        if len(record.labels) <= _MAX_LABELS
    ]
    note = f"Matrices of more than {_MAX_LABELS} classes are not drawn: the table lists the most frequent confusions."
    notes = [note] if len(figures) < len(best) else []
    return Block(results.heading, notes, figures=figures, tables=[_table(results)])


def _table(results: ProtocolResults) -> ReportTable:
    counts = [(record, _counts(record)) for record in results.records]
    shown = [(results.label(record.method), record.corpus, _most_frequent(rows)) for record, rows in counts]
    caption = (
        f"the {_LISTED} most frequent confusions of each method: true class → predicted class, and the share of the "
        f"true class in %. The CSV file has counts of the {_COUNTED} most frequent pairs."
    )
    return ReportTable(
        *titled(results, "confusion", caption),
        pd.DataFrame([{**identity(record), **row} for record, rows in counts for row in rows[:_COUNTED]]),
        pd.DataFrame(shown, columns=["method", "corpus", "most frequent confusions"]),
        text_columns=3,
        folded=True,
    )


def _counts(record: Record) -> list[Row]:
    """Return the pairs of true and predicted class that occurred, the most frequent first."""
    counts = np.array(record.confusion)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    order = np.argsort(-counts, axis=None, kind="stable")[: np.count_nonzero(counts)]
    return [
        {"true": record.labels[i], "answer": record.labels[j], "count": int(counts[i, j]), "share": float(shares[i, j])}
        for i, j in zip(*np.unravel_index(order, counts.shape), strict=True)
    ]


def _most_frequent(counts: Sequence[Row]) -> str:
    wrong = sorted((row for row in counts if row["true"] != row["answer"]), key=lambda row: -row["share"])
    return "; ".join(f"{row['true']} → {row['answer']} {percent(row['share'])}" for row in wrong[:_LISTED])
