"""A SpeechBrain wrapper around a model of transformers: its weights as wav2vec2.ckpt, every name behind `model.`.

Ravanelli et al., "SpeechBrain", 2021, https://arxiv.org/abs/2106.04624. Its hyperparams.yaml can build any Python
object, so it is not read.
"""

from __future__ import annotations

import re

from ser_fewshot.importers._checkpoint import Checkpoint
from ser_fewshot.importers._names import KeyMap, translate
from ser_fewshot.importers._source import Source
from ser_fewshot.importers._waveform import waveform_checkpoint

_RULES = KeyMap(prefix=r"model\.(?:(?:wav2vec2|hubert|wavlm)\.)?")


def recognises(source: Source) -> bool:
    """Whether all its weights are those of a wrapped model."""
    wrapped = all(name.startswith("model.") for name in source.names)
    return wrapped and any(re.match(_RULES.prefix + r"feature_projection\.", name) for name in source.names)


def read(source: Source) -> Checkpoint:
    """Return its encoder.

    Raises:
        CheckpointError: there is no configuration beside it and its architecture cannot be deduced.
    """
    tensors, dropped = translate(source.weights(), _RULES, origin=source.name)
    return waveform_checkpoint("speechbrain", source, tensors, dropped, stated={})
