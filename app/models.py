"""The models that all visitors share: read once, never changed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import get_args

from ser_fewshot import audio
from ser_fewshot.audio.voice_activity import is_voice
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.models import Model, swap_learner, with_view

from . import examples
from .session import Mode

LEARNERS = ("ridge", "protonet", "mtl", "finetune")
"""Ways to adapt that visitors may compare and bring in a file; each is held in memory once it was asked for."""


class Models:
    """A saved model in both modes and with other learners on its encoder; each is made once, when first asked for."""

    def __init__(self, folder: Path | None = None) -> None:
        """Name a saved model, the package's own by default; it is read when first used, or by `warm_up`."""
        self._folder = folder
        self._lock = threading.Lock()
        self._made: dict[tuple[Mode | None, str | None], Model] = {}

    def warm_up(self) -> None:
        """Read the model and recognise once, so that no visitor waits for imports.

        Raises:
            CheckpointError, EnrollmentError: the folder holds no model, or one that cannot be used here.
        """
        classifier = self.empty("emotion")
        sound, other = (audio.load(clip.path) for clip in examples.queries()[:2])
        classifier.enroll({"one": [sound], "other": [other]})
        classifier.predict(sound)
        is_voice(sound.waveform)
        for mode in get_args(Mode):  # now, while there is room for all of them
            examples.sounds(mode, trim=classifier.model.frontend.trim)

    def empty(self, mode: Mode, *, learner: str | None = None) -> FewShotClassifier:
        """Return a classifier with nothing enrolled, on the shared model.

        Raises:
            SettingsError: that learner does not exist or does not fit the model's encoder.
            CheckpointError, EnrollmentError: the folder holds no model, or one that cannot be used here.
        """
        with self._lock:
            return FewShotClassifier(self._model(mode, learner))

    def _model(self, mode: Mode | None, learner: str | None) -> Model:
        if (mode, learner) not in self._made:
            self._made[mode, learner] = self._make(mode, learner)
        return self._made[mode, learner]

    def _make(self, mode: Mode | None, learner: str | None) -> Model:
        if learner is not None:
            return swap_learner(self._model(mode, None), learner)
        if mode is not None:
            return with_view(self._model(None, None), mode)
        return FewShotClassifier.from_pretrained(self._folder).model
