"""The prediction for a clip, and the one rule by which it is unknown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ser_fewshot.evaluation.novelty import is_unknown


@dataclass(frozen=True)
class NearestClip:
    """The enrolled clip that a prediction is closest to: its name, its label, and the distance of their embeddings."""

    name: str
    label: str
    distance: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for a clip.

    Whatever is shown of it, large, as bars, aloud or as a row of a table, is `answer` and `shares`.

    Attributes:
        label: the most probable of the enrolled classes, even where the clip is unknown.
        probabilities: of every enrolled class, in the order of enrolment, given that it is one of them; they sum to 1.
        nearest: the enrolled clip with the nearest embedding.
        warnings: about the clip, such as clipping.
        novelty: the probability, in [0, 1], that it is of none of them; None without a calibration. Its prior keeps the
            label of a chosen share of known clips: see `fit_calibration`.
        voice_clips: how many clips of the speaker the voice rests on, whose offset was subtracted; 0 without a voice.
    """

    label: str
    probabilities: dict[str, float]
    nearest: NearestClip
    warnings: tuple[str, ...] = ()
    novelty: float | None = None
    voice_clips: int = 0

    @property
    def shares(self) -> dict[str | None, float]:
        """The probability of every enrolled class and, with a calibration, of None: none of them. They sum to 1."""
        known = 1 - (self.novelty or 0.0)
        shares: dict[str | None, float] = {label: known * p for label, p in self.probabilities.items()}
        return shares if self.novelty is None else {**shares, None: self.novelty}

    @property
    def unknown(self) -> bool:
        """Whether "none of them" has the largest share; a class that has as much is named."""
        return self.novelty is not None and is_unknown(self.novelty, self.probabilities[self.label])

    @property
    def answer(self) -> str | None:
        """The class with the largest share; None for none of them."""
        return None if self.unknown else self.label

    @property
    def text(self) -> str:
        """The answer in English: a label, or "unknown" and the closest one."""
        return f"unknown, most like {self.label}" if self.unknown else self.label

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values.

        `shares` and `unknown_share` sum to 1. The latter is apart, as a class may have any name; it is `novelty`, or 0
        without a calibration.
        """
        shares = {label: share for label, share in self.shares.items() if label is not None}
        of_none = {"unknown": self.unknown, "unknown_share": self.novelty or 0.0}
        return {"answer": self.answer, "shares": shares, **of_none, **asdict(self)}
