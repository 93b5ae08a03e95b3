"""The state dict of a torchaudio bundle: wav2vec2, HuBERT or WavLM.

Hwang et al., "TorchAudio 2.1", 2023, https://arxiv.org/abs/2310.17864.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from ser_fewshot.importers._checkpoint import Checkpoint
from ser_fewshot.importers._names import KeyMap, translate
from ser_fewshot.importers._source import Source
from ser_fewshot.importers._waveform import waveform_checkpoint

_RULES = KeyMap(
    prefix=r"(?:model\.)?(?:wav2vec2\.)?",  # bundles that normalise wrap the model, and so does HuBERT's pretraining
    renames=(
        (r"encoder\.feature_projection\.(.*)", r"feature_projection.\1"),
        (r"encoder\.transformer\.(layers\.\d+\.attention\.)attention\.(out_proj.*)", r"encoder.\1\2"),
        (r"encoder\.transformer\.(.*)", r"encoder.\1"),
    ),
)
_JOINT = r"(encoder\.layers\.\d+\.attention\.)attention\.in_proj_(weight|bias)"


def recognises(source: Source) -> bool:
    """Whether its weights have torchaudio's names."""
    return any("encoder.transformer." in name for name in source.names)


def read(source: Source) -> Checkpoint:
    """Return its encoder.

    Raises:
        CheckpointError: its architecture cannot be deduced.
    """
    tensors, dropped = translate(source.weights(), _RULES, origin=source.name)
    return waveform_checkpoint("torchaudio", source, _split_projections(tensors), dropped, stated={})


def _split_projections(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split the joint projections of WavLM's attention into query, key and value."""
    split: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(_JOINT, name):
            parts = zip("qkv", tensor.chunk(3), strict=False)  # what is not three thirds shows by its shapes
            split |= {f"{match[1]}{letter}_proj.{match[2]}": part for letter, part in parts}
        else:
            split[name] = tensor
    return split
