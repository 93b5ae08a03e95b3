"""The recipe of the free speech: any recording becomes clips of one channel at 16 kHz, without labels."""

from __future__ import annotations

import io
import subprocess
import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from conftest import tone
from each import each
from tolerance import assert_near

from ser_fewshot import corpora


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
    clips = corpora.read_manifest(tmp_path / "manifest.csv").utterances
    assert [clip.path for clip in clips] == [tmp_path / "letters" / f"a_1.ogg-{number}.flac" for number in range(2)]
    assert {(clip.corpus, clip.emotion, clip.speaker) for clip in clips} == {("letters", None, None)}
    assert [soundfile.info(clip.path).duration for clip in clips] == pytest.approx([6, 1], abs=0.05)
