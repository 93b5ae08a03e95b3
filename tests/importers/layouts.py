"""Small random encoders, and the same one written as each program would write it."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from torchaudio.models.wav2vec2.utils import import_huggingface_model

HEAD_WIDTH = 64  # what an importer takes heads to be that no shape shows
SMALL: dict[str, Any] = {
    "hidden_size": 2 * HEAD_WIDTH,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
"""What sets the large models of a family apart from the base ones."""

_CONVOLUTIONS = "[(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16,2,2)] + [(16,2,2)]"


def encoder(family: str = "Wav2Vec2", *, seed: int = 0, head: str = "Model", **changes: Any) -> Any:
    """A random model of transformers, every bias and norm of it too."""
    torch.manual_seed(seed)
    config = getattr(transformers, f"{family}Config")(**{**SMALL, **changes})
    model = getattr(transformers, f"{family}{head}")(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim <= 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write_huggingface(model: Any, folder: Path, *, normalize: bool | None = None, bin_file: bool = False) -> Path:
    model.save_pretrained(folder)
    if bin_file:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    if normalize is None:
        normalize = getattr(model.config, "feat_extract_norm", "layer") == "layer"
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": normalize, "sampling_rate": 16_000}))
    return folder


def write_torchaudio(model: Any, path: Path) -> Path:
    """By torchaudio's own converter."""
    torch.save(import_huggingface_model(model).state_dict(), path)
    return path


def write_speechbrain(model: Any, folder: Path, *, config: bool = False) -> Path:
    folder.mkdir(parents=True)
    torch.save({f"model.{name}": x for name, x in model.state_dict().items()}, folder / "wav2vec2.ckpt")
    if config:
        (folder / "config.json").write_text(model.config.to_json_string())
    return folder


def write_fairseq(
    model: Any, path: Path, *, options: str = "cfg", old_weight_norm: bool = True, finetuned: bool = False
) -> Path:
    """With its options in a dictionary ("cfg") or, as in older files, in a namespace ("args")."""
    state = {_fairseq_name(name, model): x for name, x in model.state_dict().items() if name != "masked_spec_embed"}
    if old_weight_norm:
        state = {
            name.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): x
            for name, x in state.items()
        }
    state |= {"mask_emb": torch.rand(4), "final_proj.weight": torch.rand(4, 4)}
    if "Hubert" in type(model).__name__:
        state |= {"label_embs_concat": torch.rand(4, 4)}
    else:
        state |= {"quantizer.vars": torch.rand(1, 4, 4), "project_q.weight": torch.rand(4, 4)}
    if finetuned:
        state = {f"w2v_encoder.w2v_model.{name}": x for name, x in state.items()} | {
            "w2v_encoder.proj.weight": torch.rand(32, 4)
        }
    config = model.config
    told = {
        "encoder_attention_heads": config.num_attention_heads,
        "layer_norm_first": config.do_stable_layer_norm,
        "conv_feature_layers": _CONVOLUTIONS,
        "normalize": config.feat_extract_norm == "layer",
    }
    if options == "args":
        content = {"args": argparse.Namespace(**told), "model": state}
    else:
        task = {"normalize": told.pop("normalize")}
        content = {"args": None, "cfg": {"model": told, "task": task}, "model": state, "extra_state": {"epoch": 3}}
    torch.save(content, path)
    return path


def _fairseq_name(name: str, model: Any) -> str:
    """The inverse of the importer's rules, written on its own."""
    norm = "2" if model.config.feat_extract_norm == "group" else "2.1"
    for pattern, new in (
        (r"^feature_projection\.projection\.", "post_extract_proj."),
        (r"^feature_projection\.layer_norm\.", "layer_norm."),
        (r"^encoder\.pos_conv_embed\.conv\.", "encoder.pos_conv.0."),
        (r"\.conv\.(weight|bias)$", r".0.\1"),
        (r"^(feature_extractor\.conv_layers\.\d+)\.layer_norm\.", rf"\1.{norm}."),
        (r"(\.layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
        (r"\.attention\.gru_rel_pos_linear\.", ".self_attn.grep_linear."),
        (r"\.attention\.gru_rel_pos_const", ".self_attn.grep_a"),
        (r"\.attention\.rel_attn_embed\.", ".self_attn.relative_attention_bias."),
        (r"\.attention\.", ".self_attn."),
        (r"\.feed_forward\.intermediate_dense\.", ".fc1."),
        (r"\.feed_forward\.output_dense\.", ".fc2."),
    ):
        name = re.sub(pattern, new, name)
    return name


def clip(seconds: float = 0.7, *, seed: int = 3) -> Tensor:
    """Noise that swells: (samples,)."""
    generator = torch.Generator().manual_seed(seed)
    n = round(seconds * 16_000)
    return 0.1 * torch.randn(n, generator=generator) * torch.linspace(0.2, 1.0, n)
