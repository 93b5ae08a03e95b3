"""Models and enrolment files of version 0.1.0, which had other names of weights, give the same answers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import tone
from safetensors import safe_open
from synthetic import CALIBRATION, batch, small_model
from torch import Tensor

from ser_fewshot import FewShotClassifier
from ser_fewshot.errors import CheckpointError
from ser_fewshot.models import Model, load_model, save_model
from ser_fewshot.models._renamed import USUAL_TOP as USUAL

OLD = {
    "transformer": {
        **{"conv1": "enter", "conv2": "halve", "in_proj": "join", "pos_proj": "place", "layer_heads": "say"},
        **{"qkv": "attend", "out_proj": "gather", "fc1": "widen", "fc2": "narrow"},
        **{"nuisance": "recording", "nuisance_mean": "middle", "nuisance_limit": "reach"},
        "feature_weights": "emphasis",
    },
    "dense": {"fc_in": "enter"},
}
DIRECTIONS = {"functionals": 0.5, "discriminant": 2, "recording": 2}
MODELS = {
    "ridge, transformer": lambda: small_model(
        encoder="transformer", beside={**DIRECTIONS, "channels": 8, "width": 6}, n_mels=8
    ),
    "meta_sgd, dense": lambda: small_model("meta_sgd", encoder="dense", n_mels=8),
}


def in_use(name: str) -> Model:
    model = MODELS[name]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.learner.state_dict().values():
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=generator))
    return model


def aged(path: Path, names: dict[str, str]) -> None:
    """Rewrite a safetensors file, and a config.json beside it, as version 0.1.0 wrote them."""
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    old = {re.sub(r"[^./]+", lambda part: names.get(part[0], part[0]), name): x for name, x in tensors.items()}
    assert old.keys() != tensors.keys()
    if "config" in metadata:
        metadata["config"] = json.dumps({**json.loads(metadata["config"]), "format": 1})
    path.write_bytes(safetensors.torch.save(old, metadata))
    config = path.with_name("config.json")
    if config.exists():
        config.write_text(json.dumps({**json.loads(config.read_text()), "format": 1}))


def logits(model: Model) -> Tensor:
    with torch.no_grad():
        return model.learner.adapt(batch(6), torch.tensor([0, 0, 1, 1, 2, 2]))(batch(4, seed=1))


def logit(p: float) -> float:
    return math.log(p / (1 - p))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_format_1_gives_the_same_logits(name, tmp_path):
    model = in_use(name)
    save_model(model, tmp_path, card="")
    aged(tmp_path / "model.safetensors", OLD[name.split(", ")[1]])
    assert torch.equal(logits(load_model(tmp_path)), logits(model))


def test_an_enrolment_of_format_1_gives_the_same_prediction(tmp_path):
    classifier = FewShotClassifier(in_use("ridge, transformer"))
    clips = {"low": [(16_000, tone(hertz=110))], "high": [(16_000, tone(hertz=500))]}
    classifier.enroll(clips)
    query = (16_000, tone(hertz=400))
    expected = classifier.predict(query).probabilities
    classifier.save(tmp_path / "voices.safetensors")
    aged(tmp_path / "voices.safetensors", OLD["transformer"])
    assert FewShotClassifier.load(tmp_path / "voices.safetensors").predict(query).probabilities == expected


@pytest.mark.parametrize("old", [1, 2])
def test_a_threshold_becomes_the_prior_that_decides_alike_where_the_top_probability_is_usual(old, tmp_path):
    model = small_model(calibration=CALIBRATION)
    save_model(model, tmp_path, card="")
    path = tmp_path / "config.json"
    config = json.loads(path.read_text()) | {"format": old}
    c = config["calibration"]  # there were neither spread nor one speaker, and two evidences
    config["calibration"] = c | {"temperature": c["temperature"][:3], "novelty": c["novelty"][:3] + c["novelty"][5:7]}
    for threshold in (0.6, 0.3, 0.0, 1.0):
        path.write_text(json.dumps(config | {"calibration": config["calibration"] | {"threshold": threshold}}))
        loaded = load_model(tmp_path).config.calibration
        assert loaded == replace(CALIBRATION, novelty=(loaded.novelty[0], *CALIBRATION.novelty[1:]))
        shift = loaded.novelty[0] - CALIBRATION.novelty[0]
        if 0 < threshold < 1:  # a clip of that novelty is now just unknown
            assert 1 / (1 + math.exp(-logit(threshold) - shift)) == pytest.approx(USUAL / (1 + USUAL))
        assert (shift > 0) == (threshold < 0.5)
    for damage, shown in (
        ({"temperature": [0.5] * 5}, "found 5 weights of the temperature and 5 of the novelty; expected 3 and 5"),
        ({"novelty": [0.5] * 10}, "found 3 weights of the temperature and 10 of the novelty; expected 3 and 5"),
        ({"novelty": [9e9] + [0.0] * 4}, r"'novelty': \[9000000000.0, 0.0, 0.0, 0.0, 0.0\]"),
    ):
        whole = config["calibration"] | {"threshold": 0.6} | damage
        path.write_text(json.dumps(config | {"calibration": whole}))
        with pytest.raises(CheckpointError, match=shown):
            load_model(tmp_path)
    for damage in (-0.1, 1.1, math.nan, "0.5", None):
        path.write_text(json.dumps(config | {"calibration": config["calibration"] | {"threshold": damage}}))
        with pytest.raises(CheckpointError, match="calibration"):
            load_model(tmp_path)
