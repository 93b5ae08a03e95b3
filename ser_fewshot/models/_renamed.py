"""Models of older formats in the present one.

Format 1 (version 0.1.0) had other names of weights; formats 1 and 2, a calibration with a threshold of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ser_fewshot.settings import require

USUAL_TOP = 0.5
"""The top probability of clips that were nearly unknown: 0.50 to 0.67, the mean over episodes of each of four corpora.

So 86 to 96 % of clips get the answer that they had; of known clips, 5 points fewer keep their labels.
"""
_NONE_YET = (0.0, 0.0, 0.0)  # weights of the spread and one speaker, and of the last three evidences
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


def without_threshold(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config of format 1 or 2 in the present one, whose calibration has no threshold.

    A clip was unknown from a novelty of `threshold`; now it is where the log-odds of that exceed the logarithm of the
    top probability p. So they are shifted by log p less the log-odds of the threshold: at USUAL_TOP, both rules agree.

    Raises:
        SettingsError: the threshold is no probability.
    """
    calibration = config.get("calibration")
    if not isinstance(calibration, Mapping) or "threshold" not in calibration:
        return {**config}
    threshold, novelty, temperature = (calibration.get(name) for name in ("threshold", "novelty", "temperature"))
    legal = isinstance(threshold, int | float) and 0 <= threshold <= 1 and isinstance(temperature, list)
    require(
        legal and isinstance(novelty, list) and bool(novelty) and isinstance(novelty[0], int | float),
        "calibration",
        found=f"the threshold {threshold!r:.40}, the novelty {novelty!r:.80} and the temperature {temperature!r:.80}",
        expected="a threshold in [0, 1], and lists of numbers",
        remedy="Fit it again.",
    )
    nearly = min(max(float(threshold), _ROUNDING), 1 - _ROUNDING)
    shift = math.log(USUAL_TOP) - math.log(nearly / (1 - nearly))
    kept = {name: value for name, value in calibration.items() if name != "threshold"}
    kept["novelty"] = [novelty[0] + shift, *novelty[1:3], *_NONE_YET[:2], *novelty[3:], *_NONE_YET]
    kept["temperature"] = [*temperature, *_NONE_YET[:2]]
    return {**config, "calibration": kept}
