"""The state of one visitor: values that are never changed, only replaced.

A page holds four, each in a state of its own, so that none overwrites another: a `Session` (what is enrolled), a
`History` (what was recognised), a `live.Stream` (the microphone) and a `SessionVoice`. Initial values hold no model:
models are shared by all visitors and handed to the handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from ser_fewshot.audio import Clip
from ser_fewshot.classifier import FewShotClassifier, Prediction
from ser_fewshot.classifier.voice import Voice
from ser_fewshot.models import Model

from .clips import Sound
from .enrolment import Enrolment
from .models import Mode
from .notes import Code, Note


class Uncopied:
    """A value that `copy.deepcopy` returns itself: nothing in it changes, and it may hold a model."""

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself."""
        return self


@dataclass(frozen=True, eq=False)
class Session(Uncopied):
    """What one visitor enrolled.

    Attributes:
        enrolment: what is enrolled now; `past` what was before, the latest last, for undo.
        notes: messages of the last action.
        person: counts those who speak, one after the other.
    """

    enrolment: Enrolment = field(default_factory=Enrolment)
    past: tuple[Enrolment, ...] = ()
    notes: tuple[Note, ...] = ()
    person: int = 0

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of enrolment."""
        return tuple(self.enrolment.clips)

    @property
    def can_recognise(self) -> bool:
        """Whether there are two classes."""
        return len(self.labels) >= 2

    @property
    def can_listen(self) -> bool:
        """Whether a voice can be got used to: the classes are no speakers, and the model has statistics of speakers."""
        classifier = self.enrolment.classifier
        return self.enrolment.mode == "emotion" and classifier is not None and classifier.model.speakers is not None


@dataclass(frozen=True, eq=False)
class SessionVoice(Uncopied):
    """The voice of the person who speaks, from the clips and live windows that were recognised.

    Attributes:
        voice: None before the first clip.
        person: `Session.person` of its clips.
        model: what embedded them.
    """

    voice: Voice | None = None
    person: int = 0
    model: Model | None = None

    def of(self, session: Session) -> Voice | None:
        """Return the voice; None if another person speaks now, or the model is another."""
        classifier = session.enrolment.classifier
        current = self.person == session.person and classifier is not None and self.model is classifier.model
        return self.voice if current and session.can_listen else None

    def predict(
        self, session: Session, classifier: FewShotClassifier, clip: Clip, *, listen: bool
    ) -> tuple[Prediction, SessionVoice]:
        """Recognise a clip by the classifier of a session with the voice of earlier clips; add it, to `listen`."""
        voice = self.of(session)
        if not (listen and session.can_listen):
            return classifier.predict(clip, voice=voice), self
        prediction, voice = classifier.predict_and_listen(clip, voice=voice)
        return prediction, SessionVoice(voice, session.person, classifier.model)


@dataclass(frozen=True, eq=False)
class Recognised:
    """A clip that was recognised.

    Attributes:
        sound: the clip, to play and to add as a correction.
        prediction: its nearest clip's `name` is a key of `Enrolment.sounds`.
        seconds: how long recognising took, in s.
        doubts: why the prediction may be wrong.
        corrected: the visitor's label; None without a correction.
        mode: what the classes were.
        classifier: a weak reference to what predicted, which keeps nothing alive that was forgotten.
        voice: of earlier clips, by which it was recognised.
    """

    sound: Sound
    prediction: Prediction
    seconds: float
    doubts: tuple[Note, ...] = ()
    corrected: str | None = None
    mode: Mode = "emotion"
    classifier: Callable[[], FewShotClassifier | None] = lambda: None
    voice: SessionVoice = field(default_factory=SessionVoice)

    @property
    def answer(self) -> str | None:
        """The visitor's label, or else the predicted one; None for none of them."""
        return self.prediction.answer if self.corrected is None else self.corrected

    def is_valid(self, enrolment: Enrolment) -> bool:
        """Whether every class of the prediction is still enrolled."""
        return enrolment.has_classes_of(self.prediction, mode=self.mode)


@dataclass(frozen=True, eq=False)
class History(Uncopied):
    """Recognised clips, the latest last, and messages of the last action."""

    recognised: tuple[Recognised, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def last(self) -> Recognised | None:
        """The latest clip; None before the first."""
        return self.recognised[-1] if self.recognised else None

    def valid_notes(self, enrolment: Enrolment) -> tuple[Note, ...]:
        """Return the notes without a correction that was undone since, or belongs to another enrolment."""
        current = self.last is not None and self.last.classifier() is enrolment.classifier
        return tuple(one for one in self.notes if current or one.code is not Code.CORRECTED)
