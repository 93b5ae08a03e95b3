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
from ser_fewshot.importers._files import as_tensors
from ser_fewshot.importers._names import KeyMap, translate
from ser_fewshot.importers._source import Source
from ser_fewshot.importers._waveform import described, preprocessor_of
from ser_fewshot.optional import unpaired

_RULES = KeyMap(
    prefix=r"(?:model\.)?(?:wav2vec2\.)?",  # bundles that normalise wrap the model, and so does HuBERT's pretraining
    renames=(
        (r"encoder\.feature_projection\.(.*)", r"feature_projection.\1"),
        (r"encoder\.transformer\.(layers\.\d+\.attention\.)attention\.(out_proj.*)", r"encoder.\1\2"),
        (r"encoder\.transformer\.(.*)", r"encoder.\1"),
    ),
)
_JOINED = r"(encoder\.layers\.\d+\.attention\.)attention\.in_proj_(weight|bias)"
_SIZES = {
    "encoder_num_heads": "num_attention_heads",
    "encoder_layer_norm_first": "do_stable_layer_norm",
    "encoder_max_distance": "max_bucket_distance",
}
"""torchaudio's name -> that of transformers, of what shapes do not tell."""


def recognises(source: Source) -> bool:
    """Whether its weights have torchaudio's names."""
    return any("encoder.transformer." in name for name in source.names)


def read(source: Source) -> Checkpoint:
    """Return its encoder.

    Raises:
        CheckpointError: its architecture is not that of the bundle, or cannot be deduced.
    """
    assert source.state_file is not None  # noqa: S101  # `recognises` has seen the names in it
    raw = as_tensors(source.state, source.state_file)
    tensors, dropped = translate(raw, _RULES, origin=source.name)
    tensors = _parted(tensors)
    told, normalize = _bundle(source.bundle)
    architecture, notes = described(tensors, config=source.config, told=told, origin=source.name)
    if source.bundle is not None:
        _check_bundle(source.bundle, architecture, origin=source.name)
    preprocessor = preprocessor_of(architecture, given=source.preprocessor, normalize=normalize)
    return Checkpoint("torchaudio", architecture, preprocessor, tensors, dropped, notes=notes)


def _parted(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Part the joined projections of WavLM's attention into query, key and value."""
    parted: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if match := re.fullmatch(_JOINED, name):
            parts = zip("qkv", tensor.chunk(3), strict=False)  # what is not three thirds shows by its shapes
            parted |= {f"{match[1]}{letter}_proj.{match[2]}": part for letter, part in parts}
        else:
            parted[name] = tensor
    return parted


def _check_bundle(name: str, architecture: Mapping[str, Any], *, origin: str) -> None:
    """Refuse weights whose shapes are those of another bundle.

    Raises:
        CheckpointError: width, number of blocks or normalisation differ.
    """
    parameters = _bundles()[name]._params
    norms = {"group_norm": "group", "layer_norm": "layer"}
    stated = {
        "hidden_size": parameters["encoder_embed_dim"],
        "num_hidden_layers": parameters["encoder_num_layers"],
        "feat_extract_norm": norms[parameters["extractor_mode"]],
    }
    wrong = [f"{key} {architecture[key]}, not {value}" for key, value in stated.items() if architecture[key] != value]
    if wrong:
        raise CheckpointError(
            origin,
            found="; ".join(wrong),
            expected=f"the weights of {name}",
            remedy="Name the bundle that they are of, or leave --bundle out.",
        )


def _bundle(name: str | None) -> tuple[dict[str, Any], bool | None]:
    """Return what a bundle says of its architecture, and whether it normalises; nothing for no bundle.

    Raises:
        CheckpointError: torchaudio has no such bundle, or cannot be imported.
    """
    if name is None:
        return {}, None
    known = _bundles()
    if name not in known:
        raise CheckpointError(
            "--bundle",
            found=f"{name!r:.80}",
            expected=" | ".join(sorted(known)),
            remedy="Choose one of these, or leave it out: most architectures show in their shapes.",
        )
    # torchaudio states them nowhere else.
    parameters = known[name]._params
    told = {new: parameters[old] for old, new in _SIZES.items() if old in parameters}
    convolutions = parameters.get("extractor_conv_layer_config")
    if convolutions:
        told["conv_stride"] = [stride for _, _, stride in convolutions]
    if name.startswith("HUBERT"):
        told["model_type"] = "hubert"
    return told, known[name]._normalize_waveform


def _bundles() -> dict[str, Any]:
    """Return torchaudio's bundles by name. Only what they say is taken from it: its checkpoints are read without it.

    Raises:
        CheckpointError: torchaudio cannot be imported, for instance because it was built for another torch.
    """
    try:
        from torchaudio import pipelines  # noqa: PLC0415 - it may not fit the installed torch
    except (ImportError, OSError, RuntimeError) as error:
        raise unpaired(error) from error
    return {key: value for key, value in vars(pipelines).items() if hasattr(value, "_normalize_waveform")}
