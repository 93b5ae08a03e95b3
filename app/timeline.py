"""What the microphone's answers of the last seconds come to: marks to look at, and the same in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from ser_fewshot.classifier import Prediction

from .session import Enrolment
from .streaming import HOP_SECONDS, TIMELINE_SECONDS, Moment, Stream

_FAINTEST = 0.3  # of the marks, so that each can be seen
_UNKNOWN = "", True  # what an unknown voice is most like changes from window to window, and is no other answer


@dataclass(frozen=True)
class Run:
    """Windows in a row with the same answer: None where nobody spoke; from and to how many s ago."""

    prediction: Prediction | None
    start: float
    end: float


def known(stream: Stream, enrolment: Enrolment) -> tuple[Moment, ...]:
    """Return the moments whose answer names nothing that is no longer enrolled."""
    return tuple(
        one for one in stream.moments if one.prediction is None or enrolment.knows(one.prediction, mode=one.mode)
    )


def marks(moments: Sequence[Moment], label: str | None, *, heard: float) -> list[tuple[float, float]]:
    """Return (start in s, strength) of the windows whose answer was a label; of those that were unknown for None."""
    origin = heard - TIMELINE_SECONDS
    return [
        (one.end - origin - HOP_SECONDS, max(one.prediction.probabilities[one.prediction.label], _FAINTEST))
        for one in moments
        if one.prediction is not None and label == (None if one.prediction.unknown else one.prediction.label)
    ]


def runs(moments: Sequence[Moment], *, heard: float) -> tuple[Run, ...]:
    """Return what was answered from when to when, the latest last."""
    alike = [tuple(group) for _, group in groupby(moments, key=_answer)]
    return tuple(Run(one[-1].prediction, heard - one[0].end + HOP_SECONDS, heard - one[-1].end) for one in alike)


def settled(moments: Sequence[Moment]) -> Prediction | None:
    """Return the latest answer that two windows in a row gave; None before there was one.

    It is read aloud to who cannot see the page: one that comes and goes within a hop would only interrupt.
    """
    for before, after in reversed(tuple(pairwise(moments))):
        if after.prediction is not None and _answer(before) == _answer(after):
            return after.prediction
    return None


def _answer(moment: Moment) -> tuple[str, bool] | None:
    """Return what tells one answer from another."""
    if moment.prediction is None:
        return None
    return _UNKNOWN if moment.prediction.unknown else (moment.prediction.label, False)
