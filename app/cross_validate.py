"""What an enrolment knows of itself: every clip recognised by all others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from weakref import WeakKeyDictionary

import torch

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.compute.threads import small_work
from ser_fewshot.errors import AdaptationError
from ser_fewshot.frontends import stack
from ser_fewshot.learners import evaluating

Answer = tuple[str, str]
"""The label of a clip, and what it is taken for."""

_SINGLY = 100
_IN_ONE_STEP = frozenset(("ridge", "protonet", "nearest"))
"""Learners that adapt by a formula, in milliseconds; others descend, and are adapted at most _MOST_FOLDS times."""
_MOST_FOLDS = 10

_known: WeakKeyDictionary[FewShotClassifier, dict[frozenset[str], tuple[Answer, ...]]] = WeakKeyDictionary()
# A classifier of the page is never changed, so what it knows of itself is asked once and not for every prediction.


def leave_one_out(classifier: FewShotClassifier, labels: Collection[str]) -> tuple[Answer, ...]:
    """Recognise every clip of some labels by all other clips of these labels, adapting anew without it.

    Labels of a single clip cannot be held out and are left aside; the answer is empty for fewer than two labels. Of
    more than _SINGLY clips, one of each label is held out at a time, or a visitor would wait for seconds; of more than
    _MOST_FOLDS, several are, if the learner takes its time.
    """
    known, asked = _known.setdefault(classifier, {}), frozenset(labels)
    if asked not in known:
        known[asked] = _held_out(classifier, asked)
    return known[asked]


@small_work()
def _held_out(classifier: FewShotClassifier, labels: Collection[str]) -> tuple[Answer, ...]:
    learner = classifier.model.learner
    classes = {
        label: members for label, members in classifier.members.items() if label in labels and len(members.names) > 1
    }
    if len(classes) < 2:
        return ()
    names = list(classes)
    clips = stack([clip for members in classes.values() for clip in members.clips])
    y = torch.tensor([number for number, members in enumerate(classes.values()) for _ in members.clips])
    answers: list[Answer] = []
    with evaluating(learner):
        folds = _folds([len(members.names) for members in classes.values()])
        most = len(folds) if classifier.model.config.learner in _IN_ONE_STEP else _MOST_FOLDS
        for rows in _merged(folds, most):
            out = torch.zeros(len(y), dtype=torch.bool)
            out[rows] = True
            try:
                classifier_of_rest = learner.adapt(clips.select((~out).nonzero()[:, 0]), y[~out])
            except AdaptationError:  # a learner that diverges without these clips knows nothing of them
                continue
            taken_for = classifier_of_rest(clips.select(torch.tensor(rows))).argmax(1)
            answers += [(names[y[row]], names[taken]) for row, taken in zip(rows, taken_for.tolist(), strict=True)]
    return tuple(answers)


def _folds(sizes: Sequence[int]) -> list[list[int]]:
    """Sizes of the labels -> the rows that are held out together, every row once."""
    total = sum(sizes)
    if total <= _SINGLY:
        return [[row] for row in range(total)]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    return [
        [start + place for start, size in zip(starts, sizes, strict=True) if place < size]
        for place in range(max(sizes))
    ]


def _merged(folds: list[list[int]], most: int) -> list[list[int]]:
    """Return at most so many folds, of rows that lie far apart, so that no label is held out as a whole."""
    return [list(chain.from_iterable(folds[first::most])) for first in range(min(most, len(folds)))]


def confused(answers: Collection[Answer], first: str, second: str) -> float:
    """Return the share of the clips of two labels that are taken for the other of the two, in [0, 1]."""
    theirs = [(truth, answer) for truth, answer in answers if truth in (first, second)]
    mixed = sum(truth != answer and answer in (first, second) for truth, answer in theirs)
    return mixed / len(theirs) if theirs else 0.0
