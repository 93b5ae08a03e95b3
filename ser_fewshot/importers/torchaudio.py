"""The state dict of a torchaudio bundle: wav2vec2, HuBERT or WavLM.

Hwang et al., "TorchAudio 2.1", 2023, https://arxiv.org/abs/2310.17864.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ser_fewshot.errors import CheckpointError
from ser_fewshot.importers._checkpoint import Checkpoint
from ser_fewshot.importers._names import KeyMap, translate
from ser_fewshot.importers._source import Source
from ser_fewshot.importers._waveform import waveform_checkpoint
from ser_fewshot.optional import unpaired

_RULES = KeyMap(
    prefix=r"(?:model\.)?(?:wav2vec2\.)?",  # bundles that normalise wrap the model, and so does HuBERT's pretraining
    renames=(
        (r"encoder\.feature_projection\.(.*)", r"feature_projection.\1"),
        (r"encoder\.transformer\.(layers\.\d+\.attention\.)attention\.(out_proj.*)", r"encoder.\1\2"),
        (r"encoder\.transformer\.(.*)", r"encoder.\1"),
    ),
)
_JOINT = r"(encoder\.layers\.\d+\.attention\.)attention\.in_proj_(weight|bias)"
_SIZES = {
    "encoder_num_heads": "num_attention_heads",
    "encoder_layer_norm_first": "do_stable_layer_norm",
    "encoder_max_distance": "max_bucket_distance",
}
"""torchaudio's name -> that of transformers, of what shapes do not show."""


def recognises(source: Source) -> bool:
    """Whether its weights have torchaudio's names."""
    return any("encoder.transformer." in name for name in source.names)


def read(source: Source) -> Checkpoint:
    """Return its encoder.

    Raises:
        CheckpointError: its architecture is not that of the bundle, or cannot be deduced.
    """
    tensors, dropped = translate(source.weights(), _RULES, origin=source.name)
    stated, normalize = _bundle(source.bundle)
    tensors = _split_projections(tensors)
    checkpoint = waveform_checkpoint("torchaudio", source, tensors, dropped, stated=stated, normalize=normalize)
    if source.bundle is not None:
        _check_bundle(source.bundle, checkpoint.architecture, origin=source.name)
    return checkpoint


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


def _check_bundle(name: str, architecture: Mapping[str, Any], *, origin: str) -> None:
    """Refuse weights whose width, number of blocks or normalisation are those of another bundle."""
    parameters = _bundles()[name]._params
    norms = {"group_norm": "group", "layer_norm": "layer"}
    stated = {
        "hidden_size": parameters["encoder_embed_dim"],
        "num_hidden_layers": parameters["encoder_num_layers"],
        "feat_extract_norm": norms[parameters["extractor_mode"]],
    }
    wrong = [f"{key} {architecture[key]}, not {value}" for key, value in stated.items() if architecture[key] != value]
    if wrong:
        remedy = "Name the bundle that they are of, or leave --bundle out."
        raise CheckpointError(origin, found="; ".join(wrong), expected=f"the weights of {name}", remedy=remedy)


def _bundle(name: str | None) -> tuple[dict[str, Any], bool | None]:
    """Return what a bundle states of its architecture, and whether it normalises; nothing for no bundle."""
    if name is None:
        return {}, None
    known = _bundles()
    if name not in known:
        remedy = "Choose one of these, or leave it out: most architectures show in their shapes."
        raise CheckpointError("--bundle", found=f"{name!r:.80}", expected=" | ".join(sorted(known)), remedy=remedy)
    # torchaudio states them nowhere else.
    parameters = known[name]._params
    stated = {new: parameters[old] for old, new in _SIZES.items() if old in parameters}
    convolutions = parameters.get("extractor_conv_layer_config")
    if convolutions:
        stated["conv_stride"] = [stride for _, _, stride in convolutions]
    if name.startswith("HUBERT"):
        stated["model_type"] = "hubert"
    return stated, known[name]._normalize_waveform


def _bundles() -> dict[str, Any]:
    """Return torchaudio's bundles by name: their architectures, since checkpoints are read without torchaudio."""
    try:
        from torchaudio import pipelines  # noqa: PLC0415 - it may not fit the installed torch
    except (ImportError, OSError, RuntimeError) as error:
        raise unpaired(error) from error
    return {key: value for key, value in vars(pipelines).items() if hasattr(value, "_normalize_waveform")}
