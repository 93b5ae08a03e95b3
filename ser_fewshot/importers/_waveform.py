"""The architecture of a wav2vec2, HuBERT or WavLM, from the shapes of its weights and what its file says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ser_fewshot.errors import CheckpointError
from ser_fewshot.importers._checkpoint import Checkpoint
from ser_fewshot.importers._source import Source

_KERNELS = [10, 3, 3, 3, 3, 2, 2]
_STRIDES = [5, 2, 2, 2, 2, 2, 2]  # of the convolutions with these kernels, in every published model
_HEADS = {768: 12, 1024: 16, 1280: 16, 1920: 16}  # base, large, extra large, XLS-R 2B
_HEAD_WIDTH = 64  # of base and large
_WEIGHT_NORM = "encoder.pos_conv_embed.conv.parametrizations.weight.original1"
_FIRST_NORM = "feature_extractor.conv_layers.0.layer_norm.weight"


def deduce(
    tensors: Mapping[str, Tensor], *, stated: Mapping[str, Any], origin: str
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return an architecture as transformers names it, and what had to be assumed, one sentence each.

    Shapes do not show the strides, where the layer norms of the blocks stand and, but for WavLM, the number of heads.

    Args:
        tensors: by their names in transformers.
        stated: what the source states, by the same names; it counts less than a shape and more than an assumption.
        origin: what errors call it.
    """
    try:
        shaped = _shapes(tensors)
    except (KeyError, IndexError, ValueError, StopIteration) as error:
        raise CheckpointError(
            origin,
            found=f"weights without the shape of {error!s:.100}",
            expected="the convolutions and transformer blocks of a wav2vec2, HuBERT or WavLM",
            remedy="Import it in another format, or put the config.json of its architecture beside it.",
        ) from error
    assumed = _assumed(shaped, stated, origin=origin)
    notes = tuple(f"{name} is taken to be {value}, as is usual for such shapes" for name, value in assumed.items())
    return {"model_type": "wavlm" if "num_buckets" in shaped else "wav2vec2", **assumed, **stated, **shaped}, notes


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return what shapes and names show."""
    convolutions = _numbered(tensors, r"feature_extractor\.conv_layers\.(\d+)\.conv\.weight")
    kernels = [tensors[f"feature_extractor.conv_layers.{n}.conv.weight"] for n in convolutions]
    positions = tensors[_WEIGHT_NORM]  # (hidden, hidden / groups, kernel)
    hidden = tensors["feature_projection.projection.weight"].shape[0]
    grouped = tensors[_FIRST_NORM].numel() > 0 and "feature_extractor.conv_layers.1.layer_norm.weight" not in tensors
    shaped: dict[str, Any] = {
        "hidden_size": hidden,
        "num_hidden_layers": len(_numbered(tensors, r"encoder\.layers\.(\d+)\.final_layer_norm\.weight")),
        "intermediate_size": tensors["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
        "conv_dim": [kernel.shape[0] for kernel in kernels],
        "conv_kernel": [kernel.shape[2] for kernel in kernels],
        "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in tensors,
        "feat_extract_norm": "group" if grouped else "layer",
        "num_conv_pos_embeddings": positions.shape[2],
        "num_conv_pos_embedding_groups": hidden // positions.shape[1],
    }
    gate = "encoder.layers.0.attention.gru_rel_pos_const"
    if gate in tensors:
        buckets = tensors["encoder.layers.0.attention.rel_attn_embed.weight"]
        shaped |= {"num_attention_heads": tensors[gate].shape[1], "num_buckets": buckets.shape[0]}
    return shaped


def _numbered(tensors: Mapping[str, Tensor], pattern: str) -> list[int]:
    """Return the numbers that occur in names, which must be 0, 1, 2, ..."""
    found = sorted(int(match[1]) for name in tensors if (match := re.fullmatch(pattern, name)))
    if not found or found != list(range(len(found))):
        raise KeyError(pattern)
    return found


def _assumed(shaped: Mapping[str, Any], stated: Mapping[str, Any], *, origin: str) -> dict[str, Any]:
    """Return the usual values of what is neither stated nor shown by a shape."""
    assumed: dict[str, Any] = {}
    hidden = shaped["hidden_size"]
    if "conv_stride" not in stated and shaped["conv_kernel"] == _KERNELS:
        assumed["conv_stride"] = _STRIDES
    if not {"num_attention_heads"} & {*stated, *shaped} and hidden % _HEAD_WIDTH == 0:
        assumed["num_attention_heads"] = _HEADS.get(hidden, hidden // _HEAD_WIDTH)
    if "do_stable_layer_norm" not in stated:
        assumed["do_stable_layer_norm"] = shaped["feat_extract_norm"] == "layer"
    if lacking := sorted({"conv_stride", "num_attention_heads"} - {*assumed, *stated, *shaped}):
        raise CheckpointError(
            origin,
            found=f"convolution kernels {shaped['conv_kernel']} and width {hidden}, which no published model has",
            expected=f"kernels {_KERNELS} and a width that is a multiple of {_HEAD_WIDTH}",
            remedy=f"Put the config.json of its architecture beside it, for {' and '.join(lacking)}.",
        )
    return assumed


def waveform_checkpoint(
    layout: str,
    source: Source,
    tensors: dict[str, Tensor],
    dropped: dict[str, str],
    *,
    stated: Mapping[str, Any],
    normalize: bool | None = None,
) -> Checkpoint:
    """Return a checkpoint with the architecture of the config.json beside it, or else the one that `deduce` finds.

    `tensors` have their names in transformers, `dropped` those of the file, and `stated` is what the file states.
    Clips are brought to mean 0 and variance 1 if the file states it by `normalize`; otherwise as the architecture
    suggests: encoders with layer norm in their convolutions were trained so, and to those with group norm it hardly
    matters.
    """
    found = (dict(source.config), ()) if source.config else deduce(tensors, stated=stated, origin=source.name)
    architecture, notes = found
    if normalize is None:
        normalize = architecture.get("feat_extract_norm") == "layer"
    preprocessor = dict(source.preprocessor) or {"do_normalize": normalize}
    return Checkpoint(layout, architecture, preprocessor, tensors, dropped, notes=notes)
