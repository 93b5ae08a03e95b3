"""Reliability of the probabilities, and rejection of clips of classes that are not enrolled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.report.figures import Figure, Series, line_chart
from ser_fewshot.benchmark.report.results import ProtocolResults
from ser_fewshot.benchmark.report.table import Block, Row, by_corpus, identity, number
from ser_fewshot.report import Look

_FEWEST = 50  # predictions in a bin, below which its accuracy is mostly chance and is not drawn
_OPEN_SET = ("episodes", "calibrated", "auroc", "fpr95", "oscr")


def calibration(protocols: Sequence[ProtocolResults], looks: Mapping[str, Look]) -> list[Block]:
    """Return reliability diagrams and expected calibration errors."""

    def line(record: Record) -> Series | None:
        bins = [bin for bin in record.reliability.bins if bin.count >= _FEWEST] if record.reliability else []
        return Series([100 * bin.confidence for bin in bins], [100 * bin.accuracy for bin in bins]) if bins else None

    def text(row: Row) -> str:
        return number(row["ece"], factor=100) + ("*" if row["calibrated"] else "")

    blocks = []
    for p in protocols:
        found = [(record, record.reliability) for record in p.records if record.reliability]
        rows = [{**identity(record), "ece": one.ece, "calibrated": one.calibrated} for record, one in found]
        n_bins = " or ".join(map(str, sorted({len(one.bins) for _, one in found})))
        caption = (
            f"expected calibration error (ECE) in percentage points, over {n_bins} bins; *: its temperature was fitted "
            "on meta-validation clips."
        )
        options = {"labels": ("confidence, %", "accuracy, %"), "reference": Series((0, 100), (0, 100))}
        charts = _charts(p, looks, line, "reliability diagram", **options)
        blocks += [Block(p.heading, (), p.best(), charts, by_corpus(p, "calibration", caption, rows, text))] * bool(rows)
    return blocks


def open_set(protocols: Sequence[ProtocolResults], looks: Mapping[str, Look]) -> list[Block]:
    """Return open-set curves, AUROC, FPR at 95 % TPR and OSCR."""

    def line(record: Record) -> Series | None:
        one = record.open_set
        return one and Series([100 * x for x in one.accepted_unknown], [100 * y for y in one.named_known])

    def text(row: Row) -> str:
        sign = "*" if row["calibrated"] else ""
        return f"{row['auroc']:.2f} / {100 * row['fpr95']:.0f} / {row['oscr']:.2f}{sign}"

    caption = (
        "unknown against known classes: AUROC / FPR at 95 % TPR, the share of unknown clips accepted where 95 % of the "
        "known are, in % / OSCR, the area under the curve; *: its novelty was fitted on meta-validation clips."
    )
    blocks = []
    for p in protocols:
        found = [record for record in p.records if record.open_set]
        rows = [{**identity(one), **{name: getattr(one.open_set, name) for name in _OPEN_SET}} for one in found]
        labels = ("unknown clips accepted, %", "known, accepted and correct, %")
        charts = _charts(p, looks, line, "open-set curve", labels=labels)
        blocks += [Block(p.heading, (), p.best(), charts, by_corpus(p, "open_set", caption, rows, text))] * bool(rows)
    return blocks


def _charts(
    p: ProtocolResults, looks: Mapping[str, Look], line: Callable[[Record], Series | None], what: str, **options: Any
) -> list[Figure]:
    """Draw a chart per corpus with a line for each of the best methods."""
    charts = []
    for corpus in p.corpora:
        drawn = [record for record in p.column(corpus) if record.method in p.best()]
        lines = {record.method: found for record in drawn if (found := line(record)) is not None}
        alt = f"{p.protocol}: {what} of {', '.join(lines)} on {corpus}; the table below gives numbers for each."
        charts += [line_chart(corpus, lines, looks, alt=alt, **options)] if lines else []
    return charts
