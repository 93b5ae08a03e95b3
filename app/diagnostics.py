"""Diagnostics of an enrolment: leave-one-out confusion, hints, doubts about a prediction, and a map of the clips."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from ser_fewshot.classifier import FewShotClassifier, Prediction
from ser_fewshot.classifier.inputs import class_key
from ser_fewshot.compute.threads import small_work
from ser_fewshot.errors import AdaptationError
from ser_fewshot.evaluation.support import AdaptedSupport
from ser_fewshot.frontends import stack
from ser_fewshot.learners import evaluating, points

from .enrolment import Enrolment
from .notes import Code, Note, note
from .session import History, Session

Pair = tuple[str, str]
"""The true and the predicted label of a clip."""

ENOUGH_CLIPS = 5
"""Of a class: what the model's results are given for."""
_FEW_CLIPS = 3
_CLOSE = 0.15  # of probability, from the first to the second class
_OVERLAP = 0.25  # share of the clips of two classes that are taken for the other class
_POOR_RECALL = 0.6
_UNBALANCED = 2.0  # times as many clips as another class
_SINGLY = 100  # clips up to which each is held out alone
_CLOSED_FORM = frozenset(("ridge", "protonet", "nearest"))
"""Learners that adapt by a formula, in milliseconds; others take gradient steps, and are adapted _MOST_FOLDS times."""
_MOST_FOLDS = 10

_cache: WeakKeyDictionary[FewShotClassifier, dict[frozenset[str], tuple[Pair, ...]]] = WeakKeyDictionary()
# A classifier of the page is never changed: cross-validated once, not for every prediction.


@dataclass(frozen=True, eq=False)
class Confusion:
    """How enrolled clips are recognised by the others.

    Attributes:
        labels: (n_way,) rows and columns; rows are true. Labels of a single clip are left aside.
        counts: (n_way, n_way) clips; (0, 0) where there are too few to tell.
        hints: which class needs more clips, which two overlap, or that all is well.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    hints: tuple[Note, ...]


@dataclass(frozen=True)
class MapPoint:
    """A clip on the map: its coordinates, name and label (recognised: the answer; None for none of the labels)."""

    x: float
    y: float
    name: str
    label: str | None
    kind: Literal["enrolled", "recognised"]


def leave_one_out(classifier: FewShotClassifier, labels: Collection[str]) -> tuple[Pair, ...]:
    """Recognise every clip of some labels by all other clips of these labels, adapting anew without it.

    Labels of a single clip cannot be held out and are left aside; the result is empty for fewer than two labels. Of
    more than _SINGLY clips, one of each label is held out at a time, or a visitor would wait for seconds; of more than
    _MOST_FOLDS, several are, if the learner is not _CLOSED_FORM.
    """
    cached, key = _cache.setdefault(classifier, {}), frozenset(labels)
    if key not in cached:
        cached[key] = _cross_validated(classifier, key)
    return cached[key]


def confusion_rate(pairs: Collection[Pair], first: str, second: str) -> float:
    """Return the share of the clips of two labels that are taken for the other of the two, in [0, 1]."""
    of_both = [(true, predicted) for true, predicted in pairs if true in (first, second)]
    confused = sum(true != predicted and predicted in (first, second) for true, predicted in of_both)
    return confused / len(of_both) if of_both else 0.0


def doubts_of(classifier: FewShotClassifier, prediction: Prediction) -> tuple[Note, ...]:
    """Return why a prediction may be wrong: it is far from all clips, close between two classes, or of few clips."""
    first, second = sorted(prediction.probabilities, key=prediction.probabilities.__getitem__, reverse=True)[:2]
    counts = {label: len(classifier.enrolled[label]) for label in (first, second)}
    doubts = []
    if prediction.unknown:
        doubts.append(note(Code.FAR_AWAY))
    elif prediction.probabilities[first] - prediction.probabilities[second] < _CLOSE:
        doubts.append(note(Code.CLOSE_CALL, first=first, second=second))
    doubts += [
        note(Code.FEW_CLIPS, label=label, count=count, enough=ENOUGH_CLIPS)
        for label, count in counts.items()
        if count < _FEW_CLIPS
    ]
    if confusion_rate(leave_one_out(classifier, {first, second}), first, second) >= _OVERLAP:
        doubts.append(note(Code.OVERLAP, first=first, second=second))
    return tuple(doubts)


def confusion(session: Session) -> Confusion:
    """Recognise every enrolled clip by all others, and hint at what would help."""
    classifier = session.enrolment.classifier
    pairs = () if classifier is None else leave_one_out(classifier, session.labels)
    balance = _balance(session.enrolment)
    if not pairs:
        return Confusion((), np.zeros((0, 0), dtype=np.int64), (note(Code.TOO_FEW_TO_TELL), *balance))
    tested = {true for true, _ in pairs}
    labels = tuple(label for label in session.labels if label in tested)
    counts = np.array([[pairs.count((true, predicted)) for predicted in labels] for true in labels])
    hints = (*balance, *_weakest(labels, counts), *_most_confused(labels, pairs))
    return Confusion(labels, counts, hints or (note(Code.LOOKS_GOOD),))


def map_points(session: Session, history: History) -> tuple[MapPoint, ...]:
    """Return all clips on the first two principal components of the enrolled ones; empty for fewer than three of these.

    Recognised ones are there as long as every class of their prediction is enrolled.
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - slow to import, and many visitors never look inside

    classifier = session.enrolment.classifier
    if classifier is None or session.enrolment.count < 3:
        return ()
    members = classifier.members
    recognised = [one for one in history.recognised if one.is_valid(session.enrolment)]
    enrolled = [clip for those in members.values() for clip in those.clips]
    embedder = FewShotClassifier(classifier.model, clean_only=True)  # only what is drawn is embedded
    if recognised:
        embedder.add("recognised", [one.sound.clip for one in recognised])
    added = [clip for those in embedder.members.values() for clip in those.clips]
    at = points(stack([*enrolled, *added])).numpy().astype(np.float64)  # (n, width)
    plane = PCA(n_components=2, svd_solver="full").fit(at[: len(enrolled)]).transform(at)
    names: list[tuple[str, str | None, Literal["enrolled", "recognised"]]] = [
        (name, label, "enrolled") for label, those in members.items() for name in those.names
    ]
    names += [(one.sound.clip.name, one.answer, "recognised") for one in recognised]
    return tuple(
        MapPoint(x, y, name, label, kind) for (x, y), (name, label, kind) in zip(plane.tolist(), names, strict=True)
    )


