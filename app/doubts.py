"""Why an answer may be wrong, in what the visitor can do something about."""

from __future__ import annotations

from ser_fewshot.classifier import FewShotClassifier, Prediction

from .clips import note
from .cross_validate import confused, leave_one_out
from .session import Code, Note

ENOUGH_CLIPS = 5
"""Of a class: what the model's results are told for."""
OVERLAP = 0.25
"""Share of clips held out that two classes take for the other from which they are said to overlap."""
_FEW_CLIPS = 3
_CLOSE = 0.15  # of probability, from the first to the second answer


def doubts_of(classifier: FewShotClassifier, prediction: Prediction) -> tuple[Note, ...]:
    """Return why a prediction may be wrong: it is far from all clips, close between two classes, or of few clips."""
    ranked = sorted(prediction.probabilities, key=prediction.probabilities.__getitem__, reverse=True)
    first, second = ranked[:2]
    counts = {label: len(classifier.enrolled[label]) for label in (first, second)}
    doubts = []
    if prediction.unknown:
        doubts.append(note(Code.FAR_AWAY, "info"))
    if prediction.probabilities[first] - prediction.probabilities[second] < _CLOSE:
        doubts.append(note(Code.CLOSE_CALL, "info", first=first, second=second))
    doubts += [
        note(Code.FEW_CLIPS, "info", label=label, count=count, enough=ENOUGH_CLIPS)
        for label, count in counts.items()
        if count < _FEW_CLIPS
    ]
    if confused(leave_one_out(classifier, {first, second}), first, second) >= OVERLAP:
        doubts.append(note(Code.OVERLAP, "info", first=first, second=second))
    return tuple(doubts)
