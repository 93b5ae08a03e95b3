"""Models of older formats in the present one.

Format 1 (version 0.1.0) had other names of weights; formats 1 and 2, a calibration with a threshold of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation.calibration import LEGAL, Calibration
from ser_fewshot.settings import fill, require

USUAL_TOP = 0.5
"""The top probability of clips that are nearly unknown, in episodes of four classes."""
_NEW_WEIGHTS = (0.0, 0.0, 0.0)  # of the last three evidences; the first two, of the spread and one speaker
_CONDITIONS, _EVIDENCES = 3, 2  # that formats 1 and 2 have weights of
_ROUNDING = 1e-12  # of a threshold of 0 or 1

_DISCRIMINANT = {
    "recording": "nuisance",
    "middle": "nuisance_mean",
    "reach": "nuisance_limit",
    "emphasis": "feature_weights",
}
_OF_ENCODER = {
    "dense": {"enter": "fc_in"},
    "transformer": {
        "enter": "conv1",
        "halve": "conv2",
        "join": "in_proj",
        "place": "pos_proj",
        "say": "layer_heads",
        "attend": "qkv",
        "gather": "out_proj",
        "widen": "fc1",
        "narrow": "fc2",
    },
}


def renamed(tensors: Mapping[str, Tensor], encoder: str | None) -> dict[str, Tensor]:
    """Return a learner's weights of format 1, on an encoder of this name, under their present names."""
    names = {**_DISCRIMINANT, **_OF_ENCODER.get(encoder or "", {})}
    # Inner learning rates carry the name of their weight, with slashes in place of dots.
    return {re.sub(r"[^./]+", lambda part: names.get(part[0], part[0]), name): x for name, x in tensors.items()}


@dataclass(frozen=True, kw_only=True)
class _WithThreshold:
    """A calibration of formats 1 and 2."""

    temperature: tuple[float, ...]
    novelty: tuple[float, ...]
    threshold: float
    most_ways: int
    most_shots: int


def without_threshold(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config of format 1 or 2 in the present one, whose calibration has no threshold.

    A clip was unknown from a novelty of `threshold`; now it is where the log-odds of that exceed the logarithm of the
    top probability p. So they are shifted by log p less the log-odds of the threshold: at USUAL_TOP, both rules agree.

    Raises:
        SettingsError: the calibration is none of these formats, or has a value that is not legal.
    """
    if config.get("calibration") is None:
        return {**config}
    old = fill(_WithThreshold, config["calibration"], where="config.calibration")
    sizes = (len(old.temperature), len(old.novelty))
    require(
        sizes == (_CONDITIONS, _CONDITIONS + _EVIDENCES),
        "config.calibration",
        found=f"{sizes[0]} weights of the temperature and {sizes[1]} of the novelty",
        expected=f"{_CONDITIONS} and {_CONDITIONS + _EVIDENCES}, as formats 1 and 2 have",
        remedy="Fit it again.",
    )
    require(
        0 <= old.threshold <= 1,
        "config.calibration.threshold",
        found=f"{old.threshold}",
        expected="a number from 0 to 1",
        remedy="Fit it again.",
    )
    try:
        return {**config, "calibration": asdict(_converted(old))}
    except SettingsError as error:
        raise SettingsError(
            "config.calibration", found=f"{config['calibration']}", expected=LEGAL, remedy="Fit it again."
        ) from error


def _converted(old: _WithThreshold) -> Calibration:
    """Return the present calibration of an old one; see `without_threshold`."""
    threshold = min(max(old.threshold, _ROUNDING), 1 - _ROUNDING)
    shift = math.log(USUAL_TOP) - math.log(threshold / (1 - threshold))
    offset, of_ways, of_shots, *of_evidence = (*old.novelty, *_NEW_WEIGHTS)
    return Calibration(
        temperature=(*old.temperature, *_NEW_WEIGHTS[:2]),
        novelty=(offset + shift, of_ways, of_shots, *_NEW_WEIGHTS[:2], *of_evidence),
        most_ways=old.most_ways,
        most_shots=old.most_shots,
    )
