"""Confusions, accuracy by group of queries, reliability and open-set curves: figures of the best, tables of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ser_fewshot.benchmark.html import Look, confusion_table
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.report.charts import Figure, Series, chart
from ser_fewshot.benchmark.report.table import (
    Block,
    ReportTable,
    Row,
    by_corpus,
    crossed,
    identity,
    number,
    percent,
    titled,
)
from ser_fewshot.benchmark.results import ProtocolResults, uar

_MAX_MATRICES, _MAX_LABELS = 2, 12  # methods whose matrices are drawn, and classes of a matrix that can be read
_LISTED, _COUNTED = 5, 200  # confusions per record on the page, and pairs of classes in the CSV file: all of 14 classes
_MAX_SPEAKERS = 4  # methods with a chart of their speakers
_IDENTITY = ["protocol", "corpus", "method", "kind"]
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


def group_blocks(results: ProtocolResults, looks: Mapping[str, Look]) -> list[Block]:
    """Return a chart of the speakers of each corpus, and tables by speaker, gender and language."""
    counts = _group_counts(results)
    if counts.empty:
        return []
    tested = counts[counts["answers"] > 0]
    by = {name: tested[tested["group"] == name] for name in ("speaker", "gender", "language")}
    charts = [one for _, found in by["speaker"].groupby("corpus") for one in _speaker_charts(results, found, looks)]
    tables = _genders(results, by["gender"]) + _speakers(results, by["speaker"]) + _languages(results, by["language"])
    return [Block(results.heading, figures=charts, tables=[*tables, _groups(results, counts)])]


def _group_counts(results: ProtocolResults) -> pd.DataFrame:
    """Return a row per record and group of queries, with the number of queries and of correct predictions."""
    rows = [
        {**identity(record), "group": group, "value": value, "right": right, "answers": answers}
        for record in results.records
        for group, tally in record.tallies.items()
        for value, (right, answers) in tally.items()
    ]
    return pd.DataFrame([{**row, "accuracy": row["right"] / max(row["answers"], 1)} for row in rows])


def _speaker_charts(results: ProtocolResults, speakers: pd.DataFrame, looks: Mapping[str, Look]) -> list[Figure]:
    corpus = speakers["corpus"].iloc[0]
    found = dict(iter(speakers.groupby("method")["accuracy"]))
    rates = {name: found[name] for name in results.best(_MAX_SPEAKERS) if name in found}
    spans = [f"{name}: {percent(x.min())} to {percent(x.max())} % over {len(x)} speakers" for name, x in rates.items()]
    chance = 100 * results.column(corpus)[0].chance
    drawn = chart(
        f"{corpus}: accuracy of each speaker; dotted: chance",
        {name: Series(list(100 * x), [row] * len(x)) for row, (name, x) in enumerate(rates.items())},
        looks,
        alt=f"{results.protocol}: accuracy of each speaker of {corpus}. {'; '.join(spans)}.",
        labels=("accuracy, %", ""),
        reference=Series((chance, chance), (-1, len(rates))),
        rows=list(rates),
    )
    return [drawn] if rates else []


def _genders(results: ProtocolResults, counts: pd.DataFrame) -> list[ReportTable]:
    rates = (
        counts.pivot(index=_IDENTITY, columns="value", values="accuracy").reindex(columns=["female", "male"]).dropna()
    )
    rates["difference"] = rates["female"] - rates["male"]

    def text(row: Row) -> str:
        return f"{percent(row['female'])} / {percent(row['male'])} ({number(row['difference'], factor=100)})"

    caption = "accuracy in % on queries by women / by men, and the difference in percentage points."
    return by_corpus(results, "gender", caption, rates.reset_index().to_dict("records"), text)


def _speakers(results: ProtocolResults, counts: pd.DataFrame) -> list[ReportTable]:
    rates = counts.sort_values(["accuracy", "value"]).groupby(_IDENTITY, as_index=False)
    spread = {name: ("accuracy", which) for name, which in (("worst", "min"), ("median", "median"), ("best", "max"))}
    rows = rates.agg(speakers=("value", "size"), **spread, worst_speaker=("value", "first")).to_dict("records")

    def text(row: Row) -> str:
        return f"{' / '.join(percent(row[name]) for name in spread)} ({row['worst_speaker']})"

    caption = "accuracy in % of the worst / median / best recognised speaker, and who is the worst."
    return by_corpus(results, "speakers", caption, rows, text)


def _languages(results: ProtocolResults, counts: pd.DataFrame) -> list[ReportTable]:
    counts = counts.rename(columns={"value": "language"})
    rates = counts.groupby(["protocol", "method", "language"], as_index=False)[["right", "answers"]].sum()
    rates["accuracy"] = rates["right"] / rates["answers"]
    cells = {(row["method"], row["language"]): percent(row["accuracy"]) for row in rates.to_dict("records")}
    shown = crossed(results, cells, results.methods, sorted(set(rates["language"])))
    caption = "accuracy in % by language (ISO 639-3), over all corpora in that language."
    return [ReportTable(*titled(results, "languages", caption), rates, shown)] if len(rates) else []


def _groups(results: ProtocolResults, counts: pd.DataFrame) -> ReportTable:
    """Return a table that shows every group for the best method; its CSV has all methods."""
    (best,) = results.best(1)
    shown = counts[counts["method"] == best][["corpus", "group", "value", "answers", "accuracy"]]
    shown = shown.assign(answers=shown["answers"].map(str), accuracy=shown["accuracy"].map(percent))
    caption = f"accuracy of {best} in % by group of queries. The CSV file has all methods."
    names = titled(results, "groups", caption)
    shown = shown.rename(columns={"group": "by", "value": "group", "answers": "queries"})
    return ReportTable(*names, counts, shown, text_columns=3, folded=True)
