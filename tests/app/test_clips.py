"""Every clip is checked as it comes, whatever gradio makes of it."""

import gc
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from conftest import tone

from app import clips, limits
from app.clips import RECORDING, check
from app.quota import Account
from app.session import Code
from ser_fewshot import audio
from ser_fewshot.quickstart import DEMO_MANIFEST

SPEECH = sorted(DEMO_MANIFEST.parent.glob("*.ogg"))[0]
WAVE = audio.load(SPEECH, trim=False).waveform


def as_int16(wave):
    return 16_000, (wave * 32767).astype(np.int16)


def file_of(tmp_path, name, wave, rate=16_000):
    soundfile.write(tmp_path / name, wave, rate)
    return str(tmp_path / name)


def test_a_good_clip_passes_without_a_word_and_as_the_audio_door_gives_it():
    sound, notes = check(str(SPEECH))
    assert notes == sound.notes == ()
    assert sound.clip.name == SPEECH.name
    assert np.array_equal(sound.clip.waveform, audio.load(SPEECH).waveform)


def test_a_model_that_wants_the_silence_gets_it():
    silent_ends = np.pad(WAVE, 8_000)
    assert (
        check((16_000, silent_ends), trim=False)[0].clip.duration > check((16_000, silent_ends))[0].clip.duration + 0.9
    )


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (None, Code.NO_CLIP),
        (as_int16(tone(0.05)), Code.TOO_SHORT),
        (as_int16(np.pad(tone(0.05), 16_000)), Code.TOO_SHORT),
        (as_int16(np.zeros(16_000)), Code.SILENT),
        (as_int16(tone(limits.CLIP_SECONDS + 0.5)), Code.TOO_LONG),
        ((16_000, np.zeros(0, dtype=np.int16)), Code.UNREADABLE),
        ((16_000, np.stack([tone(1.0), -tone(1.0)], 1)), Code.UNREADABLE),
        ((16_000, np.full(16_000, np.nan, dtype=np.float32)), Code.UNREADABLE),
        ("/no/such/file.wav", Code.UNREADABLE),
        (__file__, Code.UNREADABLE),
    ],
    ids=[
        "nothing",
        "short",
        "short-between-silence",
        "silent",
        "long",
        "empty",
        "channels-that-cancel",
        "nan",
        "missing",
        "no-audio",
    ],
)
def test_a_clip_that_cannot_be_used_is_refused_with_the_reason(given, code):
    sound, notes = check(given)
    assert sound is None
    assert [(note.code, note.level) for note in notes] == [(code, "error")]


@pytest.mark.parametrize(
    ("wave", "code"),
    [
        (np.clip(20 * WAVE, -1, 1), Code.CLIPPED),
        (WAVE + 0.03 * np.random.default_rng(0).standard_normal(len(WAVE)).astype(np.float32), Code.NOISY),
        (tone(1.0), Code.NO_SPEECH),
        (tone(0.1), Code.SHORT),
    ],
    ids=["clipped", "noisy", "tone", "short"],
)
def test_a_clip_that_is_odd_is_kept_with_a_warning(wave, code):
    sound, notes = check((16_000, wave))
    assert notes == sound.notes
    assert (code, "warning") in [(note.code, note.level) for note in notes]


@pytest.mark.parametrize(
    "given",
    [
        (16_000, (WAVE * 2**31 * 0.99).astype(np.int32)),
        (16_000, (WAVE * 2**15 * 0.99).astype(np.int16)),
        (16_000, np.stack([WAVE, WAVE], 1)),
        (16_000, np.stack([(WAVE * 2**30).astype(np.int32)] * 2, 1)),
        (16_000, WAVE.astype(np.float64)),
    ],
    ids=["int32", "int16", "stereo", "int32-stereo", "float64"],
)
def test_every_array_that_gradio_makes_is_the_same_sound(given):
    sound, _ = check(given)
    wave = sound.clip.waveform
    expected = check((16_000, WAVE))[0].clip.waveform
    n = min(len(wave), len(expected))
    assert np.corrcoef(wave[:n], expected[:n])[0, 1] > 0.999


def test_a_file_that_is_too_big_is_not_even_opened(tmp_path, monkeypatch):
    path = file_of(tmp_path, "big.wav", tone(1.0))
    monkeypatch.setattr(limits, "CLIP_BYTES", 1_000)
    monkeypatch.setattr(audio, "load", lambda *_, **__: pytest.fail("it was opened"))
    assert [note.code for note in check(path)[1]] == [Code.TOO_BIG]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("deep/passwd.wav", "passwd.wav"),
        ("<script>alert(1)<|script>.wav", "<script>alert(1)<|script>.wav"),
        ("a\u202egpj.wav", "a\N{REPLACEMENT CHARACTER}gpj.wav"),
        ("line\nbreak.wav", "line\N{REPLACEMENT CHARACTER}break.wav"),
        ("l" * 200 + ".wav", "l" * 60),
    ],
)
def test_the_name_of_a_file_is_only_ever_shown(tmp_path, name, shown):
    path = tmp_path / "x" / "y" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, WAVE, 16_000, format="WAV")
    assert check(str(path))[0].clip.name == shown


def test_a_recording_has_a_name_too_and_plays_at_the_level_it_was_recorded():
    quiet = as_int16(0.1 * WAVE)
    sound, _ = check(quiet)
    rate, samples = sound.playable
    assert sound.clip.name == RECORDING
    assert (rate, samples.dtype) == (16_000, np.int16)
    assert abs(int(np.abs(samples).max()) - int(np.abs(quiet[1]).max())) <= 1


def test_the_sound_of_all_visitors_together_is_limited_and_what_is_dropped_makes_room(monkeypatch):
    monkeypatch.setattr(clips, "ACCOUNT", Account())
    monkeypatch.setattr(limits, "ALL_SOUND_SECONDS", 2.5)
    kept = [check(as_int16(tone(1.0)))[0] for _ in range(2)]
    refused, notes = check(as_int16(tone(1.0)))
    assert refused is None
    assert [(note.code, note.level) for note in notes] == [(Code.SERVER_FULL, "error")]
    renamed = replace(kept.pop(), clip=replace(kept[0].clip, name="another"))
    del renamed
    gc.collect()
    assert check(as_int16(tone(1.0)))[0] is not None
