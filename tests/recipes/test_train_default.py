"""From a lesson to a model without labels; and the recipes that collect the clips and make the default model."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import subprocess
import wave
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import train_default
from conftest import tone
from default_model import fit
from default_model.distillation import Distillation, distil
from default_model.fit import Choice, fit_labels
from default_model.targets import DistillationSet
from each import each
from synthetic import DIM, corpus
from tiny_encoders import tiny
from tolerance import assert_near

from ser_fewshot.corpora import Scan, Utterance
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.evaluation.calibration import validation_predictions
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model
from ser_fewshot.training import TrainSettings

TEACHER = 3  # values in a frame of what is learned
CONFIG = ModelConfig(
    learner="ridge",
    settings={"encoder": {"name": "transformer", "channels": 8, "blocks": 1, "width": 2 * TEACHER}},
    frontend_settings={"n_mels": DIM},
)
SETTINGS = TrainSettings(epochs=2, steps=2, batch_clips=8, seed=5)
WHISPER = tiny("whisper", encoder_attention_heads=8)
TEACHERS = [WHISPER.frontend(layer=layer, pooling="frames") for layer in (1, 2)]


def lesson() -> DistillationSet:
    """Clips that nothing is known of, and of every second frame three values to learn."""
    made = corpus(n_speakers=12, takes=1)
    nameless = tuple(replace(item, emotion=None, speaker=None) for item in made.utterances)
    targets = tuple(clip[: len(clip) // 2 * 2 : 2, :TEACHER].half() for clip in made.clips)
    return DistillationSet(FeatureSet(nameless, made.clips), targets)


def go(run: Path, *, config: ModelConfig = CONFIG, seed: int = 3, **told: Any) -> tuple[Model, dict[str, float]]:
    model = build_model(config, seed=seed)
    return model, distil(model, lesson(), run=run, **{"teachers": TEACHERS, "settings": SETTINGS, **told})


def test_a_taught_model_is_another_than_it_began_and_ready_for_use(tmp_path):
    model, best = go(tmp_path)
    assert best["epoch"] in (1, 2)
    assert not model.learner.training
    new = build_model(CONFIG, seed=3).learner.state_dict()
    moved = [name for name, tensor in model.learner.state_dict().items() if not torch.equal(tensor, new[name])]
    assert {"encoder.layer_heads.0.weight", "encoder.conv1.weight", "encoder.band_mean"} <= set(moved)
    assert "log_sharpness" not in moved  # no label takes part
    assert not {"encoder.mean", "encoder.scale"} & set(moved)  # which are for labelled clips to find


def test_all_clips_are_learned_from_and_none_judges(tmp_path, monkeypatch):
    seen: dict[str, Any] = {}

    def told(_: Any, features: FeatureSet, validation: FeatureSet | None, **more: Any) -> list[dict[str, float]]:
        seen.update(features=features, validation=validation, **more)
        return [{"epoch": epoch, "loss": loss} for epoch, loss in ((1, 1.5), (2, 1.2), (3, 1.3))]

    monkeypatch.setattr("default_model.distillation.train", told)
    _, best = go(tmp_path, settings=replace(SETTINGS, epochs=3))
    assert best == {"epoch": 2, "loss": 1.2}
    assert seen["validation"] is None
    assert (seen["objective"].func, seen["run"], seen["settings"].epochs) == (Distillation, tmp_path, 3)
    assert seen["features"].utterances == lesson().features.utterances
    assert all(torch.equal(x, y) for x, y in zip(seen["features"].clips, lesson().features.clips, strict=True))
    assert all(torch.equal(x, y) for x, y in zip(seen["objective"].keywords["targets"], lesson().targets, strict=True))


def test_a_run_that_is_resumed_ends_where_it_ended(tmp_path):
    first, best = go(tmp_path)
    again, same = go(tmp_path, resume=True)
    assert same == best
    expected = first.learner.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in again.learner.state_dict().items())


@pytest.mark.parametrize(
    "told", [{"teachers": TEACHERS[::-1]}, {"config": replace(CONFIG, learner="protonet")}, {"seed": 4}]
)
def test_a_run_of_other_teachers_or_another_model_or_other_first_weights_is_not_resumed(told, tmp_path):
    go(tmp_path)
    with pytest.raises(CheckpointError, match="a run of different"):
        go(tmp_path, resume=True, **told)


def test_an_encoder_of_another_width_than_the_lesson_is_refused(tmp_path):
    encoder = {**CONFIG.settings["encoder"], "width": 2 * TEACHER + 2}
    with pytest.raises(SettingsError, match=r"found 4 values a frame.* expected a width of 6"):
        go(tmp_path / "run", config=replace(CONFIG, settings={"encoder": encoder}))
    assert not (tmp_path / "run").exists()


# The recipe of the default model

EMOTIONS = ("anger", "fear", "joy", "sadness")
NAMES = ("emodb", "ravdess", "urdu")
ONE = Choice(functionals=0.0, discriminant=2, shrinkage=0.5, penalty=0.3)
OTHER = replace(ONE, penalty=1.0)


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Path:
    """What recipes/train_default.py is told, made small; the folder of its runs."""
    encoder = {"name": "transformer", "channels": 8, "blocks": 2, "width": 2 * 64}
    monkeypatch.setattr(train_default, "CONFIG", ModelConfig(learner="ridge", settings={"encoder": encoder}))
    monkeypatch.setattr(train_default, "SETTINGS", replace(SETTINGS, batch_clips=3))
    monkeypatch.setattr(train_default, "RESULTS", tmp_path / "none")
    monkeypatch.setattr(train_default, "fit_labels", functools.partial(fit_labels, choices=[ONE, OTHER]))
    monkeypatch.setattr(fit, "_EPISODES", 3)
    monkeypatch.setattr(fit, "NUISANCE_LIMITS", (1.0,))
    monkeypatch.setattr(fit, "validation_predictions", functools.partial(validation_predictions, n_episodes=2))
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path / "cache"))
    scans = tuple(Scan(name, tuple(labelled(tmp_path / name)), ()) for name in NAMES)
    monkeypatch.setattr(train_default.corpora, "scan_all", lambda _: scans)
    told = ["train_default", f"--corpora={tmp_path}", f"--speech={speech(tmp_path)}", f"--runs={tmp_path / 'runs'}"]
    monkeypatch.setattr("sys.argv", [*told, f"--out={tmp_path / 'out'}", "--teachers", *teachers(tmp_path)])
    return tmp_path / "runs"


def labelled(folder: Path) -> list[Utterance]:
    """Four emotions, five times by either of two speakers, which the corpora of this test pronounce alike."""
    folder.mkdir()
    made = []
    for (place, emotion), speaker, take in itertools.product(enumerate(EMOTIONS), (0, 1), range(5)):
        path = folder / f"{emotion}-{speaker}-{take}.wav"
        hertz = 150 * (1 + place) + 40 * speaker + 5 * take + 2 * NAMES.index(folder.name)
        soundfile.write(path, tone(0.35, hertz=hertz), 16_000)
        made.append(Utterance(f"{folder.name}/{path.stem}", path, folder.name, emotion, speaker=str(speaker)))
    return made


def speech(folder: Path) -> Path:
    """Six clips without a label and one without a sound, in a manifest as recipes/free_speech.py writes it."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "emotion", "speaker", "corpus"))
        for number in range(7):
            soundfile.write(folder / f"{number}.flac", tone(0.5, hertz=100 * (number + 1)) * (number < 6), 16_000)
            rows.writerow((f"{number}.flac", "", "", "letters"))
    return folder / "manifest.csv"


