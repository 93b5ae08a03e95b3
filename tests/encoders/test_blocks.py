"""The last blocks of a pretrained encoder as an encoder: what the front-end would have given, until it is trained."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
import torch
from conftest import tone
from each import each
from tiny_encoders import CONFIGS, noise, tiny
from tolerance import assert_near
from torch import Tensor, nn

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.cli import main as cli
from ser_fewshot.encoders._blocks import Blocks
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import Features, stack
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model, swap_learner
from ser_fewshot.storage.tensors import load_weights

LENGTHS = (16_000, 7_001, 23_456)
"""Samples of clips that fill no batch evenly."""
TOTAL = 4
FEW = ["wav2vec2, group norm", "wav2vec2, layer norm", "wavlm", "whisper"]
EACH = [*FEW, "sew", "wav2vec2-bert"]


def whole(name: str) -> Any:
    key = "encoder_layers" if name == "whisper" else "num_hidden_layers"
    return tiny(name, **{key: TOTAL})


def model_on(name: str, *, blocks: int = 2, end: int = TOTAL, learner: str = "finetune", **told: Any) -> Model:
    """A model that trains the blocks up to `end` of a small encoder, with its weights."""
    made = whole(name)
    config = ModelConfig(
        learner=learner,
        settings={"encoder": {"name": "blocks", "blocks": blocks, **told}},
        frontend="pretrained",
        frontend_settings={"architecture": made.architecture, "layer": end - blocks, "pooling": "frames"},
    )
    model, weights = build_model(config), made.encoder.state_dict()
    network, encoder = model.frontend.network, model.learner.encoder
    load_weights(network, {name: weights[name] for name in network.state_dict()}, origin="the test")
    taken = {own: weights[there] for own, there in encoder.pretrained_names().items()}
    load_weights(encoder.network, {**encoder.network.state_dict(), **taken}, origin="the test")
    return model


def frames(model: Model) -> Features:
    return stack(model.frontend.analyse(noise(*LENGTHS)))


def described(model: Model, features: Features) -> Tensor:
    with torch.no_grad():
        return model.learner.encoder.pool(features)


def steps(model: Model, n: int = 3) -> None:
    """Train on a loss that every part of the encoder has a share in."""
    encoder = model.learner.encoder.train()
    optimizer = torch.optim.AdamW([value for value in encoder.parameters() if value.requires_grad], lr=1e-2)
    features = frames(model)
    for _ in range(n):
        optimizer.zero_grad()
        nn.functional.cross_entropy(encoder(features), torch.arange(len(features))).backward()
        optimizer.step()
    encoder.eval()


def moved(model: Model, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in model.learner.state_dict().items() if not torch.equal(value, before[name])}


def state(model: Model) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.learner.state_dict().items()}


@each(("name", "lora"), [*((name, 0) for name in CONFIGS), *((name, 3) for name in EACH)])
def test_before_training_blocks_give_what_the_front_end_pools_at_that_layer(name, lora):
    expected = torch.cat(whole(name).frontend(layer=TOTAL, pooling="mean_std").analyse(noise(*LENGTHS)))
    model = model_on(name, lora=lora)
    assert_near(described(model, frames(model)), expected)


@each("name", ["wav2vec2, layer norm", "wavlm", "whisper"])
@each(("blocks", "end"), [(1, 2), (3, 3), (4, 4)])
def test_blocks_may_end_before_the_last_layer_and_begin_at_the_first(name, blocks, end):
    expected = torch.cat(whole(name).frontend(layer=end, pooling="mean_std").analyse(noise(*LENGTHS)))
    model = model_on(name, blocks=blocks, end=end)
    assert_near(described(model, frames(model)), expected)


@each("name", EACH)
def test_a_clip_gives_the_same_alone_and_in_a_padded_batch(name):
    model = model_on(name)
    features = frames(model)
    alone = [described(model, features.select(torch.tensor([row]))) for row in range(len(features))]
    assert_near(described(model, features), torch.cat(alone))


@each("name", EACH)
def test_training_reaches_every_weight_of_the_blocks_and_nothing_is_dropped(name):
    model = model_on(name)
    before, features = state(model), frames(model)
    model.learner.train()
    assert_near(described(model, features), described(model_on(name), features))
    steps(model)
    weights = {f"encoder.network.{part}" for part, _ in model.learner.encoder.network.named_parameters()}
    assert moved(model, before) == weights
    assert not torch.allclose(described(model, features), described(model_on(name), features), atol=1e-3)


@each("name", EACH)
def test_adapters_alone_are_trained_and_the_weights_stay_bit_for_bit(name):
    model = model_on(name, lora=3)
    before, features = state(model), frames(model)
    start = described(model, features)
    steps(model)
    adapters = {part for part in before if ".lora_" in part}
    assert len(adapters) == 8  # two blocks, two layers in each, two matrices beside each
    assert moved(model, before) == adapters
    assert not torch.allclose(described(model, features), start, atol=1e-4)


def test_no_objective_of_a_learner_trains_what_has_an_adapter():
    model = model_on("wav2vec2, group norm", learner="mtl", lora=3)
    encoder = model.learner.encoder
    model.learner.begin("classes")
    assert all((".lora_" in name) == value.requires_grad for name, value in encoder.network.named_parameters())
    model.learner.begin("episodes")
    assert not any(value.requires_grad for value in encoder.parameters())


def test_the_scale_is_that_of_the_training_clips():
    model = model_on("wav2vec2, group norm")
    features = frames(model)
    model.learner.fit_scale(features)
    z = model.learner.encoder(features)
    assert_near(z.mean(0), torch.zeros(64), scale=z)
    assert_near(z.std(0, correction=0), torch.ones(64), relative=0.001)
    assert not any(value.requires_grad for value in model.learner.buffers())


@pytest.mark.parametrize(("name", "lora"), [*((name, 0) for name in FEW), ("wavlm", 3), ("whisper", 3)])
def test_a_trained_model_comes_back_bit_for_bit_and_enrols(name, lora, tmp_path):
    model = model_on(name, lora=lora)
    model.learner.fit_scale(frames(model))
    steps(model, 1)
    save_model(model, tmp_path / "model", card="")
    again = load_model(tmp_path / "model")
    assert again.config == model.config
    assert moved(again, state(model)) == set()
    assert torch.equal(described(again, frames(again)), described(model, frames(model)))
    classifier = FewShotClassifier(again)
    clips = [(16_000, tone(0.4 + 0.1 * n, hertz=150 * (n + 1))) for n in range(5)]
    classifier.enroll({"low": clips[:2], "high": clips[2:4]})
    classifier.save(tmp_path / "mine.enrollment")
    assert FewShotClassifier.load(tmp_path / "mine.enrollment").predict(clips[4:]) == classifier.predict(clips[4:])


@each("learner", ["protonet", "ridge", "mtl", "multitask", "nearest"])
def test_other_learners_take_the_trained_blocks_over(learner):
    model = model_on("wav2vec2, group norm")
    steps(model, 1)
    swapped = swap_learner(model, learner)
    assert swapped.config.learner == learner
    assert torch.equal(described(swapped, frames(swapped)), described(model, frames(model)))


@each("learner", ["finetune", "maml", "protonet", "ridge"])
@each("lora", [0, 3])
def test_the_loss_of_an_episode_reaches_the_blocks(learner, lora):
    model = model_on("wavlm", learner=learner, lora=lora)
    clips = stack(model.frontend.analyse(noise(4_000, 4_500, 5_000, 5_500)))
    y = torch.tensor([0, 1, 0, 1])
    logits = model.learner.adapt(clips, y)(clips)
    nn.functional.cross_entropy(logits, y).backward()
    gradients = {part: value.grad for part, value in model.learner.encoder.network.named_parameters()}
    reached = {part for part, gradient in gradients.items() if gradient is not None and gradient.abs().sum() > 0}
    assert any(part.startswith("encoder.layers.0.") for part in reached)
    assert all(".lora_" in part for part in reached) == bool(lora)


def test_adapting_as_a_whole_moves_no_weight_that_has_an_adapter():
    model = model_on("wav2vec2, group norm", lora=3)
    settings = {**model.config.settings, "scope": "whole"}
    learner = build_model(ModelConfig(**{**asdict(model.config), "settings": settings})).learner
    assert {name for name, _ in learner._body()} == {
        name for name, _ in learner.encoder.named_parameters() if ".lora_" in name
    }
    before = {name: value.clone() for name, value in learner.state_dict().items()}
    clips = frames(model)
    learner.adapt(clips, torch.tensor([0, 1, 0]))(clips)
    assert all(torch.equal(value, before[name]) for name, value in learner.state_dict().items())


@each(
    ("frontend", "told", "match"),
    [
        ({}, {"blocks": 3}, "3 blocks on layer 2 of 4"),
        ({"layer": "weighted"}, {}, "layer weighted"),
        ({"layer": 4}, {"blocks": 1}, "1 blocks on layer 4"),
        ({"pooling": "mean"}, {}, "one frame a clip"),
        ({}, {"blocks": 0}, "blocks 0"),
        ({}, {"lora": -1}, "encoder.lora"),
        ({}, {"name": "dense", "lora": 2}, "encoder.lora"),
    ],
)
def test_blocks_that_the_front_end_leaves_no_place_for_are_refused(frontend, told, match):
    settings = {"architecture": whole("wavlm").architecture, "layer": 2, "pooling": "frames", **frontend}
    encoder = {"name": "blocks", "blocks": 2, **told}
    with pytest.raises(SettingsError, match=match):
        build_model(
            ModelConfig(
                learner="ridge", settings={"encoder": encoder}, frontend="pretrained", frontend_settings=settings
            )
        )


def test_blocks_on_log_mel_are_refused():
    with pytest.raises(SettingsError, match="import SOURCE --tune N"):
        build_model(ModelConfig(learner="ridge", settings={"encoder": {"name": "blocks"}}))


def test_frames_that_are_normalised_are_refused():
    with pytest.raises(SettingsError, match="trained on frames as they are"):
        ModelConfig(learner="ridge", settings={"encoder": {"name": "blocks"}}, normalization="clip")


def test_without_peft_adapters_are_refused_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert isinstance(model_on("wavlm").learner.encoder, Blocks)
    with pytest.raises(SettingsError, match=r"ser-fewshot\[finetune\]"):
        model_on("wavlm", lora=2)


def test_what_a_config_says_of_the_front_end_in_its_encoder_is_not_believed(tmp_path):
    save_model(model_on("wav2vec2, group norm"), tmp_path, card="")
    config = json.loads((tmp_path / "config.json").read_text())
    config["settings"]["encoder"]["continues"]["architecture"]["hidden_size"] = 4_096
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_model(tmp_path).learner.encoder.width == 64
    config["settings"]["encoder"].update(blocks=1)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="unexpected"):
        load_model(tmp_path)


# From a checkpoint to a trained model


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    whole("wav2vec2, layer norm").encoder.save_pretrained(folder)
    return folder


TINY = """
[train]
epochs = 1
steps = 2
validation_episodes = 2
batch_clips = 4
learning_rate = 0.01
tasks = [{ n_way = 2, k_shot = 1, n_query = 1 }]
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two emotions by ten speakers, twice: short tones."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = ["file,emotion,speaker"]
    for number, (speaker, emotion, _) in enumerate(itertools.product(range(10), ("anger", "fear"), range(2))):
        wave = tone(0.35, hertz=150 + 40 * number, peak=0.2)
        sf.write(folder / f"{number}.wav", wave, 16_000)
        rows.append(f"{folder / f'{number}.wav'},{emotion},s{speaker}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return folder / "table.csv"


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def weights_of(model: Model) -> dict[str, Tensor]:
    """By their names in the whole encoder."""
    encoder = model.learner.encoder
    taken = {there: encoder.network.state_dict()[own] for own, there in encoder.pretrained_names().items()}
    return {**model.frontend.network.state_dict(), **taken}


@pytest.mark.parametrize("lora", [0, 3])
def test_import_leaves_the_last_blocks_to_train_and_train_begins_with_their_weights(source, manifest, lora, tmp_path):
    assert run("import", source, "--tune", 2, "--lora", lora, "--out", tmp_path / "model") == 0
    model, original = load_model(tmp_path / "model"), whole("wav2vec2, layer norm").encoder.state_dict()
    assert (model.config.learner, model.config.frontend_settings["layer"]) == ("finetune", 2)
    imported = weights_of(model)
    assert imported.keys() == original.keys() - {"masked_spec_embed"}
    assert all(torch.equal(value, original[name]) for name, value in imported.items())
    (tmp_path / "tiny.toml").write_text(TINY)
    common = ("--manifest", manifest, "--config", tmp_path / "tiny.toml", "--cache", tmp_path / "cache")
    for learner in ("finetune", "protonet"):
        out = tmp_path / learner
        assert run("train", *common, "--model", tmp_path / "model", "--learner", learner, "--out", out) == 0
        trained = load_model(out / "model")
        assert trained.config.learner == learner
        assert trained.config.settings["encoder"] == model.config.settings["encoder"]
        change = {name: float((value - original[name]).abs().max()) for name, value in weights_of(trained).items()}
        moved_blocks = {name.split(".")[2] for name, most in change.items() if most > 0 and ".layers." in name}
        assert moved_blocks == (set() if lora else {"2", "3"})
        assert max(change.values()) < 0.05  # two steps away, and no random beginning
        assert (state(trained).keys() == state(model).keys()) == (learner == "finetune")
        adapters = [value for name, value in state(trained).items() if ".lora_B." in name]
        assert all(value.abs().sum() > 0 for value in adapters)
        assert len(adapters) == (4 if lora else 0)


def test_the_learner_of_a_tuned_import_can_be_chosen_and_blocks_may_end_earlier(source, tmp_path, capsys):
    options = ("--tune", 1, "--layer", 3, "--learner", "ridge", "--json", "--out", tmp_path / "model")
    assert run("import", source, *options) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["layer"], printed["tuned"], printed["pooling"]) == (2, 1, "frames")
    assert any(name.startswith("encoder.layers.2.") for name in printed["matched"])
    assert any(name.startswith("encoder.layers.3.") for names in printed["dropped"].values() for name in names)
    model = load_model(tmp_path / "model")
    assert model.config.learner == "ridge"
    assert model.learner.encoder.scaled.mean.abs().max() > 0


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--tune", 5), "1 to 4 blocks"),
        (("--tune", 1, "--layer", "weighted"), "layer weighted"),
        (("--tune", 1, "--pooling", "mean"), "pooling mean"),
        (("--lora", 4), "0 blocks"),
    ],
)
def test_import_refuses_blocks_it_cannot_leave_to_train(source, options, match, tmp_path, capsys):
    assert run("import", source, *options, "--out", tmp_path / "model") == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("tuned", "encoder", "expected"),
    [
        (True, 'name = "dense"', "with blocks to tune"),
        (True, "blocks = 1", "two learners on the same encoder"),
        (True, "lora = 2", "encoder.lora"),
        (False, 'name = "blocks"', "without blocks to tune"),
    ],
)
def test_training_never_begins_with_random_blocks(tuned, encoder, expected, manifest, tmp_path, capsys):
    model = model_on("wav2vec2, group norm")
    if not tuned:
        told = {**asdict(model.config), "settings": {"encoder": {"name": "statistics"}}}
        model = build_model(ModelConfig(**told))
    save_model(model, tmp_path / "model", card="")
    (tmp_path / "run.toml").write_text(f"[settings.encoder]\n{encoder}\n{TINY}")
    options = ("--config", tmp_path / "run.toml", "--cache", tmp_path / "cache", "--learner", "finetune")
    assert run("train", "--manifest", manifest, "--model", tmp_path / "model", "--out", tmp_path / "run", *options) == 2
    assert expected in capsys.readouterr().err
