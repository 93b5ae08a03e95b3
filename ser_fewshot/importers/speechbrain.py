"""A SpeechBrain wrapper around a model of transformers: its weights as wav2vec2.ckpt, every name behind `model.`.

Ravanelli et al., "SpeechBrain", 2021, https://arxiv.org/abs/2106.04624. Its hyperparams.yaml can build any Python
object, so it is not read.
"""

from __future__ import annotations

import re

from ser_fewshot.importers._checkpoint import Checkpoint
from ser_fewshot.importers._files import as_tensors
from ser_fewshot.importers._names import KeyMap, translate
from ser_fewshot.importers._source import Source
from ser_fewshot.importers._waveform import described, preprocessor_of

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
    assert source.state_file is not None  # noqa: S101  # `recognises` has seen the names in it
    tensors, dropped = translate(as_tensors(source.state, source.state_file), _RULES, origin=source.name)
    architecture, notes = described(tensors, config=source.config, told={}, origin=source.name)
    preprocessor = preprocessor_of(architecture, given=source.preprocessor)
    return Checkpoint("speechbrain", architecture, preprocessor, tensors, dropped, notes=notes)