def teachers(folder: Path) -> list[str]:
    """Two layers of a small encoder, as the import command leaves them."""
    for layer, teacher in enumerate(TEACHERS, start=1):
        told = {"architecture": WHISPER.architecture, "layer": layer, "pooling": "frames"}
        config = ModelConfig(
            learner="nearest", settings={"encoder": {"name": "mean"}}, frontend="pretrained", frontend_settings=told
        )
        save_model(build_model(config, frontend=teacher), folder / f"layer-{layer}", card="")
    return [str(folder / f"layer-{layer}") for layer in (1, 2)]


def test_the_recipe_makes_a_model_of_all_corpora_and_one_without_each(recipe, capsys):
    train_default.main()
    made = {path.parent.name: load_model(path) for path in sorted(recipe.glob("*/model"))}
    assert set(made) == {"all", "without_emodb", "without_ravdess", "without_urdu"}
    taught = [model.learner.get_submodule("encoder").inner.state_dict() for model in made.values()]
    same = {name for name in taught[0] if all(torch.equal(state[name], taught[0][name]) for state in taught)}
    # What was taught was taught once; the embedding is scaled to the labelled clips of each.
    assert {name for name in taught[0] if name not in same} == {"mean", "scale"}
    assert all(model.config.calibration is not None for model in made.values())
    card = (recipe / "all" / "model" / "README.md").read_text()
    assert "It was taught on 6 clips of free speech" in " ".join(card.split())
    assert "Whisper base (MIT licence" in " ".join(card.split())
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (recipe.parent / "out" / name).read_bytes() == (recipe / "all" / "model" / name).read_bytes()
    assert capsys.readouterr().out.count("by leave-one-corpus-out") == 4


