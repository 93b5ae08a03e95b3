"""The prediction for a clip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NearestClip:
    """The enrolled clip that a prediction is closest to: its name, its label, and the distance of their embeddings."""

    name: str
    label: str
    distance: float


@dataclass(frozen=True)
class Prediction:
    """The prediction for a clip.

    Attributes:
        label: the most probable of the enrolled classes.
        probabilities: of every enrolled class, in the order of enrolment; they sum to 1.
        nearest: the enrolled clip with the nearest embedding.
        warnings: about the clip, such as clipping.
        unknown: whether it is rather none of the enrolled classes; `label` is still the one that it is most like.
        novelty: the probability, in [0, 1], that it is of none of them, at a prior of 1/2; None without a calibration.
        voice_clips: how many clips of the speaker the voice rests on, whose offset was subtracted; 0 without a voice.
    """

    label: str
    probabilities: dict[str, float]
    nearest: NearestClip
    warnings: tuple[str, ...] = ()
    unknown: bool = False
    novelty: float | None = None
    voice_clips: int = 0
