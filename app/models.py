"""The models that all visitors share: read once, never changed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TypeAlias

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.encoders import View
from ser_fewshot.models import Model, swap_learner, with_view

Mode: TypeAlias = View
"""What the classes are: "emotion" or "speaker"."""
LEARNERS = ("ridge", "protonet", "mtl", "finetune")
"""Learners that visitors may compare and load from a file; each stays in memory once it was used."""


class Models:
    """A saved model in both modes and with other learners on its encoder; each is built when first used."""

    def __init__(self, folder: Path | None = None) -> None:
        """Name the folder of a saved model, by default the package's own; it is not read yet."""
        self._folder = folder
        self._lock = threading.Lock()
        self._built: dict[tuple[Mode | None, str | None], Model] = {}

    def empty(self, mode: Mode, *, learner: str | None = None) -> FewShotClassifier:
        """Return a classifier with nothing enrolled, on the shared model.

        Raises:
            SettingsError: that learner does not exist or does not fit the model's encoder.
            CheckpointError, EnrollmentError: the folder holds no model, or one that cannot be used here.
        """
        with self._lock:
            return FewShotClassifier(self._model(mode, learner))

    def _model(self, mode: Mode | None, learner: str | None) -> Model:
        if (mode, learner) not in self._built:
            if learner is not None:
                model = swap_learner(self._model(mode, None), learner)
            elif mode is not None:
                model = with_view(self._model(None, None), mode)
            else:
                model = FewShotClassifier.from_pretrained(self._folder).model
            self._built[mode, learner] = model
        return self._built[mode, learner]