def test_each_model_of_the_recipe_hears_labels_of_its_corpora_only(recipe, monkeypatch):
    heard: list[set[str]] = []
    fit = train_default.fit_labels

    def noted(taught: Model, features: FeatureSet) -> Any:
        heard.append({item.corpus for item in features.utterances})
        return fit(taught, features)

    monkeypatch.setattr(train_default, "fit_labels", noted)
    train_default.main()
    assert heard == [{"ravdess", "urdu"}, {"emodb", "urdu"}, {"emodb", "ravdess"}, set(NAMES)]


def test_the_recipe_repeated_goes_on_and_makes_the_same_model(recipe, monkeypatch):
    train_default.main()
    first = (recipe / "all" / "model" / "model.safetensors").read_bytes()
    monkeypatch.setattr("default_model.targets.analyse", lambda *_: pytest.fail("the lesson was made again"))
    monkeypatch.setattr("default_model.layerwise.initialise", lambda *_, **__: pytest.fail("it began again"))
    monkeypatch.setattr("ser_fewshot.training.loop._Trainer.step", lambda *_: pytest.fail("it took a step"))
    train_default.main()
    assert (recipe / "all" / "model" / "model.safetensors").read_bytes() == first
    monkeypatch.setattr(train_default, "INITIAL_CLIPS", 5)  # what the kept beginning does not stand for any more
    with pytest.raises(pytest.fail.Exception, match="it began again"):
        train_default.main()


def test_the_recipe_begins_with_layers_like_those_of_the_last_teacher_on_clips_at_their_own_speed(recipe, monkeypatch):
    seen: list[Any] = []
    begin = train_default.layerwise.initialise

    def noted(student: Any, teacher: Any, **told: Any) -> None:
        before = student.band_mean.clone()
        begin(student, teacher, **told)
        seen.append((before, teacher, told["waveforms"], student.conv1.weight.clone()))

    monkeypatch.setattr(train_default.layerwise, "initialise", noted)
    monkeypatch.setattr(train_default, "INITIAL_CLIPS", 4)
    train_default.main()
    [(band_mean, teacher, waveforms, conv1)] = seen
    assert (band_mean != 0).any()  # it was scaled before
    assert teacher.identity == TEACHERS[1].identity
    assert [len(wave) for wave in waveforms] == [8_000] * 4
    assert [float(wave.square().mean().sqrt()) for wave in waveforms] == pytest.approx([0.05] * 4, rel=1e-3)
    begun = load_model(recipe / "begun").learner.get_submodule("encoder")
    assert torch.equal(begun.conv1.weight, conv1)


def test_the_width_of_the_default_model_is_mean_and_deviation_of_two_layers_of_512_values():
    encoder = build_model(train_default.CONFIG).learner.get_submodule("encoder")
    assert (encoder.width, encoder.frame_width, len(encoder.blocks)) == (2 * 2 * 512, 2 * 512, 2)
    assert train_default.SETTINGS.patience >= train_default.SETTINGS.epochs  # no label says when to stop


# The recipe of the clips that it hears


@pytest.fixture
def free_speech() -> Any:
    pytest.importorskip("av", reason="PyAV decodes what only this recipe reads: uv run --with av pytest")
    import free_speech

    return free_speech


