"""The recipe of the default model, from audio files to model folders."""

from __future__ import annotations

import csv
import functools
import itertools
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import train_default
from conftest import tone
from default_model import student
from default_model.directions import DirectionSettings
from default_model.fit import FitSettings
from each import each
from synthetic import CALIBRATION
from tiny_encoders import tiny

from ser_fewshot.corpora import Scan, Utterance
from ser_fewshot.errors import SettingsError
from ser_fewshot.models import ModelConfig, build_model, load_model, save_model

WHISPER = tiny("whisper", encoder_attention_heads=8)
TEACHER = WHISPER.frontend(layer=2, pooling="frames")
EMOTIONS = ("anger", "fear", "joy")
NAMES = ("emodb", "ravdess", "urdu")


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Path:
    """The folder of the recipe's runs, whose sizes are small."""
    encoder = {"name": "transformer", "channels": 8, "blocks": 2, "width": 2 * 64}
    monkeypatch.setattr(
        student, "CONFIG", ModelConfig(learner="ridge", settings={"encoder": encoder}, frontend_settings={"n_mels": 16})
    )
    few = FitSettings(directions=DirectionSettings(n=3, steps=2, tasks=1), calibration_steps=2, calibration_episodes=2)
    monkeypatch.setattr(train_default, "SETTINGS", few)
    monkeypatch.setattr("default_model.fit._calibration", lambda *_: CALIBRATION)  # test_fit.py tests it
    monkeypatch.setattr("default_model.directions.WAYS", (3,))
    monkeypatch.setattr("default_model.directions.SHOTS", (1,))
    monkeypatch.setattr(train_default, "RESULTS", tmp_path / "none")
    folders = {name: tmp_path / ("some" if name == "urdu" else "others") / name for name in NAMES}
    scans = {name: Scan(name, tuple(labelled(folder)), ()) for name, folder in folders.items()}
    monkeypatch.setattr(
        train_default.corpora,
        "scan_all",
        lambda folder: [scan for name, scan in scans.items() if folders[name].parent == folder],
    )
    arguments = ["--corpora", str(tmp_path / "some"), str(tmp_path / "others"), "--without", "emodb"]
    arguments += [f"--speech={speech(tmp_path)}", f"--runs={tmp_path / 'runs'}", f"--teacher={teacher(tmp_path)}"]
    monkeypatch.setattr("sys.argv", ["train_default", *arguments, f"--out={tmp_path / 'out'}"])
    return tmp_path / "runs"


def labelled(folder: Path) -> list[Utterance]:
    """Three emotions, three times by each of five speakers, one clip of them silent."""
    folder.mkdir(parents=True)
    made = []
    for (place, emotion), speaker, take in itertools.product(enumerate(EMOTIONS), range(5), range(3)):
        path = folder / f"{emotion}-{speaker}-{take}.wav"
        hertz = 150 * (1 + place) + 40 * speaker + 5 * take + 2 * NAMES.index(folder.name)
        silent = (emotion, speaker, take) == ("joy", 1, 2)
        soundfile.write(path, tone(0.35, hertz=hertz) * (not silent), 16_000)
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


def teacher(folder: Path) -> Path:
    """The second layer of a small encoder, as the import command leaves it."""
    settings = {"architecture": WHISPER.architecture, "layer": 2, "pooling": "frames"}
    config = ModelConfig(
        learner="nearest", settings={"encoder": {"name": "mean"}}, frontend="pretrained", frontend_settings=settings
    )
    save_model(build_model(config, frontend=TEACHER), folder / "teacher", card="")
    return folder / "teacher"


def test_the_recipe_makes_a_model_of_all_corpora_and_one_without_each_that_is_named(recipe):
    train_default.main()
    made = {path.parent.name: load_model(path) for path in sorted(recipe.glob("*/model"))}
    assert set(made) == {"all", "without_emodb"}
    for name, model in made.items():
        labels = {corpus for corpus, part in model.training_set.corpora.items() if part.labelled}
        assert labels == {*NAMES} - {name.removeprefix("without_")}
        assert model.config.calibration is not None
        assert model.speakers is not None
    inner = [model.learner.get_submodule("encoder").inner.state_dict() for model in made.values()]
    scale = {"mean", "scale", "statistics.mean", "statistics.scale"}
    assert all(torch.equal(inner[0][name], inner[1][name]) for name in inner[0] if name not in scale)
    card = " ".join((recipe / "all" / "model" / "README.md").read_text().split())
    assert "7 clips, a random part of 7 clips of free speech" in card
    assert "3 directions of emotions, meta-trained through 2 episodes" in card
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (recipe.parent / "out" / name).read_bytes() == (recipe / "all" / "model" / name).read_bytes()


def test_the_recipe_repeated_goes_on_and_makes_the_same_model(recipe, monkeypatch):
    train_default.main()
    path = recipe / "all" / "model" / "model.safetensors"
    first = path.read_bytes()
    monkeypatch.setattr(student.layerwise, "initialise", lambda *_, **__: pytest.fail("a new student"))
    monkeypatch.setattr("default_model.embeddings.extract", lambda *_, **__: pytest.fail("clips are embedded again"))
    train = functools.partial(pytest.fail, "fitted again")
    monkeypatch.setattr("default_model.fit.meta_train", lambda *_: train())
    train_default.main()
    assert path.read_bytes() == first
    monkeypatch.setattr(student, "N_CLIPS", 5)  # which the kept student is not made of
    with pytest.raises(pytest.fail.Exception, match="a new student"):
        train_default.main()


def test_a_student_begins_with_the_layers_of_its_teacher_on_clips_at_one_level(recipe, monkeypatch):
    seen: list[Any] = []
    begin = student.layerwise.initialise

    def noted(encoder: Any, of: Any, **more: Any) -> None:
        before = encoder.band_mean.clone()
        begin(encoder, of, **more)
        seen.append((before, of, more["waveforms"], encoder.conv1.weight.clone()))

    monkeypatch.setattr(student.layerwise, "initialise", noted)
    train_default.main()
    [(band_mean, of, waveforms, conv1)] = seen
    assert (band_mean != 0).any()  # it was scaled before
    assert of.identity == TEACHER.identity
    assert [len(wave) for wave in waveforms] == [8_000] * 6
    assert [float(wave.square().mean().sqrt()) for wave in waveforms] == pytest.approx([0.05] * 6, rel=1e-3)
    kept = load_model(recipe / "student").learner.get_submodule("encoder").conv1.weight
    assert torch.equal(kept, conv1.half().float())


@each("others", [["some"], ["some", "others", "some"]])
def test_each_corpus_is_named_once(recipe, others, monkeypatch):
    folders = [str(recipe.parent / name) for name in others]
    if len(others) == 1:
        monkeypatch.setattr(train_default.corpora, "scan_all", lambda _: [])
    with pytest.raises(SettingsError, match="each once, and at least one"):
        train_default.labelled([Path(folder) for folder in folders], permissive=False)


def test_the_width_of_the_default_model_is_mean_and_deviation_of_two_layers_of_512_values():
    encoder = build_model(student.CONFIG).learner.get_submodule("encoder")
    assert (encoder.width, encoder.frame_width, len(encoder.blocks)) == (2 * 2 * 512, 2 * 512, 2)
