"""The benchmark over all corpora: its own page, the best method of every protocol, and scores by learner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean

from _tables._text import RESULTS, percent, table
from ser_fewshot.benchmark.protocols import PROTOCOLS
from ser_fewshot.benchmark.record import Record, Score
from ser_fewshot.benchmark.significance import is_compared
from ser_fewshot.benchmark.store import read_results

RUN = RESULTS / "benchmark"
CONVENTIONAL = ("finetune", "multitask")
UNTRAINED = ("nearest", "nearest-mean-logmel", "functionals-ridge")
CLOSE = 0.01  # UAR: smaller differences are no reason to choose


@dataclass(frozen=True)
class Means:
    """Mean UAR of each learner, and mean chance, over the corpora that can serve a protocol, and their number."""

    uar: Mapping[str, float]
    chance: float
    corpora: int


def benchmark() -> str:
    """The page that the benchmark wrote, as a part of another."""
    text = (RUN / "RESULTS.md").read_text(encoding="utf-8").partition("\n")[2].lstrip("\n")
    return re.sub(r"^#", "##", text, flags=re.MULTILINE)


def contrast() -> str:
    """The best meta-learner, conventional and untrained method of every protocol and corpus."""
    rows = []
    for protocol in PROTOCOLS:
        for corpus, column in _columns(protocol.name).items():
            scores = {record.method: record.uar for record in column if record.uar is not None}
            meta = [
                one.method
                for one in column
                if one.kind == "learner" and one.method.partition(":")[0] not in CONVENTIONAL + UNTRAINED
            ]
            conventional = [name for name in scores if name.partition(":")[0] in CONVENTIONAL]
            best = [max(group, key=lambda name: scores[name].mean) for group in (meta, conventional, UNTRAINED)]
            first, second = sorted((scores[name] for name in best), key=lambda uar: -uar.mean)[:2]
            apart = first.mean - _half(first) > second.mean + _half(second)
            winner = max(best, key=lambda name: scores[name].mean) if apart else "none"
            rows.append([f"{protocol.name}, {corpus}", *(f"{name}: {_text(scores[name])}" for name in best), winner])
    return table(["question", "best meta-learner", "best fine-tuning or multi-task", "best untrained", "wins"], rows)


def by_question() -> str:
    """The best learner of every protocol, those as good, and the best untrained one."""
    rows = []
    for name, one in _means().items():
        best, *rest = sorted(one.uar, key=lambda learner: -one.uar[learner])
        close = [learner for learner in rest if one.uar[best] - one.uar[learner] < CLOSE]
        untrained = max(UNTRAINED, key=lambda learner: one.uar[learner])
        shown = [f"{learner}: {100 * one.uar[learner]:.1f}" for learner in (best, untrained)]
        chance = f"{100 * one.chance:.1f}"
        rows.append([name, str(one.corpora), shown[0], "; ".join(close) or "nobody", shown[1], chance])
    head = ["question", "corpora", "best", f"less than {100 * CLOSE:.0f} point behind", "best untrained", "chance"]
    return "UAR in %, mean over the corpora.\n\n" + table(head, rows)


def by_learner() -> str:
    """Every learner by protocol, and the minutes to train it."""
    means = _means()
    minutes: dict[str, list[float]] = {}
    for record in _records():
        if _is_learner(record):
            minutes.setdefault(record.method, []).append(record.origin.minutes_to_train)
    rows = [
        [name, *(f"{100 * one.uar[name]:.1f}" for one in means.values()), f"{fmean(spent):.1f}"]
        for name, spent in minutes.items()
    ]
    rows.append(["chance", *(f"{100 * one.chance:.1f}" for one in means.values()), ""])
    return "UAR in %, mean over the corpora.\n\n" + table(["learner", *means, "minutes to train"], rows)


@lru_cache(maxsize=1)
def _records() -> tuple[Record, ...]:
    return read_results(RUN)


def _columns(protocol: str) -> dict[str, list[Record]]:
    """Return the compared records of a protocol by corpus."""
    columns: dict[str, list[Record]] = {}
    for record in _records():
        if record.protocol == protocol and is_compared(record):
            columns.setdefault(record.corpus, []).append(record)
    return columns


def _means() -> dict[str, Means]:
    found = {}
    for protocol in PROTOCOLS:
        columns = [[one for one in column if _is_learner(one)] for column in _columns(protocol.name).values()]
        if not columns:  # a protocol that is younger than the run
            continue
        names = [record.method for record in columns[0]]
        uar = {name: fmean(_mean(one) for column in columns for one in column if one.method == name) for name in names}
        chance = fmean(column[0].chance for column in columns)
        found[protocol.name] = Means(uar, chance, len(columns))
    return found


def _is_learner(record: Record) -> bool:
    """Return whether a record is of a learner or an untrained method."""
    return record.done and (record.kind == "learner" or record.method in UNTRAINED)


def _mean(record: Record) -> float:
    return record.uar.mean if record.uar is not None else 0.0


def _half(score: Score) -> float:
    return score.ci95 or 0.0


def _text(score: Score) -> str:
    return percent({"mean": score.mean, "ci95": _half(score)})