def recorded(sound: Any, *, rate: int = 16_000, channels: int = 1) -> bytes:
    """A WAV file of 16 bits of a sound, (samples,), the same in each channel."""
    body = io.BytesIO()
    with wave.open(body, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.repeat(sound, channels) * 32_767).astype("<i2").tobytes())
    return body.getvalue()


@each(("rate", "channels"), [(8_000, 1), (44_100, 2), (16_000, 1)])
def test_any_recording_is_decoded_to_one_channel_at_16_khz_to_its_last_sample(free_speech, rate, channels):
    heard = free_speech.decoded(recorded(tone(1.0, rate=rate), rate=rate, channels=channels))
    assert (heard.dtype, len(heard)) == (np.float32, pytest.approx(16_000, abs=2))
    found, expected = (wave[800:15_200] / wave[800:15_200].std() for wave in (heard, tone(1.0)))  # filters ring
    assert_near(found, expected, relative=0.05)  # at any level: two channels come out louder than one


def test_silence_is_trimmed_and_a_long_recording_cut(free_speech):
    quiet = np.zeros(16_000, dtype=np.float32)
    found = list(free_speech.pieces(recorded(np.concatenate([quiet, tone(13.0), quiet]))))
    assert [len(piece) / 16_000 for piece in found] == pytest.approx([6, 6, 1], abs=0.05)
    assert min(float(np.abs(piece[:400]).max()) for piece in found) > 0.1


@each(("seconds", "n_pieces"), [(0.3, 0), (0.4, 1), (6.2, 1), (6.4, 2)])
def test_what_is_left_of_a_recording_is_dropped_if_it_is_too_short(free_speech, seconds, n_pieces):
    assert len(list(free_speech.pieces(recorded(tone(seconds))))) == n_pieces


@each("body", [b"", b"no sound", recorded(np.zeros(0)), recorded(np.zeros(16_000))])
def test_a_file_without_a_sound_gives_nothing(free_speech, body):
    assert list(free_speech.pieces(body)) == []


def test_the_voices_of_a_package_are_its_matching_files_and_those_in_its_archives(free_speech, monkeypatch):
    def run(command: list[str], **told: Any) -> None:
        if command[0] == "apt-get":
            assert command == ["apt-get", "download", "some-data"]
            (Path(told["cwd"]) / "some-data_1_all.deb").touch()
            return
        root = Path(command[-1])
        for name in ("voices/b.ogg", "voices/a.wav", "voices/read.me", "music/c.ogg"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name.encode())
        (root / "voices" / "link.ogg").symlink_to("b.ogg")
        with zipfile.ZipFile(root / "more.pk3", "w") as archive:
            archive.writestr("x/voices/d.opus", "d")
            archive.writestr("x/music/e.ogg", "e")

    monkeypatch.setattr(subprocess, "run", run)
    found = list(free_speech.sounds("some-data", "*voices/*"))
    assert found == [
        ("more.pk3/x/voices/d.opus", b"d"),
        ("voices/a.wav", b"voices/a.wav"),
        ("voices/b.ogg", b"voices/b.ogg"),
    ]


def test_what_was_collected_is_a_manifest_of_clips_without_labels(free_speech, tmp_path, monkeypatch):
    monkeypatch.setattr(free_speech, "PACKAGES", {"letters": "*", "voices": "*"})
    found = {"letters": [("a/1.ogg", recorded(tone(7.0))), ("a/2.ogg", b"no sound")], "voices": []}
    monkeypatch.setattr(free_speech, "sounds", lambda package, _: found[package])
    monkeypatch.setattr("sys.argv", ["free_speech", f"--out={tmp_path}"])
    free_speech.main()
    clips = train_default.corpora.read_manifest(tmp_path / "manifest.csv").utterances
    assert [clip.path for clip in clips] == [tmp_path / "letters" / f"a_1.ogg-{number}.flac" for number in range(2)]
    assert {(clip.corpus, clip.emotion, clip.speaker) for clip in clips} == {("letters", None, None)}
    assert [soundfile.info(clip.path).duration for clip in clips] == pytest.approx([6, 1], abs=0.05)
