"""UAR of every method on every corpus with intervals and significance, and over the number of shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import pandas as pd

from ser_fewshot.benchmark.html import Look
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.report.charts import Figure, Series, chart
from ser_fewshot.benchmark.report.table import (
    ABSENT,
    Block,
    ReportTable,
    Row,
    Tones,
    by_corpus,
    identity,
    number,
    percent,
    slug,
)
from ser_fewshot.benchmark.results import ALIKE, TRAINED_ON, ProtocolResults, half_width, uar
from ser_fewshot.evaluation import interval

_SIGNS = {ALIKE: " †", TRAINED_ON: " ‡"}
_SPREAD = 0.6  # of a row of the chart, over which the corpora are spread


def score_blocks(protocols: Sequence[ProtocolResults], looks: Mapping[str, Look]) -> list[Block]:
    """Return an overview, where there is more than one protocol, and the scores of each."""
    overview = [Block("All protocols", tables=[_overview(protocols)])] if len(protocols) > 1 else []
    return overview + [_block(results, looks) for results in protocols]


def shots_blocks(protocols: Sequence[ProtocolResults], looks: Mapping[str, Look]) -> list[Block]:
    """Return UAR over the number of shots, for every family of protocols that differ in nothing else."""
    families: dict[str, dict[int, ProtocolResults]] = {}
    for results in protocols:
        k_shot = _k_shot(results.records[0])
        family = results.protocol.replace(f"{k_shot}-shot", "").strip("- ") or results.protocol
        families.setdefault(family, {})[k_shot] = results
    return [_shots(name, list(found.values()), looks) for name, found in families.items() if len(found) > 1]


def _overview(protocols: Sequence[ProtocolResults]) -> ReportTable:
    means = pd.DataFrame({p.protocol: {name: p.mean(name) for name in p.methods} for p in protocols}, dtype=float)
    order = means.agg(["count", "mean"], axis=1).sort_values(["count", "mean"], ascending=False, kind="stable")
    means = means.loc[order.index].rename_axis("method")
    labels = {method: p.label(method) for p in protocols for method in p.methods}
    shown, tones = pd.DataFrame({"method": [*map(labels.get, means.index), "chance"]}), Tones()
    for place, p in enumerate(protocols, start=1):
        column = means[p.protocol]
        signs = {method: any(record.heard for record in p.row(method)) for method in column.dropna().index}
        chance = fmean(100 * p.column(corpus)[0].chance for corpus in p.corpora)
        texts = [number(mean) + " ‡" * signs.get(method, False) for method, mean in column.items()]
        shown[p.protocol] = [*texts, number(chance)]
        compared = column[list(map(p.compared, means.index))].dropna()
        if len(compared):
            tones[means.index.get_loc(compared.idxmax()), place] = "best"
    caption = (
        "Mean UAR in % over the corpora of each protocol; a method that was not tested on all of them has none. Bold: "
        "the highest mean. ‡: trained on one or more of these corpora. Intervals and significance follow below."
    )
    data = means.reset_index().melt("method", var_name="protocol", value_name="uar_percent")
    return ReportTable("overview", caption, data, shown, tones)


def _block(results: ProtocolResults, looks: Mapping[str, Look]) -> Block:
    specs = "; or ".join(sorted({record.words for record in results.records}))
    episodes = "; ".join(
        f"{r.corpus}: chance {100 * r.chance:.1f} %, {r.episodes} episodes {r.episodes_sha256[:12]}"
        for r in (results.column(corpus)[0] for corpus in results.corpora)
    )
    tables = _scores(results) + _significance(results)
    return Block(results.heading, [f"{specs}. {episodes}."], results.corpora, [_chart(results, looks)], tables)


def _scores(results: ProtocolResults) -> list[ReportTable]:
    rows = [
        {
            **identity(record),
            "uar": record.uar and record.uar.mean,
            "uar_ci95": record.uar and record.uar.ci95,
            "accuracy": record.accuracy and record.accuracy.mean,
            "accuracy_ci95": record.accuracy and record.accuracy.ci95,
            "chance": record.chance,
            "mark": results.mark(record.method, record.corpus),
            "p_holm": verdict.p.get(record.method) if (verdict := results.verdicts[record.corpus]) else None,
            "episodes": record.episodes,
            "episodes_sha256": record.episodes_sha256,
            "words": record.words,
        }
        for record in results.records
    ]
    tones: Tones = {
        (results.methods.index(verdict.best), column): "best"
        for column, verdict in enumerate(results.verdicts.values(), start=1)
        if verdict
    }

    def text(row: Row) -> str:
        return percent(row["uar"], row["uar_ci95"]) + _SIGNS.get(row["mark"], "")

    caption = "UAR in %, mean ± 95 % confidence interval over episodes; highest mean first."
    tables = by_corpus(results, "scores", caption, rows, text, tones=tones)
    means = [number(results.mean(method)) for method in results.methods]
    tables[0].shown.insert(len(results.corpora) + 1, "mean", means, allow_duplicates=True)  # a corpus may be called so
    return tables


def _significance(results: ProtocolResults) -> list[ReportTable]:
    rows = []
    for record in results.records:
        verdict = results.verdicts[record.corpus]
        if verdict and record.method in verdict.p:
            best = results.cells[verdict.best, record.corpus]
            found = interval(np.array(record.uar_per_episode) - np.array(best.uar_per_episode))
            values = {"best": verdict.best, "difference": found.mean, "ci95": found.half_width}
            rows.append({**identity(record), **values, "p_holm": verdict.p[record.method]})

    def text(row: Row) -> str:
        p = "< 0.001" if row["p_holm"] < 0.001 else number(row["p_holm"], places=3)
        return f"{percent(row['difference'], row['ci95'])}, p {p}"

    caption = (
        "paired difference in UAR to the best method of the column, in percentage points ± 95 % confidence interval, "
        "and p-value after Holm's correction."
    )
    return by_corpus(results, "significance", caption, rows, text, folded=True)


def _chart(results: ProtocolResults, looks: Mapping[str, Look]) -> Figure:
    dots = {}
    for place, corpus in enumerate(results.corpora):
        found = results.column(corpus)
        offset = _SPREAD * ((place + 0.5) / len(results.corpora) - 0.5)
        rows = [results.methods.index(record.method) + offset for record in found]
        dots[corpus] = Series(list(map(uar, found)), rows, list(map(half_width, found)))
    chance = _chance_level(results.records)
    return chart(
        "UAR by corpus with 95 % confidence intervals" + ("" if chance is None else "; dotted: chance"),
        dots,
        looks,
        alt=f"{results.protocol}: UAR of every method on {', '.join(dots)}, as in the table of scores.",
        labels=("UAR, %", ""),
        reference=None if chance is None else Series((chance, chance), (-1, len(results.methods))),
        rows=results.methods,
    )


def _shots(family: str, found: Sequence[ProtocolResults], looks: Mapping[str, Look]) -> Block:
    records = [record for results in found for record in results.records]
    corpora = sorted({record.corpus for record in records})
    best = max((results.best() for results in found), key=len)
    charts = [_shots_chart(family, [one for one in records if one.corpus == name], best, looks) for name in corpora]
    rows = [
        {**identity(one), "k_shot": _k_shot(one), "uar": one.uar.mean, "uar_ci95": one.uar.ci95}
        for one in records
        if one.uar
    ]
    texts = pd.DataFrame([{**row, "text": percent(row["uar"], row["uar_ci95"])} for row in rows])
    shown = texts.pivot_table("text", ["corpus", "method"], "k_shot", aggfunc="first").fillna(ABSENT)
    table = ReportTable(
        f"shots_{slug(family)}",
        f"{family}: UAR in %, mean ± 95 % confidence interval over episodes, by the number of shots.",
        pd.DataFrame(rows),
        shown.rename(columns="{}-shot".format).reset_index(),
        text_columns=2,
        folded=True,
    )
    return Block(family, legend=best, figures=charts, tables=[table])


def _shots_chart(family: str, records: Sequence[Record], methods: Sequence[str], looks: Mapping[str, Look]) -> Figure:
    lines, values = {}, []
    for method in methods:
        own = sorted((record for record in records if record.method == method), key=_k_shot)
        if own:
            lines[method] = Series(list(map(_k_shot, own)), list(map(uar, own)), list(map(half_width, own)))
            values.append(f"{method}: {', '.join(f'{uar(one):.1f} % with {_k_shot(one)}' for one in own)}")
    ticks, chance, corpus = sorted(set(map(_k_shot, records))), _chance_level(records), records[0].corpus
    return chart(
        corpus,
        lines,
        looks,
        alt=f"{family}: UAR by number of shots on {corpus}. {'; '.join(values)}.",
        labels=("support clips per class (shots)", "UAR, %"),
        reference=None if chance is None else Series((ticks[0], ticks[-1]), (chance, chance)),
        ticks=ticks,
    )


def _chance_level(records: Sequence[Record]) -> float | None:
    """Return the chance level in %; None where it is not the same for all."""
    levels = {round(100 * record.chance, 6) for record in records}
    return levels.pop() if len(levels) == 1 else None


def _k_shot(record: Record) -> int:
    return int(record.spec["k_shot"])