def nearest_enrolled(points: Sequence[MapPoint]) -> tuple[MapPoint, ...]:
    """Return for each point the enrolled one that is nearest to it on the map, itself aside."""
    if not points:
        return ()
    enrolled = [number for number, point in enumerate(points) if point.kind == "enrolled"]
    at = np.array([(point.x, point.y) for point in points])
    distances = np.linalg.norm(at[:, None] - at[enrolled], axis=-1)  # (n_points, n_enrolled)
    distances[enrolled, range(len(enrolled))] = np.inf
    return tuple(points[enrolled[nearest]] for nearest in distances.argmin(1))


@small_work()
def _cross_validated(classifier: FewShotClassifier, labels: Collection[str]) -> tuple[Pair, ...]:
    model, learner = classifier.model, classifier.model.learner
    classes = {
        label: members for label, members in classifier.members.items() if label in labels and len(members.names) > 1
    }
    if len(classes) < 2:
        return ()
    labelled = list(classes)
    clips = stack([clip for members in classes.values() for clip in members.clips])
    deviations = [one for members in classes.values() for one in members.deviations]
    names = [name and class_key(name) for members in classes.values() for name in members.speakers]
    y = torch.tensor([number for number, members in enumerate(classes.values()) for _ in members.clips])
    pairs: list[Pair] = []
    with evaluating(learner):
        most = len(y) if model.config.learner in _CLOSED_FORM else _MOST_FOLDS
        for rows in _folds([len(members.names) for members in classes.values()], most):
            rest = [row for row in range(len(y)) if row not in rows]
            try:
                adapted = AdaptedSupport.of(
                    learner,
                    clips.select(torch.tensor(rest)),
                    y[rest],
                    names=[names[row] for row in rest],
                    deviations=[deviations[row] for row in rest],
                    speakers=model.speakers,
                )
            except AdaptationError:  # a learner that diverges without these clips predicts nothing for them
                continue
            predicted = adapted.classifier(clips.select(torch.tensor(rows))).argmax(1).tolist()
            pairs += [(labelled[y[row]], labelled[number]) for row, number in zip(rows, predicted, strict=True)]
    return tuple(pairs)


def _folds(sizes: Sequence[int], most: int) -> list[list[int]]:
    """Sizes of the labels -> at most so many sets of rows to hold out, every row once, and never a whole label."""
    places = enumerate(chain.from_iterable(map(range, sizes)))
    folds = [(row if sum(sizes) <= _SINGLY else place) % most for row, place in places]
    return [[row for row, fold in enumerate(folds) if fold == number] for number in sorted(set(folds))]


def _balance(enrolment: Enrolment) -> tuple[Note, ...]:
    """Hint at labels that have far fewer clips than the largest."""
    sizes = {label: len(names) for label, names in enrolment.clips.items()}
    largest = max(sizes, key=sizes.__getitem__, default="")
    return tuple(
        note(Code.UNBALANCED, label=label, count=size, most=sizes[largest], most_label=largest)
        for label, size in sizes.items()
        if sizes[largest] >= _UNBALANCED * size
    )


def _weakest(labels: tuple[str, ...], counts: NDArray[np.int64]) -> tuple[Note, ...]:
    """Hint at the label of the lowest recall, if that is poor."""
    recall = counts.diagonal() / counts.sum(1)
    worst = int(recall.argmin())
    poor = note(Code.NEEDS_MORE, label=labels[worst], share=round(100 * float(recall[worst])))
    return (poor,) if recall[worst] < _POOR_RECALL else ()


def _most_confused(labels: tuple[str, ...], pairs: tuple[Pair, ...]) -> tuple[Note, ...]:
    """Hint at the two labels that are confused most, if they overlap."""
    share, first, second = max((confusion_rate(pairs, *two), *two) for two in combinations(labels, 2))
    return (note(Code.OVERLAP, first=first, second=second),) if share >= _OVERLAP else ()
