"""The shipped demo clips are whole, small and balanced, and their emotions can be measured; and their recipe."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from conftest import tone

from ser_fewshot import audio
from ser_fewshot.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "ser_fewshot" / "assets" / "demo"
RECIPE = ROOT / "recipes" / "make_demo_clips.py"
EMOTIONS = {"anger", "boredom", "fear", "happiness", "sadness"}
N_VOICES = 8
N_SENTENCES = 2


@dataclass(frozen=True)
class Prosody:
    """What is measured on a clip: Hz, semitones, dB, s, dB (above 1 kHz against below), log-mel means."""

    pitch: float
    span: float
    level: float
    duration: float
    brightness: float
    timbre: tuple[float, ...]


def measured(waveform) -> Prosody:
    frames = {"frame_length": 1024, "hop_length": 320}
    # The loud frames are vowels; the middle of what yin finds there is safe from its octave errors.
    loudness = librosa.feature.rms(y=waveform, **frames)[0]
    pitch = librosa.yin(waveform, fmin=60, fmax=450, sr=16_000, **frames)[loudness > 0.3 * loudness.max()]
    low, middle, high = np.percentile(pitch, (15, 50, 85))
    power = (np.abs(librosa.stft(waveform, n_fft=512)) ** 2).mean(axis=1)
    mel = librosa.filters.mel(sr=16_000, n_fft=512, n_mels=24) @ power
    return Prosody(
        pitch=float(middle),
        span=float(12 * np.log2(high / low)),
        level=float(10 * np.log10(np.mean(waveform**2))),
        duration=len(waveform) / 16_000,
        brightness=float(10 * np.log10(power[32:].sum() / power[:32].sum())),
        timbre=tuple(10 * np.log10(mel / mel.sum())),
    )


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    with (DEMO / "clips.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def prosody(rows) -> dict[tuple[str, str, str], Prosody]:
    """The measurements by (emotion, speaker, text)."""
    return {
        (row["emotion"], row["speaker"], row["text"]): measured(audio.load(DEMO / row["file"]).waveform) for row in rows
    }


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("make_demo_clips", RECIPE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_folder_is_small_and_holds_a_manifest_and_its_clips_and_no_others(rows):
    assert list(rows[0]) == ["file", "emotion", "speaker", "corpus", "language", "gender", "text"]
    assert {(row["corpus"], row["language"]) for row in rows} == {("demo", "eng")}
    assert all(all(row.values()) for row in rows)
    assert sorted(row["file"] for row in rows) == sorted(path.name for path in DEMO.glob("*.ogg"))
    assert {path.name for path in DEMO.iterdir() if path.suffix != ".ogg"} == {"README.md", "clips.csv"}
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 1_500_000
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in DEMO.glob("*.ogg")]
    assert len(set(digests)) == len(digests)


def test_every_voice_speaks_every_emotion_with_every_sentence_and_half_of_the_voices_are_female(rows):
    counts = Counter((row["emotion"], row["speaker"], row["text"]) for row in rows)
    voices, sentences = {row["speaker"] for row in rows}, {row["text"] for row in rows}
    assert (len(voices), len(sentences)) == (N_VOICES, N_SENTENCES)
    assert counts == Counter(itertools.product(EMOTIONS, voices, sentences))
    genders = {(row["speaker"], row["gender"]) for row in rows}
    assert Counter(gender for _, gender in genders) == {"female": N_VOICES // 2, "male": N_VOICES // 2}


def test_every_clip_is_stored_at_16_khz_and_loads_without_a_warning(rows):
    for row in rows:
        info = soundfile.info(DEMO / row["file"])
        assert (info.samplerate, info.channels, info.format) == (16_000, 1, "OGG")
        clip = audio.load(DEMO / row["file"])
        assert clip.warnings == (), row["file"]
        assert 1.1 <= clip.duration <= 3.5, row["file"]


DIRECTIONS = (
    ("anger", "sadness", ("pitch", "span", "level", "brightness")),
    ("sadness", "anger", ("duration",)),
    ("anger", "happiness", ("brightness",)),
    ("happiness", "boredom", ("pitch", "span")),
    ("happiness", "fear", ("span",)),
    ("fear", "sadness", ("pitch",)),
    ("fear", "boredom", ("pitch",)),
    ("boredom", "fear", ("duration",)),
    ("boredom", "sadness", ("brightness",)),
    ("sadness", "boredom", ("span",)),
)


def test_emotions_differ_in_the_intended_direction_within_most_voices(rows, prosody):
    def mean(emotion, voice, quantity):
        return np.mean([getattr(p, quantity) for (e, v, _), p in prosody.items() if (e, v) == (emotion, voice)])

    voices = sorted({row["speaker"] for row in rows})
    for more, less, quantities in DIRECTIONS:
        for quantity in quantities:
            agreeing = sum(mean(more, voice, quantity) > mean(less, voice, quantity) for voice in voices)
            assert agreeing >= N_VOICES - 1, (more, less, quantity)


def test_no_single_quantity_gives_the_emotion_away(prosody):
    for quantity in ("pitch", "span", "level", "duration", "brightness"):
        values = {key: getattr(p, quantity) for key, p in prosody.items()}
        centre = {e: np.mean([x for key, x in values.items() if key[0] == e]) for e in EMOTIONS}
        hits = [min(centre, key=lambda e, x=x: abs(centre[e] - x)) == key[0] for key, x in values.items()]
        assert np.mean(hits) < 0.75, quantity


def test_no_two_voices_sound_the_same(rows, prosody):
    """espeak-ng drops an unknown variant without a word: "en-gb+f1" is the plain "en-gb"."""
    voices = sorted({row["speaker"] for row in rows})
    timbre = {w: np.mean([p.timbre for (_, v, _), p in prosody.items() if v == w], axis=0) for w in voices}
    for one, other in itertools.combinations(voices, 2):
        assert np.sqrt(np.mean((timbre[one] - timbre[other]) ** 2)) > 1.0, (one, other)


def test_the_readme_says_that_the_clips_are_synthetic_and_how_they_are_made():
    text = " ".join((DEMO / "README.md").read_text(encoding="utf-8").split())
    for phrase in ("synthetic speech", "say nothing about human speech", "recipes/make_demo_clips.py", "CC0", "GPL"):
        assert phrase in text


def test_the_recipe_says_in_one_line_that_espeak_ng_is_missing(tmp_path):
    command = [sys.executable, str(RECIPE), "--out", str(tmp_path)]
    done = subprocess.run(command, env=os.environ | {"PATH": ""}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("espeak-ng: found no such program") and done.stderr.count("\n") == 1
    assert "apt-get install espeak-ng" in done.stderr


def test_the_table_of_the_recipe_is_the_shipped_one(recipe, rows):
    assert set(recipe.EMOTIONS) == EMOTIONS
    assert {voice.name for voice in recipe.VOICES} == {row["speaker"] for row in rows}
    assert set(recipe.SENTENCES) == {row["text"] for row in rows}


def test_the_same_samples_give_the_same_bytes_and_they_decode(recipe, tmp_path):
    wave = tone(1.5)
    (tmp_path / "one.ogg").write_bytes(recipe.ogg(wave))
    assert (tmp_path / "one.ogg").read_bytes() == recipe.ogg(wave)
    decoded, rate = soundfile.read(tmp_path / "one.ogg")
    assert (rate, decoded.shape) == (16_000, wave.shape)
    assert np.corrcoef(decoded, wave)[0, 1] > 0.99
    # Writing the serial number that a stream has changes nothing.
    soundfile.write(tmp_path / "clip.ogg", wave, 16_000)
    stream = (tmp_path / "clip.ogg").read_bytes()
    assert recipe.with_serial(stream, serial=int.from_bytes(stream[14:18], "little")) == stream


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_a_voice_that_espeak_ng_lacks_is_an_error(recipe):
    with pytest.raises(SettingsError, match="espeak-ng -v nobody"):
        recipe.speak("Hello", recipe.Voice("nobody", "male", pitch=50, tempo=1.0), recipe.EMOTIONS["anger"])
