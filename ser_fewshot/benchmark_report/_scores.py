"""Who is right how often: UAR of every method on every corpus, and which differences are more than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.tables import ALIKE, HEARD, Table, legend
from ser_fewshot.benchmark_report._curves import Line, dots, room
from ser_fewshot.benchmark_report._grid import Protocol, percent_of
from ser_fewshot.benchmark_report._overview import overview
from ser_fewshot.benchmark_report._page import Block, Figure, Row, Section, by_corpus, identity, label_of, present
from ser_fewshot.benchmark_report._svg import draw
from ser_fewshot.benchmark_report._table import ABSENT, ReportTable, Tone, frame, number, percent, probability
from ser_fewshot.evaluation import interval
from ser_fewshot.report import Look

_SIGNS = {ALIKE: " †", HEARD: " ‡"}


def scores(found: Sequence[Protocol], tables: Mapping[str, Table], marks: Mapping[str, Look]) -> Section:
    """Return the section.

    Args:
        found: the protocols.
        tables: of each, which method is best where.
        marks: how corpora are drawn.
    """
    return Section(
        "scores",
        "Scores",
        f"Unweighted average recall: {legend()}",
        (
            *filter(None, (overview(found),)),
            *(_block(one, tables[one.name], marks, open=not place) for place, one in enumerate(found)),
        ),
    )


def _block(protocol: Protocol, table: Table, marks: Mapping[str, Look], *, open: bool) -> Block:
    return Block(
        protocol.heading,
        notes=(f"{protocol.words}. {_episodes(protocol)}",),
        legend=protocol.corpora,
        figures=(_figure(protocol, marks),),
        tables=present([_scores_table(protocol, table), _significance(protocol, table)]),
        open=open,
    )


def _scores_table(protocol: Protocol, table: Table) -> ReportTable:
    """Return UAR by method and corpus, and its mean over the corpora."""
    shown = [
        [
            label_of(protocol, name),
            *(_cell(table, protocol.at(name, corpus)) for corpus in protocol.corpora),
            _mean(protocol, name),
        ]
        for name in protocol.methods
    ]
    tones: dict[tuple[int, int], Tone] = {
        (protocol.methods.index(verdict.best), 1 + column): "best"
        for column, corpus in enumerate(protocol.corpora)
        if (verdict := table.verdicts[corpus]) is not None
    }
    numbers = [_facts(table, record) for corpus in protocol.corpora for record in protocol.on(corpus)]
    return ReportTable(
        f"scores_{protocol.slug}",
        f"{protocol.name}: UAR in %, mean ± 95 % confidence interval over episodes; best mean first.",
        frame(numbers, columns=numbers[0]),
        frame(shown, columns=["method", *protocol.corpora, "mean"]),
        tones=tones,
    )


def _significance(protocol: Protocol, table: Table) -> ReportTable | None:
    """Return by how much each method is worse than the best of its column, and how sure that is."""

    def facts(record: Record) -> Row | None:
        verdict = table.verdicts[record.corpus]
        best = None if verdict is None else protocol.at(verdict.best, record.corpus)
        if verdict is None or best is None or record.method not in verdict.p:
            return None
        found = interval(np.array(record.uar_per_episode) - np.array(best.uar_per_episode))
        told = {"best": verdict.best, "difference": found.mean, "ci95": found.half_width}
        return {**told, "p_holm": verdict.p[record.method]}

    found = by_corpus(
        protocol,
        name="significance",
        caption=f"{protocol.name}: paired difference in UAR to the best of the column, in points ± 95 % confidence "
        "interval, and p after Holm's correction.",
        facts=facts,
        words=lambda row: f"{percent(row['difference'], row['ci95'])}, p {probability(row['p_holm'])}",
    )
    return None if found is None else replace(found, folded=True)


def _facts(table: Table, record: Record) -> Row:
    """Return what the CSV file has of a record, shares in [0, 1]."""
    verdict = table.verdicts[record.corpus]
    told = {
        f"{name}{ending}": value
        for name, score in (("uar", record.uar), ("accuracy", record.accuracy))
        for ending, value in (("", score and score.mean), ("_ci95", score and score.ci95))
    }
    return {
        **identity(record),
        **told,
        "chance": record.chance,
        "mark": table.mark(record.method, record.corpus),
        "p_holm": verdict.p.get(record.method) if verdict is not None else None,
        "episodes": record.episodes,
        "episodes_sha256": record.episodes_sha256,
        "words": record.words,
    }


def _cell(table: Table, record: Record | None) -> str:
    if record is None or record.uar is None:
        return ABSENT
    return percent(record.uar.mean, record.uar.ci95) + _SIGNS.get(table.mark(record.method, record.corpus), "")


def _mean(protocol: Protocol, method: str) -> str:
    """Return the mean over all corpora of the protocol; of some of them it would be another question."""
    found = [record for corpus in protocol.corpora if (record := protocol.at(method, corpus)) is not None]
    return number(fmean(map(percent_of, found))) if len(found) == len(protocol.corpora) else ABSENT


def _figure(protocol: Protocol, marks: Mapping[str, Look]) -> Figure:
    """Return a panel with a row a method and a mark a corpus."""
    found = {
        corpus: {
            record.method: Line(
                (percent_of(record),), (0.0,), ((100 * record.uar.ci95,) if record.uar and record.uar.ci95 else ())
            )
            for record in protocol.on(corpus)
        }
        for corpus in protocol.corpora
    }
    chances = {round(100 * record.chance, 6) for record in protocol.records}
    drawing = draw(
        dots(protocol.methods, found, marks, x_label="UAR, %", chance=min(chances) if len(chances) == 1 else None),
        name=f"scores {protocol.name}",
        title=f"UAR of every method, {protocol.name}",
        description="The same numbers stand in the table below.",
        **room(protocol.methods),
    )
    return Figure(
        "UAR by corpus with 95 % confidence intervals" + ("; dotted: chance" if len(chances) == 1 else ""), drawing
    )


def _episodes(protocol: Protocol) -> str:
    """Say what chance is and how many episodes there are, of each corpus if they differ."""
    told = {
        corpus: f"chance {100 * record.chance:.1f} %, {record.episodes} episodes {record.episodes_sha256[:12]}"
        for corpus in protocol.corpora
        for record in protocol.on(corpus)[:1]
    }
    return "; ".join(f"{corpus}: {words}" for corpus, words in told.items()) + "."
