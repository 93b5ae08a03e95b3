"""FewShotClassifier: enrol classes from a few clips each, add one, recognise clips, save everything in one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.audio import Clip, Source
from ser_fewshot.classifier.enrollment import Enrolled, Enrollment, is_clean_only, with_clips, without
from ser_fewshot.classifier.enrollment_file import load_enrollment, save_enrollment
from ser_fewshot.classifier.inputs import (
    check_model,
    checked_classes,
    checked_label,
    checked_sources,
    checked_speakers,
    speakers_of_classes,
    warn_of_misspelt,
)
from ser_fewshot.classifier.prediction import Prediction
from ser_fewshot.classifier.recognise import embeddings, enrolled_classes, mean_of, recognised
from ser_fewshot.classifier.voice import Voice, check_voice, digest_of, read_voice, warn_without_speakers
from ser_fewshot.compute.threads import Lock
from ser_fewshot.encoders import View
from ser_fewshot.frontends import stack
from ser_fewshot.learners import points
from ser_fewshot.models import Model, load_model, save_model, silence, swap_learner, with_view
from ser_fewshot.storage import hub

Many = list[Source | Clip] | list[Clip] | list[Path]


class FewShotClassifier:
    """A model and the classes enrolled in it.

    Adding or forgetting a class never needs the clips of the others again: their embeddings are kept. Several threads
    may use one: a prediction is by the classes that were enrolled when it began.

    Examples:
        >>> classifier = FewShotClassifier.from_pretrained()
        >>> classifier.enroll({"anger": ["a1.wav", "a2.wav"], "awe": ["w1.wav", "w2.wav"]})  # doctest: +SKIP
        >>> classifier.predict("new.wav").label  # doctest: +SKIP
        'awe'
    """

    def __init__(
        self, model: Model, enrolled: Mapping[str, Enrolled] | None = None, *, clean_only: bool | None = None
    ) -> None:
        """Wrap a model, with the `members` of another classifier of the same model if they are given.

        `clean_only` is as in `from_pretrained`; by default, further clips are enrolled as the members were.

        Raises:
            EnrollmentError: the model was trained on features normalised per speaker, which single clips do not have.
        """
        check_model(model)
        members = dict(enrolled or {})
        self.__setstate__((model, members, is_clean_only(members) if clean_only is None else clean_only))

    def __copy__(self) -> Self:
        """Share the model and the enrolment, which is replaced as a whole and never changed: nothing adapts again."""
        twin = object.__new__(type(self))
        vars(twin).update(vars(self), _changing=Lock())
        return twin

    def __getstate__(self) -> tuple[Model, dict[str, Enrolled], bool]:
        # The adapted classifier is a closure, which cannot be pickled, and belongs to this very model.
        return self.model, self._state.enrolled, self.clean_only

    def __setstate__(self, state: tuple[Model, dict[str, Enrolled], bool]) -> None:
        self.model, enrolled, self.clean_only = state
        self._state = Enrollment.of(self.model, enrolled)
        self._changing = Lock()

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str | None = None,
        *,
        learner: str | None = None,
        classes: View | None = None,
        clean_only: bool = False,
    ) -> FewShotClassifier:
        """Return a classifier with nothing enrolled.

        Args:
            folder: a saved model, or the id of one on the hub to download; the one in the package by default.
            learner: another way to adapt on the same encoder, such as "ridge" or "protonet".
            classes: what to tell apart, "emotion" or "speaker", if the model has a view of either (default: as saved).
            clean_only: whether clips are enrolled as they are alone, in a fifth of the time. By default, they are
                enrolled in noise, in a room and by telephone too, for queries that are recorded so.

        Raises:
            CheckpointError: the folder holds no model that can be trusted, or the hub cannot be reached.
            SettingsError: there are no such classes, or that learner does not exist or does not fit this encoder.
            EnrollmentError: the model needs all clips of a speaker to recognise one.
        """
        model = load_model(DEFAULT_MODEL if folder is None else hub.locate(folder))
        model = model if classes is None else with_view(model, classes)
        return cls(model if learner is None else swap_learner(model, learner), clean_only=clean_only)

    def save_pretrained(self, folder: Path | str, *, card: str) -> None:
        """Write the model, without what is enrolled, to a folder with `card` as its README.md.

        Raises:
            SettingsError: the folder cannot be written.
        """
        save_model(self.model, Path(folder), card=card)

    @property
    def labels(self) -> tuple[str, ...]:
        """The enrolled classes, in the order of enrolment."""
        return tuple(self._state.enrolled)

    @property
    def enrolled(self) -> dict[str, tuple[str, ...]]:
        """The names of the clips of each class."""
        return {label: members.names for label, members in self._state.enrolled.items()}

    @property
    def members(self) -> dict[str, Enrolled]:
        """The names and embeddings of the clips of each class."""
        return dict(self._state.enrolled)

    def enroll(
        self,
        clips: Mapping[str, Iterable[Source | Clip]],
        *,
        speakers: Mapping[str, str | Sequence[str | None]] | None = None,
    ) -> None:
        """Enrol several classes at once, in place of what was enrolled; all of them or, on an error, none.

        Args:
            clips: label -> its clips, at least one each. A `DataWarning` says of a sound that is there twice that it
                counts once, or that two classes have it, and of a label that it looks misspelt.
            speakers: label -> who speaks in all of its clips, or in each (None: not known). The offset of a speaker of
                several classes is subtracted from his clips.

        Raises:
            EnrollmentError: no mapping, fewer than two classes, one without clips, a label that is empty or twice, too
                many clips, or not one speaker a clip.
            AudioError: a clip cannot be used.
        """
        enrolled: dict[str, Enrolled] = {}
        classes = checked_classes(clips)
        named = speakers_of_classes(classes, speakers)
        for label, new in enrolled_classes(self.model, classes, named, clean_only=self.clean_only).items():
            enrolled = with_clips(enrolled, label, new)
        state = Enrollment.of(self.model, enrolled)
        with self._changing.held():
            self._state = state
        warn_of_misspelt(enrolled, view=self.model.config.view)

    def add(
        self, label: str, clips: Iterable[Source | Clip], *, speakers: str | Sequence[str | None] | None = None
    ) -> None:
        """Add clips to a class, whatever the letter case of its name, or a new class with its first clips.

        Args:
            label: the class.
            clips: at least one.
            speakers: who speaks in all of them, or in each; None where that is not known.

        Raises:
            EnrollmentError: there are no clips or too many, the label is empty, or there is not one speaker a clip.
            AudioError: a clip cannot be used; nothing is added then.
        """
        label = checked_label(label)
        sources = checked_sources(label, clips)
        named = {label: checked_speakers(label, sources, speakers)}
        known = self._state.enrolled
        new = enrolled_classes(self.model, {label: sources}, named, clean_only=self.clean_only, beside=known)[label]
        warn_of_misspelt([label], self.labels, view=self.model.config.view)
        with self._changing.held():
            self._state = Enrollment.of(self.model, with_clips(self._state.enrolled, label, new))

    def forget(self, label: str, *, clip: str | None = None) -> None:
        """Remove a class, or only its clips of one name, as in `enrolled`; a class goes with its last clip.

        Raises:
            EnrollmentError: no class of that name is enrolled, or no clip of that name in it.
        """
        label = checked_label(label)
        with self._changing.held():
            self._state = Enrollment.of(self.model, without(self._state.enrolled, label, clip=clip))

    @overload
    def predict(self, clips: Many, *, voice: Voice | None = None, same_speaker: bool = False) -> list[Prediction]: ...
    @overload
    def predict(self, clips: Source | Clip, *, voice: Voice | None = None) -> Prediction: ...
    def predict(
        self, clips: Source | Clip | Many, *, voice: Voice | None = None, same_speaker: bool = False
    ) -> Prediction | list[Prediction]:
        """Recognise one clip, or a list of them; a prediction does not depend on the other clips unless asked to.

        Args:
            clips: one, or a list.
            voice: that of the speaker, made by `listen`; its offset is subtracted from every clip.
            same_speaker: whether one speaker speaks in all of a list, of the enrolled classes: the clips together are
                listened to first. More clips of more classes help more; clips of a single class lose.

        Raises:
            EnrollmentError: fewer than two classes are enrolled, the voice is of another model, or there are both a
                voice and `same_speaker`.
            AudioError: a clip cannot be used.
        """
        if voice is not None:  # else the weights need no digest
            check_voice(voice, model=self._digest, same_speaker=same_speaker)
        if same_speaker:
            warn_without_speakers(self.model)
        if isinstance(clips, list):
            return recognised(self.model, self._state, clips, voice=voice, session=same_speaker)[0]
        return recognised(self.model, self._state, [clips], voice=voice, session=same_speaker)[0][0]

    def predict_and_listen(self, clip: Source | Clip, *, voice: Voice | None = None) -> tuple[Prediction, Voice]:
        """Recognise a clip with the voice of the speaker's earlier clips, and return the voice with this one too.

        As `predict` and then `Voice.update`, or `listen` without a voice, but the clip is embedded once.

        Raises:
            EnrollmentError: fewer than two classes are enrolled, or the voice is of another model.
            AudioError: the clip cannot be used.
        """
        if voice is not None:
            check_voice(voice, model=self._digest, same_speaker=False)
        warn_without_speakers(self.model)
        found, kept = recognised(self.model, self._state, [clip], voice=voice, session=False)
        mean = points(stack(kept)).mean(0)
        return found[0], self._voice(mean, 1) if voice is None else voice.merged(mean, 1)

    def listen(self, clips: Iterable[Source | Clip]) -> Voice:
        """Return the voice of a speaker, from a few clips of any emotions without labels.

        Pass it to `predict`: what the voice adds to every embedding is estimated relative to the enrolled clips, and
        subtracted. A model without statistics of speakers warns, and predicts as without a voice.

        Raises:
            EnrollmentError: there are no clips.
            AudioError: a clip cannot be used.
        """
        warn_without_speakers(self.model)
        return self._voice(*mean_of(self.model, clips))

    def load_voice(self, path: Path | str) -> Voice:
        """Read a voice that `Voice.save` wrote.

        Raises:
            CheckpointError: the file is damaged, is no voice, or is of another model.
        """
        width = points(silence(self.model)).shape[1]
        return read_voice(path, model=self._digest, width=width, mean_of=partial(mean_of, self.model))

    def _voice(self, mean: Tensor, n_clips: int) -> Voice:
        """Return a voice; it keeps the model in memory, and nothing that is enrolled."""
        return Voice(n_clips, mean, self._digest, partial(mean_of, self.model))

    @cached_property
    def _digest(self) -> str:
        return digest_of(self.model)

    def embed(self, clips: Iterable[Source | Clip]) -> NDArray[np.float32]:
        """Return the embeddings of clips, (n_clips, width) float32.

        Raises:
            AudioError: a clip cannot be used.
            EnrollmentError: it is a single clip, or the model adapts its encoder and so has no embedding of its own.
        """
        return embeddings(self.model, clips)

    def save(self, path: Path | str) -> None:
        """Write model and enrolment to one file that needs nothing else; audio is not in it.

        Raises:
            SettingsError: the file cannot be written.
        """
        save_enrollment(Path(path), self.model, self._state.enrolled, clean_only=self.clean_only)

    @classmethod
    def load(cls, path: Path | str) -> FewShotClassifier:
        """Read a file that `save` wrote.

        Raises:
            CheckpointError: the file is damaged or is no enrolment.
            EnrollmentError: its model needs all clips of a speaker to recognise one.
        """
        model, enrolled, clean_only = load_enrollment(Path(path))
        return cls(model, enrolled, clean_only=clean_only)
