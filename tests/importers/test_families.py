"""Every family of encoders that is known can be imported as transformers saves it, bare or inside another model."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers
from tiny_encoders import CONFIGS, tiny
from tolerance import assert_near

from ser_fewshot.frontends.pretrained.architectures import KNOWN

from .conftest import built, features
from .layouts import clip

ADAPTED = {"add_adapter": True, "use_intermediate_ffn_before_adapter": True, "output_hidden_size": 32}
INSIDE = [
    (
        "unispeech-sat",
        "ForPreTraining",
        {},
        {"layer_norm_for_extract.weight": "norm of the targets of the pretraining"},
    ),
    ("wav2vec2-bert", "Model", ADAPTED, {"intermediate_ffn.output_dense.bias": "adapter behind the last block"}),
    ("wav2vec2-bert", "ForCTC", ADAPTED, {"wav2vec2_bert.adapter.layers.0.ffn.output_dense.bias": "adapter behind"}),
    (
        "wav2vec2, layer norm",
        "ForPreTraining",
        {},
        {
            "wav2vec2.masked_spec_embed": "mask embedding",
            "project_hid.weight": "projection head",
            "project_q.bias": "projection head",
            "quantizer.codevectors": "quantizer",
        },
    ),
    ("sew", "ForCTC", {}, {"lm_head.weight": "head for text", "sew.encoder.upsample.projection.bias": "return to the"}),
]


def test_these_are_all_families():
    assert {config.model_type for config in CONFIGS.values()} == set(KNOWN)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ("hubert", "wavlm", "wav2vec2-bert")])
def test_a_saved_encoder_is_imported_whole_and_hears_the_same(name, tmp_path):
    known = tiny(name)
    known.encoder.save_pretrained(tmp_path)
    _, model, report = built(tmp_path, layer="weighted")
    assert (report.missing, report.unexpected) == ((), ())
    wanted = known.frontend(layer="weighted", pooling="frames").analyse([clip()])[0]
    assert wanted.std() > 0
    assert_near(features(model, clip()), wanted)


@pytest.mark.parametrize(
    ("name", "kind", "changes", "left"), INSIDE, ids=[f"{name}-{kind}" for name, kind, *_ in INSIDE]
)
def test_what_stands_around_an_encoder_is_left_behind_with_a_reason(name, kind, changes, left, tmp_path: Path):
    config = type(CONFIGS[name])(**{**CONFIGS[name].to_dict(), "vocab_size": 9, **changes})
    family = type(config).__name__.removesuffix("Config")
    getattr(transformers, f"{family}{kind}")(config).save_pretrained(tmp_path)
    _, _, report = built(tmp_path)
    assert (report.missing, report.unexpected) == ((), ())
    for dropped, reason in left.items():
        assert report.dropped[dropped].startswith(reason)
