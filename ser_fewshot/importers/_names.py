"""Rules that translate the names of weights in a layout to those of transformers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ser_fewshot.errors import CheckpointError

HEADS: tuple[tuple[str, str], ...] = (
    (r"(input_)?quantizer\..*", "quantizer"),
    (
        r"project_(q|hid|inp)\..*|final_proj\..*|target_glu\..*|logit_generator\..*",
        "projection head of the pretraining",
    ),
    (r"label_embs_concat|label_embeddings_concat|speaker_proj\..*", "targets of the pretraining"),
    (r"lm_head\..*|proj\..*|proj_out\..*|aux\..*|ctc_proj\..*", "head for text"),
    (r"(model\.)?decoder\..*", "decoder"),
    (r"projector\..*|classifier\..*|layer_weights|tdnn\..*|objective\..*|feature_extractor\.(weight|bias)", "head"),
    (r"(adapter|intermediate_ffn)\..*", "adapter behind the last block"),
    (r"layer_norm_for_extract\..*", "norm of the targets of the pretraining"),
    (r"encoder\.upsample\..*", "return to the full frame rate, behind the last block"),
    (r"mask_emb|masked_spec_embed|mask_generator\..*", "mask embedding, used only in the pretraining"),
)
"""Pattern -> what it is, of weights that a front-end does not use."""

_WEIGHT_NORM = (
    (r"(.*\.)?weight_g", r"\1parametrizations.weight.original0"),
    (r"(.*\.)?weight_v", r"\1parametrizations.weight.original1"),
)
"""The older spelling of weight norm (torch before 2.1), and the present one."""


@dataclass(frozen=True)
class KeyMap:
    """The rules of a layout; patterns match whole names, and the first that matches counts.

    Attributes:
        prefix: a pattern that names may begin with, cut off first.
        renames: pattern -> name in transformers; names that match none stay as they are.
        drops: pattern -> why such weights are left out, tried before the renames.
    """

    prefix: str = ""
    renames: Sequence[tuple[str, str]] = ()
    drops: Sequence[tuple[str, str]] = HEADS


def translate(tensors: Mapping[str, Tensor], rules: KeyMap, *, origin: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors by their names in transformers, and name in the file -> why it was dropped."""
    kept: dict[str, Tensor] = {}
    dropped: dict[str, str] = {}
    for name, tensor in tensors.items():
        bare = re.sub(f"^(?:{rules.prefix})", "", name)
        reason = next((why for pattern, why in rules.drops if re.fullmatch(pattern, bare)), None)
        if reason is not None:
            dropped[name] = reason
            continue
        new = _renamed(_renamed(bare, rules.renames), _WEIGHT_NORM)
        if new in kept:
            found, remedy = f"two weights for {new:.80}", "The file mixes two models: take it from its source again."
            raise CheckpointError(origin, found=found, expected="each once", remedy=remedy)
        kept[new] = tensor
    return kept, dropped


def _renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    for pattern, new in rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(new)
    return name
