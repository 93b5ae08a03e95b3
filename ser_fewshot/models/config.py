"""A model: its configuration, front-end, learner and training set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ser_fewshot.encoders import View
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.frontends import FrontEnd, Normalization
from ser_fewshot.learners import Learner, SpeakerModel
from ser_fewshot.models.training_set import UNKNOWN, TrainingSet
from ser_fewshot.settings import check_choice, require

FORMAT = 3
"""Formats 1, that of version 0.1.0, and 2 are read too: `_renamed`."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What is needed, beside the weights, to build a model again.

    Attributes:
        learner: its name, with `settings`.
        frontend: its name, with `frontend_settings`.
        normalization: of the features, between the two.
        calibration: None where none was fitted.
    """

    learner: str
    settings: dict[str, Any] = field(default_factory=dict)
    frontend: str = "logmel"
    frontend_settings: dict[str, Any] = field(default_factory=dict)
    normalization: Normalization = "none"
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        check_choice("normalization", self.normalization, Normalization)
        require(
            self.normalization == "none" or self.encoder_name != "blocks",
            "normalization",
            found=f"{self.normalization!r} before blocks of a pretrained encoder",
            expected="none: they were trained on frames as they are",
            remedy="Leave it out.",
        )

    @property
    def encoder_name(self) -> str | None:
        """The name of the encoder; None where the settings leave it to the learner."""
        encoder = self.settings.get("encoder")
        return encoder.get("name") if isinstance(encoder, Mapping) else None

    @property
    def view(self) -> View | None:
        """The classes of the LDA directions beside the embedding; None where there are none."""
        encoder = self.settings.get("encoder", {})
        return encoder.get("view", "emotion") if encoder.get("discriminant") else None

    def with_learner(self, name: str) -> ModelConfig:
        """Return the same front-end with another learner that keeps this one's encoder, and is not calibrated yet."""
        encoder = {"encoder": self.settings["encoder"]} if "encoder" in self.settings else {}
        return replace(self, learner=name, settings=encoder, calibration=None)


@dataclass(frozen=True, eq=False)
class Model:
    """A front-end and a learner that belong together, their training set, and how their embeddings vary by speaker."""

    config: ModelConfig
    frontend: FrontEnd
    learner: Learner
    training_set: TrainingSet = UNKNOWN  # for models that version 0.1.0 pickled
    speakers: SpeakerModel | None = None
