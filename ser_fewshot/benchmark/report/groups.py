"""Accuracy by the speaker, the gender and the language of the query clip."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ser_fewshot.benchmark.html import Look
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
from ser_fewshot.benchmark.results import ProtocolResults

_MAX_DRAWN = 4  # methods whose speakers are drawn
_RECORD = ["protocol", "corpus", "method", "kind"]


def group_blocks(results: ProtocolResults, looks: Mapping[str, Look]) -> list[Block]:
    """Return a chart of the speakers of each corpus, and tables by speaker, gender and language."""
    counts = _counts(results)
    if counts.empty:
        return []
    tested = counts[counts["answers"] > 0]
    by = {name: tested[tested["group"] == name] for name in ("speaker", "gender", "language")}
    charts = [one for _, found in by["speaker"].groupby("corpus") for one in _charts(results, found, looks)]
    tables = _genders(results, by["gender"]) + _speakers(results, by["speaker"]) + _languages(results, by["language"])
    return [Block(results.heading, figures=charts, tables=[*tables, _all(results, counts)])]


def _counts(results: ProtocolResults) -> pd.DataFrame:
    """Return a row per record and group of queries, with the number of queries and of correct predictions."""
    rows = [
        {**identity(record), "group": group, "value": value, "right": right, "answers": answers}
        for record in results.records
        for group, tally in record.tallies.items()
        for value, (right, answers) in tally.items()
    ]
    return pd.DataFrame([{**row, "accuracy": row["right"] / max(row["answers"], 1)} for row in rows])


def _charts(results: ProtocolResults, speakers: pd.DataFrame, looks: Mapping[str, Look]) -> list[Figure]:
    corpus = speakers["corpus"].iloc[0]
    found = dict(iter(speakers.groupby("method")["accuracy"]))
    rates = {name: found[name] for name in results.best(_MAX_DRAWN) if name in found}
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
    rates = counts.pivot(index=_RECORD, columns="value", values="accuracy").reindex(columns=["female", "male"]).dropna()
    rates["difference"] = rates["female"] - rates["male"]

    def text(row: Row) -> str:
        return f"{percent(row['female'])} / {percent(row['male'])} ({number(row['difference'], factor=100)})"

    caption = "accuracy in % on queries by women / by men, and the difference in percentage points."
    return by_corpus(results, "gender", caption, rates.reset_index().to_dict("records"), text)


def _speakers(results: ProtocolResults, counts: pd.DataFrame) -> list[ReportTable]:
    rates = counts.sort_values(["accuracy", "value"]).groupby(_RECORD, as_index=False)
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


def _all(results: ProtocolResults, counts: pd.DataFrame) -> ReportTable:
    """Return a table that shows every group for the best method; its CSV has all methods."""
    (best,) = results.best(1)
    shown = counts[counts["method"] == best][["corpus", "group", "value", "answers", "accuracy"]]
    shown = shown.assign(answers=shown["answers"].map(str), accuracy=shown["accuracy"].map(percent))
    caption = f"accuracy of {best} in % by group of queries. The CSV file has all methods."
    names = titled(results, "groups", caption)
    shown = shown.rename(columns={"group": "by", "value": "group", "answers": "queries"})
    return ReportTable(*names, counts, shown, text_columns=3, folded=True)
