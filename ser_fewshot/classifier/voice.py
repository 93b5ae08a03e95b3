"""Voice: the mean embedding of a speaker's unlabelled clips, an immutable value that is saved in a few kilobytes."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ser_fewshot.audio import Clip, Source
from ser_fewshot.errors import CheckpointError, DataWarning, EnrollmentError
from ser_fewshot.models import Model
from ser_fewshot.settings import check_is
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.tensors import digest, read_tensors

_MEAN, _CLIPS, _MODEL = "mean", "clips", "model"
_DIGITS = 6  # of the number of clips
LARGEST = 1e6
"""Of the values of an embedding in a file: no network makes larger ones, and their squares must stay finite."""

MeanOf = Callable[[Iterable[Source | Clip]], tuple[Tensor, int]]
"""Clips -> the mean of their embeddings (width,), and their number."""


@dataclass(frozen=True, eq=False)
class Voice:
    """The mean embedding of a speaker's clips of any emotion; make one by `FewShotClassifier.listen`.

    Attributes:
        n_clips: how many clips it rests on.
        mean: (width,) of their embeddings.
        model: digest of the model that embedded them.
    """

    n_clips: int
    mean: Tensor = field(repr=False)
    model: str = field(repr=False)
    mean_of: MeanOf = field(repr=False)

    def update(self, clips: Iterable[Source | Clip]) -> Voice:
        """Return the voice with further clips of the same speaker; this one stays as it is.

        Raises:
            EnrollmentError: there are no clips.
            AudioError: a clip cannot be used.
        """
        return self.merged(*self.mean_of(clips))

    def merged(self, mean: Tensor, n: int) -> Voice:
        """Return the voice with n further clips of this mean embedding, (width,)."""
        whole = self.n_clips + n
        return Voice(whole, (self.n_clips * self.mean + n * mean) / whole, self.model, self.mean_of)

    def save(self, path: Path | str) -> None:
        """Write the voice to a file of a few kilobytes; no audio is in it.

        Raises:
            SettingsError: the file cannot be written.
        """
        metadata = {_CLIPS: str(self.n_clips), _MODEL: self.model}
        write_atomically(Path(path), safetensors.torch.save({_MEAN: self.mean.contiguous()}, metadata))


def digest_of(model: Model) -> str:
    """Return a digest of what makes the embeddings of a model, by which its voices know it."""
    config = {name: value for name, value in asdict(model.config).items() if name != "calibration"}
    parts = [digest(model.learner), config, model.frontend.identity]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def read_voice(path: Path | str, *, model: str, width: int, mean_of: MeanOf) -> Voice:
    """Read a file that `Voice.save` wrote, of a voice that a model of this digest embedded.

    Raises:
        CheckpointError: it is no such file, or the voice is of another model.
    """
    tensors, metadata = read_tensors(Path(path))
    mean, n, made_by = tensors.get(_MEAN), metadata.get(_CLIPS, ""), metadata.get(_MODEL)
    counted = n.isascii() and n.isdecimal() and len(n) <= _DIGITS and int(n) > 0
    legal = mean is not None and mean.ndim == 1 and mean.dtype == torch.float32 and bool((mean.abs() < LARGEST).all())
    if mean is None or not legal or not counted:
        raise CheckpointError(
            str(path),
            found="no voice",
            expected="a voice saved by this program",
            remedy="Make one with 'ser-fewshot listen' or FewShotClassifier.listen.",
        )
    if made_by != model or len(mean) != width:
        raise CheckpointError(
            str(path),
            found="a voice of another model",
            expected="a voice of the model of this enrolment",
            remedy="Listen to the speaker again with this model.",
        )
    return Voice(int(n), mean, model, mean_of)


def check_voice(voice: Voice, *, model: str, same_speaker: bool) -> None:
    """Refuse a voice of another model than the one of this digest, or beside `same_speaker`.

    Raises:
        EnrollmentError: it is one of these, or no voice at all.
    """
    remedy = "Make one with classifier.listen(clips), or read one with classifier.load_voice(path)."
    check_is(voice, Voice, name="voice", remedy=remedy, error=EnrollmentError)
    if same_speaker:
        raise EnrollmentError(
            "predict", found="a voice and same_speaker", expected="one of the two", remedy="Leave one of them out."
        )
    if voice.model != model:
        raise EnrollmentError(
            "voice",
            found="one of another model",
            expected="a voice that this classifier, or one of the same model, has listened to",
            remedy="Listen to the speaker with this classifier: voice = classifier.listen(clips).",
        )


def warn_without_speakers(model: Model) -> None:
    """Warn, where the classifier is called, that no offset of a voice can be estimated."""
    if model.speakers is None:
        text = "this model has no statistics of speakers: it predicts as without a voice; train or import it again"
        warnings.warn(text, DataWarning, stacklevel=3)
