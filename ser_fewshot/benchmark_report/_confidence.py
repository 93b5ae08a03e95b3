"""Whether probabilities mean what they say, and whether a class that was never enrolled is noticed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark_report._curves import Line, lines
from ser_fewshot.benchmark_report._grid import DRAWN, Protocol
from ser_fewshot.benchmark_report._page import Block, Figure, Row, Section, by_corpus, present
from ser_fewshot.benchmark_report._svg import draw
from ser_fewshot.benchmark_report._table import number
from ser_fewshot.report import Look

_FEWEST = 50  # answers in a bin, below which its accuracy is mostly chance


def calibration(found: Sequence[Protocol], looks: Mapping[str, Look]) -> Section:
    """Return the section on reliability."""
    blocks = (
        _block(protocol, looks, name="calibration", draws=_reliability_figure, facts=_reliability_facts)
        for protocol in found
    )
    return Section(
        "calibration",
        "Calibration",
        "How often an answer is right that is said to be this sure; on the diagonal, probabilities mean what they "
        f"say. Points of fewer than {_FEWEST} answers are not drawn.",
        tuple(block for block in blocks if block is not None),
    )


def open_set(found: Sequence[Protocol], looks: Mapping[str, Look]) -> Section:
    """Return the section on classes that are not enrolled."""
    blocks = (_block(protocol, looks, name="open_set", draws=_open_figure, facts=_open_facts) for protocol in found)
    return Section(
        "open_set",
        "Unknown classes",
        "One class of each episode is left out of the support. The curve shows, for every threshold, how many clips of "
        "the known classes are accepted and rightly named, over how many of the unknown class are accepted too.",
        tuple(block for block in blocks if block is not None),
    )


_CAPTIONS = {
    "calibration": "Expected calibration error (ECE) in points, over {bins}; * its temperature was fitted on "
    "meta-validation clips.",
    "open_set": "Unknown class against known ones: area under the ROC curve (AUROC) / share of unknown clips accepted "
    "where 95 % of the known are (FPR95, %) / area under the curve above (OSCR); * its novelty was fitted on "
    "meta-validation clips.",
}


def _block(
    protocol: Protocol,
    looks: Mapping[str, Look],
    *,
    name: str,
    draws: Callable[[Protocol, str, Mapping[str, Look]], Figure | None],
    facts: Callable[[Record], Row | None],
) -> Block | None:
    words = _ece_words if name == "calibration" else _open_words
    caption = f"{protocol.name}. {_CAPTIONS[name].format(bins=_bins(protocol))}"
    table = by_corpus(protocol, name=name, caption=caption, facts=facts, words=words)
    if table is None:
        return None
    figures = [figure for corpus in protocol.corpora if (figure := draws(protocol, corpus, looks)) is not None]
    return Block(protocol.heading, legend=protocol.best(), figures=tuple(figures), tables=present([table]))


def _bins(protocol: Protocol) -> str:
    """Return over how many bins the ECE is: records of version 0.1 have others than those of today."""
    counts = sorted({len(record.reliability.bins) for record in protocol.records if record.reliability is not None})
    return " or ".join(map(str, counts)) + " bins"


def _reliability_figure(protocol: Protocol, corpus: str, looks: Mapping[str, Look]) -> Figure | None:
    best = protocol.best()
    found = {
        record.method: Line(
            tuple(100 * bin.confidence for bin in record.reliability.bins if bin.count >= _FEWEST),
            tuple(100 * bin.accuracy for bin in record.reliability.bins if bin.count >= _FEWEST),
        )
        for record in protocol.on(corpus)
        if record.reliability is not None and record.method in best
    }
    if not found:
        return None
    paint = lines(found, looks, x_label="said to be sure, %", y_label="right, %", square=True, diagonal=True)
    told = f"Reliability of {', '.join(found)}; the table below gives the expected calibration error of each."
    drawing = draw(
        paint, name=f"reliability {protocol.name} {corpus}", title=f"Reliability on {corpus}", description=told
    )
    return Figure(corpus, drawing)


def _open_figure(protocol: Protocol, corpus: str, looks: Mapping[str, Look]) -> Figure | None:
    best = protocol.best(DRAWN)
    found = {
        record.method: Line(
            tuple(100 * x for x in record.open_set.accepted_unknown),
            tuple(100 * y for y in record.open_set.named_known),
        )
        for record in protocol.on(corpus)
        if record.open_set is not None and record.method in best
    }
    if not found:
        return None
    paint = lines(
        found, looks, x_label="unknown clips accepted, %", y_label="known, accepted and named, %", square=True
    )
    told = f"Open-set curves of {', '.join(found)}; the table below gives the area under each."
    drawing = draw(paint, name=f"open {protocol.name} {corpus}", title=f"Unknown class on {corpus}", description=told)
    return Figure(corpus, drawing)


def _reliability_facts(record: Record) -> Row | None:
    found = record.reliability
    return None if found is None else {"ece": found.ece, "calibrated": found.calibrated}


def _open_facts(record: Record) -> Row | None:
    found = record.open_set
    if found is None:
        return None
    names = ("episodes", "calibrated", "auroc", "fpr95", "oscr")
    return {name: getattr(found, name) for name in names}


def _ece_words(row: Row) -> str:
    return number(row["ece"], factor=100) + ("*" if row["calibrated"] else "")


def _open_words(row: Row) -> str:
    fitted = "*" if row["calibrated"] else ""
    return f"{row['auroc']:.2f} / {100 * row['fpr95']:.0f} / {row['oscr']:.2f}{fitted}"
