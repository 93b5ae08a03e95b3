"""Which learner for which question: means over the corpora of compare_learners.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from _tables._text import table
from _tables.held_out import UNTRAINED, questions

CLOSE = 0.01  # UAR: nobody should choose by less than a point
KINDS = {"emotions": "emotions of new speakers", "classes": "emotions never trained on", "speakers": "speakers"}


@dataclass(frozen=True)
class Situation:
    """One kind of question, at one number of ways and shots.

    Attributes:
        uar: of each learner, the mean over the corpora that were asked.
        corpora: how many these are.
    """

    uar: Mapping[str, float]
    chance: float
    corpora: int


def by_question() -> str:
    """Who is best at each kind of question, who is as good, and what no training at all scores."""
    rows = []
    for name, situation in _situations().items():
        best, *rest = sorted(situation.uar, key=lambda learner: -situation.uar[learner])
        close = [learner for learner in rest if situation.uar[best] - situation.uar[learner] < CLOSE]
        untrained = max(UNTRAINED, key=lambda learner: situation.uar[learner])
        told = [_scored(situation, learner) for learner in (best, untrained)]
        chance = f"{100 * situation.chance:.1f}"
        rows.append([name, str(situation.corpora), told[0], "; ".join(close) or "nobody", told[1], chance])
    head = ["question", "corpora", "best", f"less than {100 * CLOSE:.0f} point behind", "best untrained", "chance"]
    return "UAR in %, mean over the corpora.\n\n" + table(head, rows)


def by_learner() -> str:
    """Every learner at every kind of question, and how long it trained."""
    situations = _situations()
    minutes: dict[str, list[float]] = {}
    for result in questions():
        for name, learner in result["learners"].items():
            minutes.setdefault(name, []).append(learner["minutes_to_train"])
    rows = [
        [name, *(f"{100 * situation.uar[name]:.1f}" for situation in situations.values()), f"{fmean(spent):.1f}"]
        for name, spent in minutes.items()
    ]
    return "UAR in %, mean over the corpora.\n\n" + table(["learner", *situations, "minutes to train"], rows)


def _scored(situation: Situation, learner: str) -> str:
    return f"{learner}: {100 * situation.uar[learner]:.1f}"


def _situations() -> dict[str, Situation]:
    asked: dict[str, list[tuple[dict[str, float], float]]] = {}
    for result in questions():
        of = result["learners"]
        for protocol in next(iter(of.values()))["scores"]:
            scores = {name: row["scores"][protocol] for name, row in of.items()}
            name = f"{KINDS[result['kind']]}, {protocol.split(' by ')[0]}"
            chance = next(iter(scores.values()))["chance"]
            asked.setdefault(name, []).append(({key: row["uar"]["mean"] for key, row in scores.items()}, chance))
    return {name: _mean(runs) for name, runs in asked.items()}


def _mean(runs: list[tuple[dict[str, float], float]]) -> Situation:
    scores = [uar for uar, _ in runs]
    means = {learner: fmean(uar[learner] for uar in scores) for learner in scores[0]}
    return Situation(means, runs[0][1], len(runs))
