"""Which families there are: by model type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ser_fewshot.frontends.pretrained.family import Family
from ser_fewshot.frontends.pretrained.spectral import Conformer, Whisper
from ser_fewshot.frontends.pretrained.waveform import Convolutional, GatedConvolutional, SqueezedConvolutional

_KINDS: dict[str, Any] = {
    "sew": SqueezedConvolutional,
    "wav2vec2-bert": Conformer,
    "wavlm": GatedConvolutional,
    "whisper": Whisper,
}
"""The others are convolutional."""


def family_of(architecture: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> Family:
    """Return how an encoder of a checked architecture sees a clip."""
    family: Family = _KINDS.get(architecture["model_type"], Convolutional)(architecture, preprocessor)
    return family
