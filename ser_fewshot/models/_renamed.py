"""Names of weights in models of format 1 (version 0.1.0) and their present names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

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
