"""What is enrolled: names and clips of each class, in memory and as one file that travels with its model; no audio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ser_fewshot.classifier.labels import class_key
from ser_fewshot.compute.threads import small_work
from ser_fewshot.errors import EnrollmentError
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.novelty import SupportStatistics
from ser_fewshot.frontends import Features, stack
from ser_fewshot.learners import Classifier, evaluating
from ser_fewshot.models import Model

MOST_CLIPS = 5_000
"""Clips of one enrolment. Few-shot means tens of them; ridge regression takes their number to the third power."""


@dataclass(frozen=True, eq=False)
class Enrolled:
    """One class.

    Attributes:
        clips: what the learner keeps of each: (width,) or (frames, dim).
        names: (n_clips,) what each clip was called.
    """

    clips: tuple[Tensor, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Enrollment:
    """What is enrolled at one moment, and the classifier of it; replaced as a whole, never changed.

    Attributes:
        enrolled: label -> its clips, in the order of enrolment.
        support: all clips, (n_support, width) or (n_support, frames, dim); None for fewer than two classes, as are
            `classifier` and `surroundings`.
        calibration: how sure answers are; None where the model has none.
    """

    enrolled: dict[str, Enrolled]
    support: Features | None
    classifier: Classifier | None
    surroundings: SupportStatistics | None
    calibration: Calibration | None

    @classmethod
    @small_work()
    def of(cls, model: Model, enrolled: dict[str, Enrolled]) -> Enrollment:
        """Adapt a model to some classes.

        Raises:
            EnrollmentError: there are more than MOST_CLIPS clips.
        """
        clips = [clip for members in enrolled.values() for clip in members.clips]
        if len(clips) > MOST_CLIPS:
            raise EnrollmentError(
                "enrolment", found=f"{len(clips)} clips", expected=f"at most {MOST_CLIPS}", remedy="Enrol fewer."
            )
        calibration = model.config.calibration
        if len(enrolled) < 2:
            return cls(enrolled, None, None, None, calibration)
        support = stack(clips)
        y = torch.tensor([number for number, members in enumerate(enrolled.values()) for _ in members.clips])
        with evaluating(model.learner):
            return cls(
                enrolled, support, model.learner.adapt(support, y), SupportStatistics.of(support, y), calibration
            )

    @property
    def owners(self) -> list[tuple[str, str]]:
        """(name, label) of each clip of the support."""
        return [(name, label) for label, members in self.enrolled.items() for name in members.names]

    @property
    def temperature(self) -> float:
        """What logits are divided by to become probabilities; 1 without a calibration."""
        if self.calibration is None or self.surroundings is None:
            return 1.0
        return self.calibration.temperature_at(self.surroundings.n_way, self.surroundings.k_shot)

    def novelties(self, query: Features, logits: Tensor) -> list[float] | list[None]:
        """(n_query, n_way) logits -> the probability of each query of none of the classes; None if not calibrated."""
        at = self.surroundings
        if self.calibration is None or at is None:
            return [None] * len(query)
        novelty = self.calibration.novelty_of(at.evidence(query, logits), n_way=at.n_way, k_shot=at.k_shot)
        found: list[float] = novelty.tolist()
        return found

    def is_unknown(self, novelty: float | None) -> bool:
        """Whether a clip of this novelty is called unknown."""
        return self.calibration is not None and novelty is not None and novelty >= self.calibration.threshold


def without(enrolled: Mapping[str, Enrolled], label: str, *, clip: str | None = None) -> dict[str, Enrolled]:
    """Return what is enrolled without a class, or without its clips of one name; a class goes with its last clip.

    Raises:
        EnrollmentError: there is no such class, or no such clip in it.
    """
    if label not in enrolled:  # a file of version 0.1.0 may hold "Anger" and "anger"
        label = next((known for known in enrolled if class_key(known) == class_key(label)), label)
    left: dict[str, Enrolled] = {name: members for name, members in enrolled.items() if name != label}
    if label not in enrolled:
        raise _not_enrolled(label, enrolled)
    if clip is None:
        return left
    members = enrolled[label]
    rows = [row for row, name in enumerate(members.names) if name != clip]
    if len(rows) == len(members.names):
        raise _not_enrolled(clip, members.names)
    rest = Enrolled(tuple(members.clips[row] for row in rows), tuple(members.names[row] for row in rows))
    return {name: rest if name == label else enrolled[name] for name in enrolled if rows or name != label}


def _not_enrolled(name: str, enrolled: Iterable[str]) -> EnrollmentError:
    return EnrollmentError(
        "forget",
        found=f"{name!r}, which is not enrolled",
        expected=" | ".join(enrolled) or "something enrolled",
        remedy="Name one of the enrolled.",
    )
