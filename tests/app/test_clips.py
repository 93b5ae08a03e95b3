"""Checks of a clip, in every form in which gradio may hand it over."""

import gc
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from conftest import tone

from app import limits
from app.clips import RECORDING, check
from app.notes import Code
from ser_fewshot import audio
from ser_fewshot.quickstart import DEMO_MANIFEST

SPEECH = sorted(DEMO_MANIFEST.parent.glob("*.ogg"))[0]
WAVE = audio.load(SPEECH, trim=False).waveform
NOISE = 0.03 * np.random.default_rng(0).standard_normal(len(WAVE)).astype(np.float32)


def as_int16(wave):
    return 16_000, (wave * 32767).astype(np.int16)


def test_a_good_clip_is_as_audio_load_gives_it_without_a_note():
    sound, notes = check(str(SPEECH))
    assert notes == sound.notes == ()
    assert sound.clip.name == SPEECH.name
    assert np.array_equal(sound.clip.waveform, audio.load(SPEECH).waveform)
    padded = (16_000, np.pad(WAVE, 8_000))
    assert check(padded, trim=False)[0].clip.duration > check(padded)[0].clip.duration + 0.9


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, Code.NO_CLIP),
        (as_int16(np.pad(tone(0.05), 16_000)), Code.TOO_SHORT),
        (as_int16(np.zeros(16_000)), Code.SILENT),
        (as_int16(tone(limits.CLIP_SECONDS + 0.5)), Code.TOO_LONG),
        ((16_000, np.zeros(0, dtype=np.int16)), Code.UNREADABLE),
        ((16_000, np.full(16_000, np.nan, dtype=np.float32)), Code.UNREADABLE),
        ("/no/such/file.wav", Code.UNREADABLE),
        (__file__, Code.UNREADABLE),
    ],
    ids=["nothing", "short", "silent", "long", "empty", "nan", "missing", "no-audio"],
)
def test_a_clip_that_cannot_be_used_is_refused_with_the_reason(given, code):
    sound, notes = check(given)
    assert sound is None
    assert [(note.code, note.level) for note in notes] == [(code, "error")]


@pytest.mark.parametrize(
    ("wave", "code"),
    [
        (np.clip(20 * WAVE, -1, 1), Code.CLIPPED),
        (WAVE + NOISE, Code.NOISY),
        (tone(1.0), Code.NO_SPEECH),
        (tone(0.1), Code.SHORT),
    ],
    ids=["clipped", "noisy", "tone", "short"],
)
def test_a_doubtful_clip_is_kept_with_a_warning(wave, code):
    sound, notes = check((16_000, wave))
    assert notes == sound.notes
    assert (code, "warning") in [(note.code, note.level) for note in notes]


def test_arrays_of_any_type_and_channels_are_the_same_sound_at_its_own_level():
    expected = check((16_000, WAVE))[0].clip.waveform
    int32 = (WAVE * 2**30).astype(np.int32)
    for samples in ((WAVE * 2**15 * 0.99).astype(np.int16), np.stack([int32] * 2, 1), WAVE.astype(np.float64)):
        wave = check((16_000, samples))[0].clip.waveform
        n = min(len(wave), len(expected))
        assert np.corrcoef(wave[:n], expected[:n])[0, 1] > 0.999
    quiet = as_int16(0.1 * WAVE)
    rate, samples = check(quiet)[0].playable
    assert (rate, samples.dtype) == (16_000, np.int16)
    assert abs(int(np.abs(samples).max()) - int(np.abs(quiet[1]).max())) <= 1


def test_a_file_that_is_too_big_is_not_even_opened(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "big.wav", tone(1.0), 16_000)
    monkeypatch.setattr(limits, "CLIP_BYTES", 1_000)
    monkeypatch.setattr(audio, "load", lambda *_, **__: pytest.fail("it was opened"))
    assert [note.code for note in check(str(tmp_path / "big.wav"))[1]] == [Code.TOO_BIG]


def test_a_name_is_shown_without_folders_control_characters_and_excess_length(tmp_path):
    assert check(as_int16(WAVE))[0].clip.name == RECORDING
    for name, shown in {
        "deep/passwd.wav": "passwd.wav",
        "a\u202egpj.wav": "a\N{REPLACEMENT CHARACTER}gpj.wav",
        "line\nbreak.wav": "line\N{REPLACEMENT CHARACTER}break.wav",
        "l" * 200 + ".wav": "l" * 60,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, WAVE, 16_000, format="WAV")
        assert check(str(path))[0].clip.name == shown


def test_the_sound_of_all_visitors_together_is_limited_and_what_is_dropped_makes_room(monkeypatch):
    monkeypatch.setattr(limits, "SOUND_MEMORY", limits.SoundMemory())
    monkeypatch.setattr(limits, "ALL_SOUND_SECONDS", 2.5)
    kept = [check(as_int16(tone(1.0)))[0] for _ in range(2)]
    refused, notes = check(as_int16(tone(1.0)))
    assert refused is None
    assert [(note.code, note.level) for note in notes] == [(Code.SERVER_FULL, "error")]
    renamed = replace(kept.pop(), clip=replace(kept[0].clip, name="another"))
    del renamed
    gc.collect()
    assert check(as_int16(tone(1.0)))[0] is not None
