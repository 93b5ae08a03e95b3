"""A look inside: a map of the clips, what the enrolment confuses with itself, and what would help it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.evaluation.novelty import points
from ser_fewshot.frontends import stack

from .clips import note
from .cross_validate import Answer, confused, leave_one_out
from .doubts import OVERLAP
from .enrolled import kept_of
from .session import Code, Enrolment, Note, Session, Trail

_POOR_RECALL = 0.6
_UNBALANCED = 2.0  # times as many clips as another label


@dataclass(frozen=True)
class MapPoint:
    """A clip on the map: where it lies, its name, its label (recognised: the answer), and whether it was enrolled."""

    x: float
    y: float
    name: str
    label: str
    kind: Literal["enrolled", "recognised"]


@dataclass(frozen=True, eq=False)
class Confusion:
    """What every enrolled clip is taken for by the others.

    Attributes:
        labels: (n_way,) rows and columns; rows are true. Labels of a single clip are left aside.
        counts: (n_way, n_way) clips; (0, 0) where there are too few to tell.
        hints: which class needs more clips, which two overlap, or that all is well.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    hints: tuple[Note, ...]


def map_points(session: Session, trail: Trail) -> tuple[MapPoint, ...]:
    """Return all clips on the plane in which the enrolled ones differ most; empty for fewer than three of these.

    Recognised ones are there as long as all that their answer names is enrolled.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import, and many visitors never look inside

    classifier = session.enrolment.classifier
    if classifier is None or session.enrolment.count < 3:
        return ()
    members = classifier.members
    recognised = [one for one in trail.recognised if one.holds(session.enrolment)]
    heard = kept_of(classifier, [one.sound.clip for one in recognised])
    enrolled = [clip for those in members.values() for clip in those.clips]
    at = points(stack([*enrolled, *heard])).numpy().astype(np.float64)  # (n, width)
    plane = PCA(n_components=2, svd_solver="full").fit(at[: len(enrolled)]).transform(at)
    names: list[tuple[str, str, Literal["enrolled", "recognised"]]] = [
        (name, label, "enrolled") for label, those in members.items() for name in those.names
    ]
    names += [(one.sound.clip.name, one.label, "recognised") for one in recognised]
    return tuple(
        MapPoint(x, y, name, label, kind) for (x, y), (name, label, kind) in zip(plane.tolist(), names, strict=True)
    )


def beside(points: Sequence[MapPoint]) -> tuple[MapPoint, ...]:
    """Return for each point of a map the enrolled one that stands nearest to it, itself aside: the map in words."""
    from scipy.spatial.distance import cdist  # noqa: PLC0415 - as above

    if not points:
        return ()
    enrolled = [number for number, point in enumerate(points) if point.kind == "enrolled"]
    at = np.array([(point.x, point.y) for point in points])
    distances = cdist(at, at[enrolled])  # (n_points, n_enrolled)
    distances[enrolled, range(len(enrolled))] = np.inf
    return tuple(points[enrolled[nearest]] for nearest in distances.argmin(1))


def confusion(session: Session) -> Confusion:
    """Recognise every enrolled clip by all others, and say what would help."""
    from sklearn.metrics import confusion_matrix  # noqa: PLC0415 - as above

    classifier = session.enrolment.classifier
    answers = () if classifier is None else leave_one_out(classifier, session.labels)
    told = {truth for truth, _ in answers}
    labels = tuple(label for label in session.labels if label in told)
    if not answers:
        hints = (note(Code.TOO_FEW_TO_TELL, "info"), *_balance(session.enrolment))
        return Confusion((), np.zeros((0, 0), dtype=np.int64), hints)
    truths, takens = zip(*answers, strict=True)
    counts = confusion_matrix(truths, takens, labels=list(labels))
    hints = (*_balance(session.enrolment), *_weak(labels, counts), *_overlaps(labels, answers))
    return Confusion(labels, counts, hints or (note(Code.LOOKS_GOOD, "info"),))


def _balance(enrolment: Enrolment) -> tuple[Note, ...]:
    """Return which labels have far fewer clips than the largest."""
    sizes = {label: len(names) for label, names in enrolment.clips.items()}
    largest = max(sizes, key=sizes.__getitem__, default=None)
    return tuple(
        note(Code.UNBALANCED, "info", label=label, count=size, most=sizes[largest], most_label=largest)
        for label, size in sizes.items()
        if largest is not None and sizes[largest] >= _UNBALANCED * size
    )


def _weak(labels: tuple[str, ...], counts: NDArray[np.int64]) -> tuple[Note, ...]:
    """Return which label is recognised worst, if that is badly."""
    recall = counts.diagonal() / counts.sum(1)
    worst = int(recall.argmin())
    poor = note(Code.NEEDS_MORE, "info", label=labels[worst], share=round(100 * float(recall[worst])))
    return (poor,) if recall[worst] < _POOR_RECALL else ()


def _overlaps(labels: tuple[str, ...], answers: tuple[Answer, ...]) -> tuple[Note, ...]:
    """Return which two labels are taken for each other most, if that is often."""
    share, first, second = max((confused(answers, one, other), one, other) for one, other in combinations(labels, 2))
    return (note(Code.OVERLAP, "info", first=first, second=second),) if share >= OVERLAP else ()
