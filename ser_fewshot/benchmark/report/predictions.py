"""Confusion matrices, reliability diagrams and open-set curves of the best methods, with tables of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ser_fewshot.benchmark.html import Look, confusion_table
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.report.charts import Figure, Series, chart
from ser_fewshot.benchmark.report.table import Block, ReportTable, Row, by_corpus, identity, number, percent, titled
from ser_fewshot.benchmark.results import ProtocolResults, uar

_MAX_MATRICES, _MAX_LABELS = 2, 12  # methods whose matrices are drawn, and classes of a matrix that can be read
_LISTED, _COUNTED = 5, 200  # confusions per record on the page, and pairs of classes in the CSV file: all of 14 classes
_FEWEST = 50  # predictions in a bin, below which its accuracy is mostly chance and is not drawn


def confusion_blocks(results: ProtocolResults) -> list[Block]:
    """Return the confusion matrices of the best methods, and the most frequent confusions of all."""
    best = [record for record in results.records if record.method in results.best(_MAX_MATRICES)]
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
    return [Block(results.heading, notes, figures=figures, tables=[_confusions_table(results)])]


def calibration_blocks(results: ProtocolResults, looks: Mapping[str, Look]) -> list[Block]:
    """Return reliability diagrams and expected calibration errors."""

    def line(record: Record) -> Series | None:
        bins = [bin for bin in record.reliability.bins if bin.count >= _FEWEST] if record.reliability else []
        return Series([100 * bin.confidence for bin in bins], [100 * bin.accuracy for bin in bins]) if bins else None

    found = [(record, record.reliability) for record in results.records if record.reliability]
    rows = [{**identity(record), "ece": one.ece, "calibrated": one.calibrated} for record, one in found]
    n_bins = " or ".join(map(str, sorted({len(one.bins) for _, one in found})))
    tables = by_corpus(
        results,
        "calibration",
        f"expected calibration error (ECE) in percentage points, over {n_bins} bins; *: its temperature was fitted on "
        "meta-validation clips.",
        rows,
        lambda row: number(row["ece"], factor=100) + "*" * row["calibrated"],
    )
    diagonal, labels = Series((0, 100), (0, 100)), ("confidence, %", "accuracy, %")
    charts = _charts(results, looks, line, "reliability diagram", labels=labels, reference=diagonal)
    return [Block(results.heading, legend=results.best(), figures=charts, tables=tables)] if rows else []


def open_set_blocks(results: ProtocolResults, looks: Mapping[str, Look]) -> list[Block]:
    """Return open-set curves, AUROC, FPR at 95 % TPR and OSCR."""

    def line(record: Record) -> Series | None:
        one = record.open_set
        return Series([100 * x for x in one.accepted_unknown], [100 * y for y in one.named_known]) if one else None

    names = ("episodes", "calibrated", "auroc", "fpr95", "oscr")
    found = [(record, record.open_set) for record in results.records if record.open_set]
    rows = [{**identity(record), **{name: getattr(one, name) for name in names}} for record, one in found]
    tables = by_corpus(
        results,
        "open_set",
        "unknown against known classes: AUROC / FPR at 95 % TPR, the share of unknown clips accepted where 95 % of the "
        "known are, in % / OSCR, the area under the curve; *: its novelty was fitted on meta-validation clips.",
        rows,
        lambda row: f"{row['auroc']:.2f} / {100 * row['fpr95']:.0f} / {row['oscr']:.2f}" + "*" * row["calibrated"],
    )
    labels = ("unknown clips accepted, %", "known, accepted and correct, %")
    charts = _charts(results, looks, line, "open-set curve", labels=labels)
    return [Block(results.heading, legend=results.best(), figures=charts, tables=tables)] if rows else []


def _charts(
    p: ProtocolResults, looks: Mapping[str, Look], line: Callable[[Record], Series | None], what: str, **options: Any
) -> list[Figure]:
    """Draw a chart per corpus with a line for each of the best methods."""
    charts = []
    for corpus in p.corpora:
        drawn = [record for record in p.column(corpus) if record.method in p.best()]
        lines = {record.method: found for record in drawn if (found := line(record)) is not None}
        alt = f"{p.protocol}: {what} of {', '.join(lines)} on {corpus}; the table below gives numbers for each."
        charts += [chart(corpus, lines, looks, alt=alt, **options)] if lines else []
    return charts


def _confusions_table(results: ProtocolResults) -> ReportTable:
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
    """Return the pairs of true and predicted class, the most frequent first."""
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
