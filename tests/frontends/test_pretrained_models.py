"""Models on a pretrained encoder, on disk: its weights come back bit for bit, all of them and no others."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import tone
from synthetic import corpus
from tiny_encoders import Tiny, tiny
from torch import Tensor, nn

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.enrollment_file import load_enrollment
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import CheckpointError
from ser_fewshot.frontends import FeatureSet, analyse, stack
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model, swap_learner
from ser_fewshot.models.meta_train import meta_train
from ser_fewshot.storage.tensors import load_weights, read_tensors
from ser_fewshot.training import TrainSettings

FAMILIES = ["wav2vec2, layer norm", "hubert, batch norm", "wavlm", "sew", "wav2vec2-bert", "whisper"]
KEY = "encoder.layers.0.attention.k_proj.weight"


def model_on(made: Tiny, *, learner: str = "ridge", half: bool = False, **told: Any) -> Model:
    """A model whose front-end has the weights of an encoder, rounded to half precision if asked."""
    encoder = {"name": "statistics"} if learner != "protonet" else {"name": "dense", "channels": 4, "width": 3}
    config = ModelConfig(
        learner=learner,
        settings={"encoder": encoder},
        frontend="pretrained",
        frontend_settings={"architecture": made.architecture, **told},
    )
    model = build_model(config)
    weights = made.encoder.state_dict()
    chosen = {name: weights[name] for name in model.frontend.network.state_dict()}
    if half:
        chosen = {name: x.half().float() if x.is_floating_point() else x for name, x in chosen.items()}
    load_weights(model.frontend.network, chosen, origin="the test")
    model.learner.fit_scale(stack(analyse(model.frontend, waves())))
    return model


def waves() -> list[Tensor]:
    return [torch.from_numpy(tone(0.4 + 0.1 * n, hertz=100 * (n + 1))) for n in range(6)]


def answers(model: Model) -> Tensor:
    clips = analyse(model.frontend, waves())
    with torch.no_grad():
        return model.learner.adapt(stack(clips[:4]), torch.tensor([0, 0, 1, 1]))(stack(clips[4:]))


def assert_same(one: Model, other: Model) -> None:
    assert one.config == other.config
    assert one.frontend.identity == other.frontend.identity
    for parts in ((one.learner, other.learner), (one.frontend.network, other.frontend.network)):
        before, after = (part.state_dict() for part in parts)
        assert before.keys() == after.keys()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert all(after[name].dtype == tensor.dtype for name, tensor in before.items())
    assert torch.equal(answers(one), answers(other))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_model(model_on(tiny("hubert"), layer=1), folder, card="# A model\n")
    return folder


@pytest.fixture
def saved(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "model"))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_saved_model_comes_back_bit_for_bit_with_its_encoder(name, tmp_path):
    for half in (True, False):
        model = model_on(tiny(name), half=half)
        save_model(model, tmp_path / "model", card="")
        assert_same(load_model(tmp_path / "model"), model)


def test_a_model_of_any_layer_and_learner_comes_back(tmp_path):
    for layer, learner in ((0, "ridge"), (1, "protonet"), ("weighted", "protonet")):
        model = model_on(tiny("wav2vec2, layer norm"), layer=layer, learner=learner)
        save_model(model, tmp_path / "model", card="")
        assert_same(load_model(tmp_path / "model"), model)


def test_weights_are_stored_in_half_precision_where_that_loses_nothing(tmp_path):
    for half, expected in ((True, {torch.float16}), (False, {torch.float32})):
        save_model(model_on(tiny("hubert"), half=half), tmp_path / "model", card="")
        tensors, _ = read_tensors(tmp_path / "model" / "model.safetensors")
        stored = {x.dtype for name, x in tensors.items() if name.startswith("frontend.encoder.layers.")}
        assert stored == expected


def test_only_the_blocks_up_to_the_layer_are_stored(saved):
    tensors, _ = read_tensors(saved / "model.safetensors")
    assert f"frontend.{KEY}" in tensors
    assert not any("encoder.layers.1." in name or "masked_spec_embed" in name for name in tensors)


def test_an_enrolment_carries_the_encoder_and_answers_as_before(tmp_path):
    classifier = FewShotClassifier(model_on(tiny("whisper"), half=True))
    clips = [(16_000, wave.numpy()) for wave in waves()]
    classifier.enroll({"low": clips[:2], "high": clips[2:4]})
    before = classifier.predict(clips[4:])
    classifier.save(tmp_path / "mine.enrollment")
    model, _, _ = load_enrollment(tmp_path / "mine.enrollment")
    assert_same(model, classifier.model)
    again = FewShotClassifier.load(tmp_path / "mine.enrollment")
    assert again.predict(clips[4:]) == before
    assert again.labels == ("low", "high")


def test_another_learner_keeps_the_encoder_that_was_loaded():
    model = model_on(tiny("hubert"))
    swapped = swap_learner(model, "nearest")
    assert swapped.config.learner == "nearest"
    assert swapped.frontend is model.frontend


def test_random_weights_depend_on_the_seed_alone_and_leave_the_global_generator():
    config = ModelConfig(
        learner="ridge",
        settings={"encoder": {"name": "statistics"}},
        frontend="pretrained",
        frontend_settings={"architecture": tiny("hubert").architecture},
    )
    before = torch.get_rng_state()
    one, same, other = (build_model(config, seed=seed).frontend.network.state_dict()[KEY] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors, _ = read_tensors(folder / "model.safetensors")
    change(tensors)
    (folder / "model.safetensors").write_bytes(safetensors.torch.save(tensors))


FIRST = f"frontend.{KEY}"


def test_encoder_weights_that_do_not_fit_are_refused_and_named(saved, original):
    for change, match in (
        (lambda t: t.pop(FIRST), f"missing: {KEY}"),
        (lambda t: t.update({"frontend.extra": torch.zeros(2)}), "unexpected: extra"),
        (lambda t: t.update({FIRST: t[FIRST][:-1]}), f"wrong shape: {KEY}"),
        (lambda t: t.update({FIRST: t[FIRST].double()}), f"wrong type: {KEY}"),
        (lambda t: t.update({FIRST: t[FIRST].bfloat16()}), f"wrong type: {KEY}"),
        (lambda t: t[FIRST].view(-1)[3].fill_(math.nan), f"NaN or infinite values in {KEY}"),
        (lambda t: [t.pop(name) for name in list(t) if name.startswith("frontend.")], "found"),
        (lambda t: t.update({KEY: t.pop(FIRST)}), KEY),
    ):
        shutil.copy(original / "model.safetensors", saved)
        rewrite(saved, change)
        with pytest.raises(CheckpointError, match=match):
            load_model(saved)


def test_weights_of_an_encoder_beside_a_front_end_that_has_none_are_refused(tmp_path):
    save_model(build_model(ModelConfig(learner="ridge")), tmp_path / "model", card="")
    load_model(tmp_path / "model")
    rewrite(tmp_path / "model", lambda tensors: tensors.update({"frontend.extra": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="unexpected: extra"):
        load_model(tmp_path / "model")


def told(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda config: config["frontend_settings"]["architecture"].update(changes)


def test_a_config_that_does_not_fit_the_weights_is_refused(saved, original):
    for change in (
        told(hidden_size=8_192),
        told(hidden_size=16_384, num_hidden_layers=128, intermediate_size=16_384),
        told(hidden_size=10**9),
        told(model_type="bert"),
        told(model_type="whisper"),
        told(hidden_act="exec"),
        lambda c: c["frontend_settings"].update(layer=2),
        lambda c: c["frontend_settings"].update(layer="weighted"),
        lambda c: c["frontend_settings"].update(layer=0),
        lambda c: c["frontend_settings"].pop("architecture"),
        lambda c: c["frontend_settings"].update(trust_remote_code=True),
        lambda c: c["frontend_settings"]["preprocessor"].update(sampling_rate=8_000),
        lambda c: c.update(frontend="logmel", frontend_settings={}),
    ):
        config = json.loads((original / "config.json").read_text())
        change(config)
        (saved / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError) as caught:
            load_model(saved)
        assert str(caught.value).isprintable()


def test_no_memory_is_touched_for_a_model_far_larger_than_what_is_stored(saved, monkeypatch):
    config = json.loads((saved / "config.json").read_text())
    told(hidden_size=8_192, num_hidden_layers=8)(config)
    config["frontend_settings"]["layer"] = 8
    (saved / "config.json").write_text(json.dumps(config))
    initialised: list[int] = []
    fill = nn.init.kaiming_uniform_

    def watched(tensor: Tensor, *arguments: Any, **options: Any) -> Tensor:
        initialised.append(0 if tensor.is_meta else tensor.numel())
        return fill(tensor, *arguments, **options)

    monkeypatch.setattr(nn.init, "kaiming_uniform_", watched)
    with pytest.raises(CheckpointError, match="as many as are stored"):
        load_model(saved)
    assert sum(initialised) < 1_000_000


def test_training_is_not_resumed_on_an_encoder_with_other_weights(tmp_path):
    first, second = (model_on(tiny("whisper"), layer=2, pooling="mean") for _ in range(2))
    weights = first.frontend.network.state_dict()
    second.frontend.network.load_state_dict({name: 1.5 * x for name, x in weights.items()})
    clips = corpus()
    frames = FeatureSet(clips.utterances, tuple(clip.repeat(1, 4)[:1] for clip in clips.clips))
    settings = TrainSettings(
        epochs=1,
        steps=1,
        validation_episodes=2,
        tasks=(EpisodeSpec(n_way=2, k_shot=1, n_query=1, query_speaker="any"),),
    )

    def train_on(model: Model, *, resume: bool) -> None:
        config = ModelConfig(
            learner="protonet",
            settings={"encoder": {"name": "dense"}},
            frontend="pretrained",
            frontend_settings=model.config.frontend_settings,
        )
        meta_train(
            config,
            lambda _, part: frames.subset(part),
            clips.utterances,
            settings=settings,
            run=tmp_path,
            frontend=model.frontend,
            resume=resume,
        )

    train_on(first, resume=False)
    with pytest.raises(CheckpointError, match="different"):
        train_on(second, resume=True)
    train_on(first, resume=True)
    assert "trained elsewhere" in (tmp_path / "model" / "README.md").read_text()
