"""What a clip is recognised as."""

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
    """What a clip was recognised as.

    Attributes:
        label: the most probable of the enrolled classes.
        probabilities: of every enrolled class, in the order of enrolment; they sum to 1.
        nearest: the enrolled clip that sounds most alike.
        warnings: what was odd about the clip, such as clipping.
        unknown: whether it is rather none of the enrolled classes; `label` is still the one that it is most like.
        novelty: the probability, in [0, 1], of none of them, if half of all clips were; None without a calibration.
    """

    label: str
    probabilities: dict[str, float]
    nearest: NearestClip
    warnings: tuple[str, ...] = ()
    unknown: bool = False
    novelty: float | None = None
