"""Enrolled classes: the names and embeddings of their clips, how clips are added and removed, and the classifier."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ser_fewshot.classifier.inputs import class_key
from ser_fewshot.classifier.voice import Voice
from ser_fewshot.compute.threads import small_work
from ser_fewshot.errors import DataWarning, EnrollmentError
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.novelty import SupportStatistics
from ser_fewshot.evaluation.support import AdaptedSupport
from ser_fewshot.frontends import Features, stack
from ser_fewshot.learners import Classifier, SpeakerModel, evaluating, points
from ser_fewshot.models import Model

MOST_CLIPS = 5_000
"""Embeddings of one enrolment. Few-shot means tens; ridge regression takes their number to the third power."""
_SAME = 1e-5  # of the largest value: the other clips of a batch change the last digits only
_SAME_NORM = 2e-3  # of the norm: what values that differ by _SAME may sum up to, over some 10,000 of them


@dataclass(frozen=True, eq=False)
class Enrolled:
    """One class.

    Attributes:
        clips: what the learner keeps of each: (width,) or (frames, dim).
        names: (n_clips,) what each clip was called.
        speakers: (n_clips,) who speaks; None where that is not known.
        deviations: (n_conditions, width) of each clip, its embeddings under recording conditions less its own; (0, ...)
            of one that was enrolled clean only.
    """

    clips: tuple[Tensor, ...]
    names: tuple[str, ...]
    speakers: tuple[str | None, ...] = ()
    deviations: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        if not self.speakers:
            object.__setattr__(self, "speakers", (None,) * len(self.clips))
        if not self.deviations:
            object.__setattr__(self, "deviations", tuple(clip.new_empty(0, clip.shape[-1]) for clip in self.clips))

    def select(self, rows: Sequence[int]) -> Enrolled:
        """Return some of the clips."""
        each = ((self.clips[row], self.names[row], self.speakers[row], self.deviations[row]) for row in rows)
        return Enrolled(*zip(*each, strict=True))


@dataclass(frozen=True, eq=False)
class Enrollment:
    """The enrolled classes at one moment and the classifier adapted to them; replaced as a whole, never changed.

    Attributes:
        enrolled: label -> its clips, in the order of enrolment.
        support: all clips, (n_support, width) or (n_support, frames, dim); None for fewer than two classes, as are
            `classifier` and `statistics`. Only the classifier is adapted to their deviations too.
        calibration: None where the model has none.
        speakers: None where the model has none, so that no offset of a voice can be estimated.
        means: (n_way, width) class means, the offsets of known speakers subtracted.
        offsets: those of voices that were computed already.
    """

    enrolled: dict[str, Enrolled]
    support: Features | None
    classifier: Classifier | None
    statistics: SupportStatistics | None
    calibration: Calibration | None
    speakers: SpeakerModel | None = None
    means: Tensor | None = None
    offsets: WeakKeyDictionary[Voice, Tensor] = field(default_factory=WeakKeyDictionary, repr=False)

    @classmethod
    @small_work()
    def of(cls, model: Model, enrolled: dict[str, Enrolled]) -> Enrollment:
        """Adapt a model to some classes.

        Raises:
            EnrollmentError: there are more than MOST_CLIPS clips.
        """
        clips = [clip for members in enrolled.values() for clip in members.clips]
        deviations = [one for members in enrolled.values() for one in members.deviations]
        check_size(len(clips), sum(map(len, deviations)))
        calibration, speakers = model.config.calibration, model.speakers
        if len(enrolled) < 2:
            return cls(enrolled, None, None, None, calibration, speakers)
        y = torch.tensor([number for number, members in enumerate(enrolled.values()) for _ in members.clips])
        names = [name and class_key(name) for members in enrolled.values() for name in members.speakers]
        with evaluating(model.learner):
            fitted = AdaptedSupport.of(
                model.learner, stack(clips), y, names=names, deviations=deviations, speakers=speakers
            )
        return cls(enrolled, fitted.support, fitted.classifier, fitted.statistics, calibration, speakers, fitted.means)

    def offset(self, voice: Voice) -> Tensor | None:
        """Return the offset of a voice, (width,); None where the model knows nothing of speakers.

        It is kept as long as the voice is, for it takes half as long as recognising a clip.
        """
        if self.speakers is None or self.means is None or self.support is None:
            return None
        if (known := self.offsets.get(voice)) is None:
            deviation = voice.mean - self.means.mean(0)
            known = self.offsets[voice] = self.speakers.offset(deviation, voice.n_clips, n_support=len(self.support))
        return known

    def session_offset(self, query: Features) -> Tensor | None:
        """Return the offset of the speaker of all queries, or None as `offset` does."""
        if self.speakers is None or self.means is None:
            return None
        return self.speakers.session_offset(points(query).mean(0) - self.means.mean(0), len(query))

    @property
    def owners(self) -> list[tuple[str, str]]:
        """(name, label) of each clip of the support."""
        return [(name, label) for label, members in self.enrolled.items() for name in members.names]

    @property
    def temperature(self) -> float:
        """Divisor of the logits before the softmax; 1 without a calibration."""
        if self.calibration is None or self.statistics is None:
            return 1.0
        return self.calibration.temperature_at(self.statistics.conditions)

    def novelties(self, query: Features, logits: Tensor) -> list[float] | list[None]:
        """(n_query, n_way) logits -> the probability that each query is of no class; None without a calibration."""
        at = self.statistics
        if self.calibration is None or at is None:
            return [None] * len(query)
        novelty = self.calibration.novelty_of(at.evidence(query, logits), at.conditions)
        found: list[float] = novelty.tolist()
        return found


def check_size(n_clips: int, n_under_conditions: int) -> None:
    """Refuse more embeddings than a learner may be adapted to.

    Raises:
        EnrollmentError: the clips, and the embeddings under recording conditions, are together more than MOST_CLIPS.
    """
    if n_clips + n_under_conditions > MOST_CLIPS:
        raise EnrollmentError(
            "enrolment",
            found=f"{n_clips} clips, and {n_under_conditions} times one under a recording condition",
            expected=f"at most {MOST_CLIPS}",
            remedy="Enrol fewer, or clean clips only.",
        )


def with_clips(enrolled: Mapping[str, Enrolled], label: str, new: Enrolled) -> dict[str, Enrolled]:
    """Return the enrolled classes with further clips of one, and warn of duplicates.

    A clip that its own class has is left out: one recording is one shot. Its speaker is kept where none was known, and
    its deviations where the clip was enrolled clean only. One that another class has is added, since nobody can know
    which of the two labels is wrong. "Anger" and "anger" are one class, under the name that was enrolled first.
    """
    alike = [known for known in enrolled if class_key(known) == class_key(label)]
    label = alike[0] if alike and label not in alike else label  # a file of version 0.1.0 may have both spellings
    own = _shots(label, enrolled.get(label, Enrolled((), ())))
    others = [shot for name, members in enrolled.items() if name != label for shot in _shots(name, members)]
    for shot in _shots(label, new):
        if twin := _twin(shot, own):
            _warn(f"{shot.name} is the same sound as {twin.name} in {label!r}: it counts once")
            deviations = twin.deviations if len(twin.deviations) else shot.deviations
            own[own.index(twin)] = replace(twin, speaker=twin.speaker or shot.speaker, deviations=deviations)
            continue
        if twin := _twin(shot, others):
            _warn(f"{shot.name} in {label!r} is the same sound as {twin.name} in {twin.label!r}: one label is wrong")
        own.append(shot)
    columns = zip(*((shot.clip, shot.name, shot.speaker, shot.deviations) for shot in own), strict=True)
    return {**enrolled, label: Enrolled(*columns)}


def is_clean_only(enrolled: Mapping[str, Enrolled]) -> bool:
    """Whether clips are enrolled, and none of them under a recording condition, as in a file of version 0.1.0."""
    return bool(enrolled) and not any(len(one) for members in enrolled.values() for one in members.deviations)


def without(enrolled: Mapping[str, Enrolled], label: str, *, clip: str | None = None) -> dict[str, Enrolled]:
    """Return the enrolled classes without one, or without its clips of one name; a class goes with its last clip.

    Raises:
        EnrollmentError: there is no such class, or no such clip in it.
    """
    if label not in enrolled:  # a file of version 0.1.0 may hold "Anger" and "anger"
        label = next((known for known in enrolled if class_key(known) == class_key(label)), label)
    if label not in enrolled:
        raise _not_enrolled(label, enrolled)
    members = enrolled[label]
    rows = [row for row, name in enumerate(members.names) if clip is not None and name != clip]
    if clip is not None and len(rows) == len(members.names):
        raise _not_enrolled(clip, members.names)
    rest = members.select(rows) if rows else members
    return {name: rest if name == label else kept for name, kept in enrolled.items() if rows or name != label}


@dataclass(frozen=True, eq=False)
class _Shot:
    """An enrolled clip and its norm."""

    label: str
    name: str
    speaker: str | None
    clip: Tensor
    deviations: Tensor
    norm: float


def _shots(label: str, members: Enrolled) -> list[_Shot]:
    rows = zip(members.names, members.speakers, members.clips, members.deviations, strict=True)
    return [_Shot(label, name, speaker, x, others, float(x.norm())) for name, speaker, x, others in rows]


def _twin(shot: _Shot, others: Iterable[_Shot]) -> _Shot | None:
    """Return the first of other clips that is the same up to rounding, None if there is none.

    A clip of zeros has no twin: a network that has died makes them of every clip.
    """
    near = (other for other in others if shot.norm > 0 and abs(other.norm - shot.norm) <= _SAME_NORM * shot.norm)
    return next((other for other in near if _same(shot.clip, other.clip)), None)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= _SAME * one.abs().max())


def _warn(sentence: str) -> None:
    warnings.warn(sentence, DataWarning, stacklevel=4)  # where the classifier is called


def _not_enrolled(name: str, enrolled: Iterable[str]) -> EnrollmentError:
    return EnrollmentError(
        "forget",
        found=f"{name!r}, which is not enrolled",
        expected=" | ".join(enrolled) or "something enrolled",
        remedy="Name one of the enrolled.",
    )
