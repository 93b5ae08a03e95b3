"""A fairseq .pt: wav2vec2, HuBERT, and WavLM, which took over its names; fairseq itself is not needed.

Ott et al., "fairseq", 2019, https://arxiv.org/abs/1904.01038.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ser_fewshot.importers._checkpoint import Checkpoint
from ser_fewshot.importers._names import KeyMap, translate
from ser_fewshot.importers._source import Source
from ser_fewshot.importers._waveform import waveform_checkpoint

_LAYER = r"(encoder\.layers\.\d+\.)"
_RULES = KeyMap(
    prefix=r"(?:w2v_encoder\.)?(?:w2v_model\.)?",  # around a model that was fine-tuned
    renames=(
        (r"(feature_extractor\.conv_layers\.\d+\.)0\.(.*)", r"\1conv.\2"),
        (r"(feature_extractor\.conv_layers\.0\.)2\.(weight|bias)", r"\1layer_norm.\2"),
        (r"(feature_extractor\.conv_layers\.\d+\.)2\.1\.(.*)", r"\1layer_norm.\2"),
        (r"post_extract_proj\.(.*)", r"feature_projection.projection.\1"),
        (r"layer_norm\.(.*)", r"feature_projection.layer_norm.\1"),
        (r"encoder\.pos_conv\.0\.(.*)", r"encoder.pos_conv_embed.conv.\1"),
        (_LAYER + r"self_attn\.grep_linear\.(.*)", r"\1attention.gru_rel_pos_linear.\2"),
        (_LAYER + r"self_attn\.grep_a", r"\1attention.gru_rel_pos_const"),
        (_LAYER + r"self_attn\.relative_attention_bias\.(.*)", r"\1attention.rel_attn_embed.\2"),
        (_LAYER + r"self_attn\.(.*)", r"\1attention.\2"),
        (_LAYER + r"self_attn_layer_norm\.(.*)", r"\1layer_norm.\2"),
        (_LAYER + r"fc1\.(.*)", r"\1feed_forward.intermediate_dense.\2"),
        (_LAYER + r"fc2\.(.*)", r"\1feed_forward.output_dense.\2"),
    ),
)
_OPTIONS = {
    "encoder_attention_heads": ("num_attention_heads", int),
    "layer_norm_first": ("do_stable_layer_norm", bool),
    "max_distance": ("max_bucket_distance", int),
}
"""fairseq's name -> that of transformers and the type, of what shapes do not show."""
_NESTED = ("cfg", "args", "model", "w2v_args", "task")  # where options stand, from the outside in
_CONVOLUTION = r"\(\s*\d{1,5}\s*,\s*\d{1,5}\s*,\s*(\d{1,5})\s*\)"
_MOST_REPEATS = 32


def recognises(source: Source) -> bool:
    """Whether it holds a model beside the options that it was trained with."""
    return "model" in source.names and bool(source.names & {"cfg", "args"})


def read(source: Source) -> Checkpoint:
    """Return its encoder.

    Raises:
        CheckpointError: its architecture cannot be deduced, or is not that of its options.
    """
    tensors, dropped = translate(source.weights("model"), _RULES, origin=source.name)
    options = _options(source.state)
    stated = {new: kind(options[old]) for old, (new, kind) in _OPTIONS.items() if isinstance(options.get(old), int)}
    strides = _strides(options.get("conv_feature_layers"))
    stated |= {"conv_stride": strides} if strides else {}
    stated |= {"model_type": "hubert"} if "label_embs_concat" in source.state["model"] else {}
    normalize = options["normalize"] if isinstance(options.get("normalize"), bool) else None
    return waveform_checkpoint("fairseq", source, tensors, dropped, stated=stated, normalize=normalize)


def _options(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the model and its task; of two that have one name, the inner."""
    found: dict[str, Any] = {}
    stack, seen = [state.get("args"), state.get("cfg")], set()
    while stack:
        options = stack.pop(0)
        if id(options) in seen:  # a hostile file nests options in themselves
            continue
        seen.add(id(options))
        level = _named(options)
        found |= {name: value for name, value in level.items() if isinstance(value, bool | int | str)}
        stack += [level[name] for name in _NESTED if name in level]
    return found


def _named(options: object) -> dict[str, Any]:
    """Return options by name, from a dictionary or a namespace; nothing from anything else."""
    named = options if isinstance(options, dict) else getattr(options, "__dict__", {})
    return {name: value for name, value in named.items() if isinstance(name, str)}


def _strides(layers: object) -> list[int]:
    """Return the strides in "[(512, 10, 5)] + [(512, 3, 2)] * 4 + ...", which fairseq hands to Python's eval."""
    strides: list[int] = []
    for part in str(layers or "").split("+"):
        times = re.search(r"\]\s*\*\s*(\d{1,3})\s*$", part)
        repeats = min(int(times[1]), _MOST_REPEATS) if times else 1
        strides += [int(stride) for stride in re.findall(_CONVOLUTION, part)] * repeats
    return strides
