"""Loading a clip: every form it may come in, and every way it can be wrong."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from conftest import forked, tone
from numpy.typing import NDArray
from tolerance import assert_near

from ser_fewshot import audio
from ser_fewshot.errors import AudioError

RATE = audio.SAMPLE_RATE
FORMATS = {  # container and codec -> how far decoded samples may differ from those encoded
    ("WAV", "PCM_16"): 1e-4,
    ("WAV", "PCM_24"): 1e-6,
    ("WAV", "PCM_32"): 1e-6,
    ("WAV", "PCM_U8"): 1e-2,
    ("WAV", "FLOAT"): 1e-7,
    ("WAV", "DOUBLE"): 1e-7,
    ("WAV", "ULAW"): 2e-2,
    ("WAV", "MS_ADPCM"): 0.1,
    ("WAV", "GSM610"): 0.1,
    ("WAVEX", "PCM_16"): 1e-4,
    ("RF64", "PCM_16"): 1e-4,
    ("AIFF", "PCM_16"): 1e-4,
    ("AU", "PCM_16"): 1e-4,
    ("CAF", "PCM_16"): 1e-4,
    ("NIST", "PCM_16"): 1e-4,
    ("FLAC", "PCM_16"): 1e-4,
    ("FLAC", "PCM_24"): 1e-6,
    ("OGG", "VORBIS"): 5e-2,
    ("OGG", "OPUS"): 5e-2,
    ("MP3", "MPEG_LAYER_III"): 5e-2,
}
MAIN = [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]


def encoded(
    samples: NDArray[Any] | None = None, form: tuple[str, str] = ("WAV", "PCM_16"), *, rate: int = RATE
) -> bytes:
    """The bytes of a file that holds these samples, by default two seconds of a tone."""
    file = io.BytesIO()
    sf.write(file, tone(2.0, rate=rate) if samples is None else samples, rate, format=form[0], subtype=form[1])
    return file.getvalue()


def patched(data: bytes, at: int, field: bytes) -> bytes:
    return data[:at] + field + data[at + len(field) :]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def refusal(source: Any, **options: Any) -> str:
    """The one line that refuses this source."""
    with pytest.raises(AudioError) as caught:
        audio.load(source, **options)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.remedy.endswith((".", ".wav"))
    return str(caught.value)


def pitch(waveform: NDArray[np.float32]) -> float:
    """The frequency with the most energy, in Hz."""
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * RATE / len(waveform))


# ---------------------------------------------------------------------------------------------- every form it comes in


@pytest.mark.parametrize("form", FORMATS, ids="-".join)
def test_every_format_is_the_same_as_path_bytes_and_file_object_and_in_segments(form: tuple[str, str], tmp_path: Path):
    path = tmp_path / f"clip.{form[0].lower()}"
    path.write_bytes(encoded(form=form))
    from_path = audio.load(path)
    assert from_path.waveform.dtype == np.float32
    assert from_path.waveform.ndim == 1
    assert from_path.name == path.name
    assert from_path.warnings == ()
    assert from_path.duration == pytest.approx(2.0, abs=0.03)
    expected = tone(2.0)
    common = min(len(expected), len(from_path.waveform)) - 800  # codecs of blocks fade the last of them
    np.testing.assert_allclose(from_path.waveform[800:common], expected[800:common], atol=FORMATS[form])
    with path.open("rb") as handle:
        others = [str(path), path.read_bytes(), bytearray(path.read_bytes()), handle, io.BytesIO(path.read_bytes())]
        for source in others:
            np.testing.assert_array_equal(audio.load(source).waveform, from_path.waveform)
        assert not handle.closed
    audio.check_readable(path)
    check_segments(encoded(siren(RATE), form))


def check_segments(data: bytes) -> None:
    """Compare segments of a file of eight seconds with the same parts of the whole."""
    whole = audio.load(data).waveform
    for start, end in ((None, 2.0), (2.5, 4.25), (7.0, 8.04)):
        part = audio.load(data, start=start, end=end).waveform
        expected = whole[round((start or 0) * RATE) : round(end * RATE)]
        assert abs(len(part) - len(expected)) <= 0.05 * RATE
        common = min(len(part), len(expected))
        assert_near(part[:common], expected[:common])


def siren(rate: int) -> NDArray[np.float32]:
    """Eight seconds that sound different at every moment."""
    t = np.arange(8 * rate) / rate
    return (0.4 * np.sin(2 * np.pi * (200 * t + 40 * t**2))).astype(np.float32)


ARRAYS = {
    "float32": lambda x: x,
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "int16": lambda x: np.round(x * 2**15).astype(np.int16),
    "big-endian int16": lambda x: np.round(x * 2**15).astype(">i2"),
    "int32": lambda x: np.round(x.astype(np.float64) * 2**31).astype(np.int32),
    "24-bit in the high bytes of int32": lambda x: np.round(x.astype(np.float64) * 2**23).astype(np.int32) << 8,
    "16-bit in the low bytes of int32": lambda x: np.round(x.astype(np.float64) * 2**15).astype(np.int32),
    "24-bit in the low bytes of int32": lambda x: np.round(x.astype(np.float64) * 2**23).astype(np.int32),
    "int8": lambda x: np.round(x * 2**7).astype(np.int8),
    "uint8": lambda x: np.round(x * 2**7 + 128).astype(np.uint8),
    "one column": lambda x: x[:, None],
    "stereo": lambda x: np.stack([x, x], axis=1),
    "stereo, Fortran order": lambda x: np.asfortranarray(np.stack([x, x], axis=1)),
    "one loud channel, one mute": lambda x: np.stack([2 * x, 0 * x], axis=1),
    "six channels, int16": lambda x: np.stack([np.round(x * 2**15).astype(np.int16)] * 6, axis=1),
    "every second sample": lambda x: np.repeat(x, 2)[::2],
    "read-only": lambda x: np.frombuffer(x.tobytes(), dtype=np.float32),
}


def test_every_kind_of_array_gives_the_same_sound():
    for kind, converted in ARRAYS.items():
        clip = audio.load((RATE, converted(tone(1.0))))
        tolerance = 0.01 if "int8" in kind else 1e-3
        np.testing.assert_allclose(clip.waveform, tone(1.0), atol=tolerance, err_msg=kind)
        assert clip.waveform.dtype == np.float32
        assert clip.name == "clip"


def test_the_clip_does_not_share_memory_with_the_array_it_came_from():
    samples = tone(1.0)
    clip = audio.load((RATE, samples))
    assert not np.shares_memory(clip.waveform, samples)
    assert clip.waveform.base is None
    assert clip.waveform.flags.writeable


def test_quiet_24_bit_sound_in_the_high_bytes_keeps_its_level():
    quiet = tone(1.0, peak=0.003)  # its peak in int32 is below 2**23, and its low bytes are empty
    samples = np.round(quiet.astype(np.float64) * 2**23).astype(np.int32) << 8
    assert samples.max() < 2**23
    assert_near(audio.load((RATE, samples)).waveform, quiet)


@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000])
def test_resampling_keeps_frequency_level_and_length(rate: int):
    samples = np.stack([tone(1.0, hertz=440.0, rate=rate)] * 2, axis=1)
    for source in ((rate, samples), encoded(samples, rate=rate)):
        clip = audio.load(source)
        assert pitch(clip.waveform) == pytest.approx(440.0, abs=1.5)
        assert np.abs(clip.waveform).max() == pytest.approx(0.3, abs=0.01)
        assert clip.duration == pytest.approx(1.0, abs=0.001)


def test_the_slowest_the_fastest_and_odd_rates_are_resampled():
    for rate in (1_000, 16_001, 768_000):
        assert audio.load((rate, tone(1.0, rate=rate, hertz=100.0))).duration == pytest.approx(1.0, abs=0.01)


def test_frequencies_above_8_khz_do_not_fold_back():
    samples = tone(1.0, rate=48_000) + 0.3 * np.sin(2 * np.pi * 11_000 * np.arange(48_000) / 48_000)
    assert_near(audio.load((48_000, samples)).waveform[500:-500], tone(1.0)[500:-500], relative=0.002)


def test_the_extension_does_not_matter(tmp_path: Path):
    names = ["clip.mp3", "clip.raw", "clip.RAW", "clip", ".wav"]
    for form, name in zip(MAIN, names, strict=True):
        path = tmp_path / name
        path.write_bytes(encoded(form=form))
        with path.open("rb") as handle:
            for source in (path, handle):
                assert audio.load(source).duration == pytest.approx(2.0, abs=0.03)


def test_unusual_file_names_are_opened_and_printed(tmp_path: Path):
    for name in ("wütend 怒り 😡.wav", "with space.wav", "a'b\"c%s{}.wav", "line\nbreak.wav", "-.wav"):
        path = tmp_path / name
        path.write_bytes(encoded())
        assert audio.load(path).name.isprintable()
        assert audio.load(str(path)).duration == 2.0
        path.write_bytes(b"no audio at all")
        assert path.stem.split()[0] in refusal(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_file_name_that_is_not_unicode_is_opened_and_printed(tmp_path: Path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.wav")  # noqa: PTH118 - pathlib has no bytes
    Path(os.fsdecode(path)).write_bytes(b"nothing")
    refusal(os.fsdecode(path)).encode("utf-8")


def test_an_id3_tag_and_trailing_tags_do_not_matter():
    song = encoded(form=MAIN[-1])
    tag = b"ID3\x04\0\0\0\0\x02\x00" + bytes(256)
    np.testing.assert_array_equal(audio.load(tag + song + b"TAG" + bytes(125)).waveform, audio.load(song).waveform)


# ------------------------------------------------------------------------------------------------------ names, objects


def test_the_name_is_that_of_the_file_or_the_one_given(tmp_path: Path):
    path = tmp_path / "03a01Fa.wav"
    path.write_bytes(encoded())
    with path.open("rb") as handle:
        assert audio.load(handle).name == "03a01Fa.wav"
    assert audio.load(path, name="Anna, third take").name == "Anna, third take"
    assert audio.load(path, name="").name == "03a01Fa.wav"
    assert audio.load(path.read_bytes()).name == "clip"
    assert refusal(b"", name="Anna").startswith("Anna: found ")
    assert refusal(b"", name="two\nlines\x1b[31m\udcff").startswith("two\N{REPLACEMENT CHARACTER}lines")


def test_a_file_object_is_read_from_where_it_stands_and_put_back_there():
    data = io.BytesIO(b"some header" + encoded(form=("FLAC", "PCM_16")))
    data.seek(11)
    assert audio.load(data).duration == 2.0
    assert audio.load(data, start=0.5, end=1.0).duration == 0.5
    assert audio.content_key(data) == audio.content_key(data.getvalue()[11:])
    assert data.tell() == 11
    assert "not audio" in refusal(io.BytesIO(b"\0" + encoded()))


class _Pipe(io.RawIOBase):
    """A stream that cannot seek and gives little at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._data.read(min(len(buffer), 1000))
        buffer[: len(piece)] = piece
        return len(piece)


def test_a_stream_that_cannot_seek_is_read():
    for form in MAIN:
        data = encoded(form=form)
        np.testing.assert_array_equal(audio.load(_Pipe(data)).waveform, audio.load(data).waveform)
        assert audio.content_key(_Pipe(data)) == audio.content_key(data)


def test_an_endless_stream_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ser_fewshot.audio.source.STREAM_BYTES", 1000)
    assert "more than 1000 bytes" in refusal(_Pipe(encoded()))


def test_a_gzip_file_object_is_read():
    assert audio.load(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(encoded())))).duration == 2.0
    assert "Error" not in refusal(gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(encoded())[:-500])))


class _Failing(io.BytesIO):
    """A file object whose reading fails once some bytes have been read, with whatever error."""

    def __init__(self, data: bytes, error: Exception) -> None:
        super().__init__(data)
        self._error = error

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() > 1000:
            raise self._error
        return super().read(size)


@pytest.mark.parametrize("error", [OSError("the cable is out"), KeyError("cable")], ids=["OSError", "KeyError"])
def test_a_failing_file_object_is_named_and_not_printed(error: Exception, capfd: Any):
    for form in MAIN:
        assert "cable" in refusal(_Failing(encoded(tone(20.0 if form[0] != "OGG" else 4.0), form), error))
    with pytest.raises(AudioError, match="cable"):
        audio.content_key(_Failing(encoded(tone(20.0)) * 3, error))
    assert "Traceback" not in capfd.readouterr().err


def test_closed_and_text_file_objects_are_refused():
    closed = io.BytesIO(encoded())
    closed.close()
    assert "closed file" in refusal(closed)
    assert "opened as text" in refusal(io.StringIO("text"))
    assert "seek(0)" in refusal(io.BytesIO(b""))


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="this system has no /proc")
def test_files_that_are_none_are_refused():
    for path in ("/proc/self/mem", "/proc/self/status", "/proc/self/environ"):
        refusal(path)


def test_what_is_no_source_is_refused_by_its_type():
    for source in (0, True, [RATE, tone()], {"path": "clip.wav"}, object(), tone(), np.float32(1)):
        assert type(source).__name__ in refusal(source)


# -------------------------------------------------------------------------------------------------------------- errors


def broken_files() -> dict[str, tuple[bytes, str]]:
    """File content -> a part of the refusal."""
    wav, flac, ogg, opus, mp3 = (encoded(form=form) for form in MAIN)
    x = tone(2.0)
    return {
        "empty": (b"", "0 bytes"),
        "text": (b"<!DOCTYPE html><html>", "a text file"),
        "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a text file"),
        "noise": (bytes(range(200, 256)) * 40, "not audio"),
        "m4a": (b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100), "M4A"),
        "webm": (b"\x1aE\xdf\xa3" + bytes(100), "WebM"),
        "zip": (b"PK\x03\x04" + bytes(100), "ZIP"),
        "aac": (b"\xff\xf1\x50\x80" + bytes(100), "AAC"),
        "utf-16": ("Wut,Freude\n".encode("utf-16"), "not audio"),
        "webp": (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(100), "damaged or incomplete"),
        "wav header only": (wav[:44], "truncated"),
        "wav, part of the header": (wav[:30], "damaged or incomplete"),
        "wav, half": (half(wav), "truncated"),
        "wav, 60 ms short": (wav[:-1920], "truncated"),
        "wav, another chunk before": (wav[:12] + b"LIST\4\0\0\0abcd" + wav[12:-9999], "truncated"),
        "wav, no samples": (encoded(x[:0]), "no samples"),
        "wav, no samples, tag": (patched(encoded(x[:0]), 4, struct.pack("<I", 48)) + b"LIST\4\0\0\0abcd", "no samples"),
        "wavex, half": (half(encoded(form=("WAVEX", "PCM_16"))), "truncated"),
        "rf64, half": (half(encoded(form=("RF64", "PCM_16"))), "truncated"),
        "aiff, half": (half(encoded(form=("AIFF", "PCM_16"))), "truncated"),
        "au, half": (half(encoded(form=("AU", "PCM_16"))), "truncated"),
        "nist, half": (half(encoded(form=("NIST", "PCM_16"))), "truncated"),
        "caf, half": (half(encoded(form=("CAF", "PCM_16"))), "incomplete"),
        "flac, half": (half(flac), "incomplete"),
        "flac, header only": (flac[:60], "incomplete"),
        "ogg, half": (half(ogg), "truncated"),
        "ogg, one byte short": (ogg[:-1], "truncated"),
        "opus, half": (half(opus), "truncated"),
        "mp3, half": (half(mp3), "truncated"),
        "mp3, behind a tag": (b"ID3\x04\0\0\0\0\x02\x00" + bytes(256) + half(mp3), "truncated"),
        "a rate of 0": (patched(wav, 24, struct.pack("<I", 0)), "found"),
        "a rate of 20": (patched(wav, 24, struct.pack("<I", 20)), "20 Hz; expected 1000 to 768000 Hz"),
        "a rate of 4 GHz": (patched(wav, 24, struct.pack("<I", 2**32 - 1)), "found"),
        "no channels": (patched(wav, 22, b"\0\0"), "found"),
        "channels beyond reason": (patched(wav, 22, b"\xff\xff"), "found"),
        "NaN": (encoded(np.where(np.arange(len(x)) == 99, np.nan, x), ("WAV", "FLOAT")), "1 NaN or infinite"),
        "infinite": (encoded(np.where(np.arange(len(x)) == 99, np.inf, x), ("WAV", "FLOAT")), "1 NaN or infinite"),
        "beyond float32": (encoded(x.astype(np.float64) * 1e300, ("WAV", "DOUBLE")), "infinite"),
        "integers as floats": (encoded(x * 32768, ("WAV", "FLOAT")), "Divide"),
        "silent": (encoded(0 * x), "silence"),
        "nearly silent": (encoded(tone(2.0, peak=0.0009), ("WAV", "FLOAT")), "silence"),
        "constant": (encoded(0 * x + 0.5), "silence"),
        "short": (encoded(x[:1599]), "0.0999 s of sound; expected at least 0.1 s"),
        "one sample": (encoded(x[:1]), "0.00 s"),
        "short after trimming": (encoded(np.pad(x[:1000], 16_000)), "between silence; expected at least 0.1 s"),
        "long": (encoded(tone(60.1)), "60.1 s of sound; expected at most 60 s"),
        "long flac": (encoded(tone(61), ("FLAC", "PCM_16")), "61.0 s of sound; expected at most 60 s"),
        "long mp3": (encoded(tone(61), MAIN[-1]), "more than 60 s of sound; expected at most 60 s"),
        "cancelling": (encoded(np.stack([x, -x], axis=1)), "cancel each other out"),
    }


BROKEN = broken_files()


HEADER_FAULTS = (
    *("0 bytes", "text", "not audio", "truncated", "incomplete", "no samples"),
    *("ZIP", "M4A", "WebM", "AAC", " Hz", "found"),
)


@pytest.mark.parametrize("reason", dict.fromkeys(reason for _, reason in BROKEN.values()))
def test_a_broken_file_is_refused_with_its_name_and_the_reason(reason: str, tmp_path: Path):
    """A scan of headers finds what the header shows, and nothing else."""
    path = tmp_path / "03a01Fa.wav"
    for case in (case for case in BROKEN if BROKEN[case][1] == reason):
        data = BROKEN[case][0]
        path.write_bytes(data)
        line = refusal(path)
        assert line.startswith("03a01Fa.wav: found "), case
        assert reason in line, case
        assert reason in refusal(data), case
        assert reason in refusal(io.BytesIO(data)), case
        if any(fault in reason for fault in HEADER_FAULTS):
            with pytest.raises(AudioError, match=r"^03a01Fa\.wav: found "):
                audio.check_readable(path)
        else:
            audio.check_readable(path)


def test_paths_that_lead_to_no_file_are_refused(tmp_path: Path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "broken").symlink_to(tmp_path / "gone")
    (tmp_path / "file").write_bytes(b"x")
    cases = {
        tmp_path / "missing.wav": "no file at",
        tmp_path / "broken": "no file at",
        tmp_path / "file" / "clip.wav": "no file at",
        tmp_path: "a folder at",
        tmp_path / "loop": "cannot be opened",
        Path("/dev/null" if os.name == "posix" else "NUL"): "a device or a pipe at",
        Path("clip\0.wav"): "cannot be opened",
        Path("x" * 5000 + ".wav"): "cannot be opened",
    }
    for path, reason in cases.items():
        for call in (audio.load, audio.check_readable, audio.content_key):
            with pytest.raises(AudioError, match=reason):
                call(path)
    assert "a folder at" in refusal("")
    assert len(refusal("data:audio/wav;base64," + "x" * 100_000)) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_rather_than_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert "a device or a pipe" in refusal(tmp_path / "pipe")


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "clip.wav"
    path.write_bytes(encoded())

    def forbidden(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", forbidden)
    assert "Permission denied" in refusal(path)


ARRAY_FAULTS = {
    "no samples": ((RATE, tone()[:0]), "shape (0,)"),
    "a number": ((RATE, np.array(1.0)), "shape ()"),
    "three axes": ((RATE, np.zeros((4, 4, 4))), "shape (4, 4, 4)"),
    "channels first": ((RATE, np.stack([tone(), tone()])), "Pass array.T"),
    "no channels": ((RATE, np.zeros((16_000, 0))), "shape (16000, 0)"),
    "bool": ((RATE, tone() > 0), "type bool"),
    "complex": ((RATE, tone().astype(complex)), "type complex128"),
    "object": ((RATE, tone().astype(object)), "type object"),
    "int64": ((RATE, (tone() * 2**15).astype(np.int64)), "type int64"),
    "uint16": ((RATE, (tone() * 2**15).astype(np.uint16)), "type uint16"),
    "strings": ((RATE, np.array(["a", "b"])), "type <U1"),
    "dates": ((RATE, np.zeros(16_000, dtype="datetime64[s]")), "type datetime64"),
    "a record": ((RATE, np.zeros(16_000, dtype="i2,i2")), "an array of type"),
    "a list": ((RATE, [0.1] * 16_000), "a tuple (int, list)"),
    "nothing": ((RATE, None), "a tuple (int, NoneType)"),
    "the wrong way round": ((tone(), RATE), "a tuple (ndarray, int)"),
    "no rate": ((tone(),), "a tuple (ndarray)"),
    "three parts": ((RATE, tone(), "clip.wav"), "a tuple (int, ndarray, str)"),
    "an empty tuple": ((), "a tuple ()"),
    "a rate of float": ((16_000.0, tone()), "a tuple (float, ndarray)"),
    "a rate of bool": ((True, tone()), "a tuple (bool, ndarray)"),
    "a rate of str": (("16000", tone()), "a tuple (str, ndarray)"),
    "a rate of 0": ((0, tone()), "0 Hz; expected 1000 to 768000 Hz"),
    "a negative rate": ((-16_000, tone()), "-16000 Hz"),
    "a rate in kHz": ((16, tone()), "16 Hz"),
    "a rate beyond reason": ((10**30, tone()), "Hz; expected 1000 to 768000 Hz"),
    "NaN": ((RATE, tone() * np.nan), "16000 NaN or infinite"),
    "infinite": ((RATE, np.append(tone(), -np.inf)), "1 NaN or infinite"),
    "integers as floats": ((RATE, tone() * 32768), "Divide"),
    "beyond float32": ((RATE, tone().astype(np.float64) * 1e300), "Divide"),
    "silent": ((RATE, np.zeros(16_000, dtype=np.int16)), "silence"),
    "silent uint8": ((RATE, np.full(16_000, 128, dtype=np.uint8)), "silence"),
    "constant": ((RATE, np.full(16_000, 0.9)), "silence"),
    "inaudible": ((96_000, np.hanning(96_000) * np.sin(2 * np.pi * 30_000 * np.arange(96_000) / 96_000)), "silence"),
    "short": ((RATE, tone(0.09)), "0.09 s of sound; expected at least 0.1 s"),
    "long": ((RATE, tone(60.1)), "60.1 s of sound; expected at most 60 s"),
    "cancelling": ((RATE, np.stack([tone(), -tone()], axis=1)), "cancel each other out"),
}


def test_an_illegal_array_is_refused():
    for case, (source, reason) in ARRAY_FAULTS.items():
        assert reason in refusal(source, name="take 3"), case
    remedy = "Record or upload a clip, then try again."
    assert refusal(None) == f"clip: found no clip; expected a recording or a file. {remedy}"


def test_the_error_survives_the_way_back_from_a_worker():
    with pytest.raises(AudioError) as caught:
        audio.load(b"")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


# ------------------------------------------------------------------------------------- headers that lie or do not know


def test_a_streamed_wav_of_unknown_size_is_read_to_its_end(tmp_path: Path):
    path, expected = tmp_path / "clip.wav", audio.load(encoded()).waveform
    for size in (0, 0x7FFF0000, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        for whole in (0, 36, 64_036, 0xFFFFFFFF):
            data = patched(patched(encoded(), 4, struct.pack("<I", whole)), 40, struct.pack("<I", size))
            path.write_bytes(data)
            np.testing.assert_array_equal(audio.load(data).waveform, expected, err_msg=f"{size} {whole}")
            audio.check_readable(path)


def test_a_wav_that_lacks_less_than_50_ms_or_has_bytes_after_its_sound_is_read():
    assert audio.load(encoded()[:-1000]).duration == pytest.approx(2.0, abs=0.05)
    assert audio.load(encoded() + b"LIST\4\0\0\0abcd" + bytes(999)).duration == 2.0


def streamed_flac() -> bytes:
    """FLAC whose header does not know the count of frames, as written to a pipe."""
    data = bytearray(encoded(form=("FLAC", "PCM_16")))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def test_a_streamed_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path):
    assert_near(audio.load(streamed_flac()).waveform, tone(2.0))
    assert audio.load(streamed_flac(), start=1.0, end=1.5).duration == 0.5
    assert "beyond the end" in refusal(streamed_flac(), start=1.0, end=3.0)
    assert "beyond the end" in refusal(streamed_flac(), start=3.0)
    assert "more than 1 s" in refusal(streamed_flac(), max_seconds=1)
    assert "incomplete" in refusal(streamed_flac()[:-2000])
    (tmp_path / "clip.flac").write_bytes(streamed_flac())
    audio.check_readable(tmp_path / "clip.flac")


def test_an_mp3_without_a_xing_header_is_read_whole_though_its_header_guesses():
    burst = np.concatenate([np.zeros(200_000, dtype=np.float32), tone(5.0, rate=44_100)])
    data = encoded(burst, MAIN[-1], rate=44_100)
    first_frame = 144 * 128_000 // 44_100  # bytes of the frame that holds the Xing header
    clip = audio.load(data[first_frame:])
    assert clip.duration == pytest.approx(5.0, abs=0.1)
    assert audio.load(data[first_frame:], start=6.0, end=7.0).duration == 1.0


def test_a_flac_that_promises_more_frames_than_it_has_is_refused_without_allocating_them():
    data = bytearray(encoded(form=("FLAC", "PCM_16")))
    for frames in (10**6, 2**36 - 1):
        data[21] = data[21] & 0xF0 | frames >> 32
        data[22:26] = struct.pack(">I", frames & 0xFFFFFFFF)
        refusal(bytes(data))
        assert "found" in refusal(bytes(data), max_seconds=1e12)


# ------------------------------------------------------------------------------------------ trimming, segment, warning


def test_silence_at_both_ends_is_trimmed_whatever_the_level_and_the_offset():
    silence = np.zeros(16_000, dtype=np.float32)
    sound = np.concatenate([tone(1.0), silence[:8_000], tone(0.5)])  # the pause inside stays
    for level, offset in ((1.0, 0.0), (0.01, 0.2), (0.004, 0.0), (0.004, 0.2)):
        clip = audio.load((RATE, level * np.concatenate([silence, sound, silence]) + offset))
        assert clip.duration == pytest.approx(2.0, abs=0.2), (level, offset)
    assert audio.load((RATE, tone(2.0))).duration == 2.0


def test_untrimmed_a_clip_keeps_its_silence_and_is_still_refused_for_too_little_sound():
    silence = np.zeros(8_000, dtype=np.float32)
    whole = np.concatenate([silence, tone(1.0), silence])
    assert np.array_equal(audio.load((RATE, whole), trim=False).waveform, whole)
    with pytest.raises(AudioError, match="between silence"):
        audio.load((RATE, np.concatenate([silence, tone(0.05), silence])), trim=False)


def test_the_first_and_the_last_loud_frame_are_kept():
    samples = np.zeros(16_000, dtype=np.float32)
    samples[6_480:9_600] = tone(1.0)[:3_120]
    # Frames of 400 samples, centred on every 160th: loud are those from 6,400 to 9,760, of which each is a hop.
    assert np.array_equal(audio.load((RATE, samples)).waveform, samples[6_400 : 9_760 + 160])


def trimmed_by_librosa(whole: NDArray[np.float32]) -> NDArray[np.float32]:
    librosa = pytest.importorskip("librosa")
    centred = whole - whole.mean()
    scaled = centred / np.abs(centred).max()
    _, (first, last) = librosa.effects.trim(scaled, top_db=audio.TRIM_DB, frame_length=400, hop_length=160)
    return whole[first:last]


@pytest.mark.slow  # librosa compiles its code first, which takes a minute
def test_noise_of_changing_level_is_trimmed_as_librosa_does():
    draw = np.random.default_rng(0)
    for _ in range(50):
        parts = [10 ** draw.uniform(-3.5, -0.5) * draw.uniform(-1, 1, draw.integers(50, 2_000)) for _ in range(20)]
        whole = (np.concatenate([*parts, tone(0.4), *parts[::2]]) + draw.uniform(-0.2, 0.2)).astype(np.float32)
        assert np.array_equal(audio.load((RATE, whole)).waveform, trimmed_by_librosa(whole))


@pytest.mark.corpus
@pytest.mark.slow
def test_real_clips_are_trimmed_as_librosa_does(corpora_root: Path):
    for path in sorted(corpora_root.rglob("*.flac")):
        whole = audio.load(path, trim=False).waveform
        assert np.array_equal(audio.load(path).waveform, trimmed_by_librosa(whole)), path


def test_noise_of_a_quiet_room_is_trimmed_and_soft_speech_is_not():
    noise = 0.3 * 10 ** (-50 / 20) * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    soft = tone(0.5, peak=0.3 * 10 ** (-30 / 20))
    clip = audio.load((RATE, np.concatenate([noise, soft, tone(1.0), soft, noise])))
    assert clip.duration == pytest.approx(2.0, abs=0.2)


def test_a_segment_of_an_array_is_cut():
    x = siren(48_000)
    clip = audio.load((48_000, np.stack([x, x], axis=1)), start=np.float32(1.5), end=np.int64(3))
    np.testing.assert_array_equal(clip.waveform, audio.load((48_000, x[72_000:144_000])).waveform)


def test_a_segment_of_a_long_file_is_legal_and_reads_little(tmp_path: Path):
    path = tmp_path / "dialogue.wav"
    path.write_bytes(encoded(tone(120.0)))

    class Counting(io.FileIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(-1 if size is None else size)
            Counting.count += len(data or b"")
            return data or b""

    with Counting(path) as handle:
        assert audio.load(handle, start=100.0, end=101.0).duration == 1.0
    assert Counting.count < 2 * 2 * RATE
    assert "120.0 s of sound" in refusal(path)
    assert "61.0 s of sound" in refusal(path, start=1.0, end=62.0)
    assert "119.0 s of sound" in refusal(path, start=1.0)
    assert audio.load(path, max_seconds=121.0).duration == pytest.approx(120.0)


ILLEGAL_SEGMENTS: list[tuple[Any, Any]] = [
    (1.0, 1.0),
    (1.0, 0.5),
    (-0.1, 1.0),
    (0.0, 2.2),
    (2.5, None),
    (2.5, 3.0),
    (0, 50),
    (10**400, None),
    (float("nan"), None),
    (None, float("nan")),
    (float("inf"), None),
    ("0", "1"),
    (1j, None),
]


def test_an_illegal_segment_is_refused():
    for source in ((RATE, tone(2.0)), *(encoded(form=form) for form in MAIN)):
        for start, end in ILLEGAL_SEGMENTS:
            assert "segment" in refusal(source, start=start, end=end), (start, end)


def test_a_segment_that_is_too_short_or_silent_is_refused():
    source = (RATE, np.concatenate([tone(1.0), 0 * tone(1.0)]))
    assert "0.05 s of sound" in refusal(source, start=0.5, end=0.55)
    assert "silence" in refusal(source, start=1.1, end=1.9)
    assert "0.00 s of sound" in refusal((RATE, np.stack([tone(), tone()], axis=1)), start=0.5, end=0.50001)


CLIPPED = {
    "float above full scale": ((RATE, tone(peak=1.05)), True),
    "cut float": ((RATE, np.clip(tone(peak=1.5), -1, 1)), True),
    "cut int16": ((RATE, (np.clip(tone(peak=1.5), -1, 1) * 32767).astype(np.int16)), True),
    "cut int16, one channel": (
        (RATE, np.stack([np.clip(tone(peak=2), -1, 1), tone()], axis=1)),
        True,
    ),
    "cut uint8": ((RATE, np.clip(tone(peak=1.5) * 128 + 128, 0, 255).astype(np.uint8)), True),
    "cut file": (encoded(np.clip(tone(peak=1.5), -1, 1)), True),
    "cut flac at 44.1 kHz": (
        encoded(np.clip(tone(peak=1.5, rate=44_100), -1, 1), ("FLAC", "PCM_16"), rate=44_100),
        True,
    ),
    "hot float file": (encoded(tone(peak=1.5), ("WAV", "FLOAT")), True),
    "just at full scale": ((RATE, tone(peak=1.0)), False),
    "just at full scale, 48 kHz, int16": ((48_000, (tone(peak=1.0, rate=48_000) * 32767).astype(np.int16)), False),
    "one click": ((RATE, np.where(np.arange(16_000) == 8_000, np.float32(1), tone())), False),
    "flat but low": ((RATE, np.clip(tone(), -0.2, 0.2)), False),
}


def test_clipping_is_a_warning():
    for case, (source, clipped) in CLIPPED.items():
        assert audio.load(source).warnings == ((audio.CLIPPED,) if clipped else ()), case


def test_a_clip_of_less_than_300_ms_is_used_with_a_warning():
    for seconds, short in ((0.1, True), (0.25, True), (0.3, False)):
        for whole in (tone(seconds), np.pad(tone(seconds), 16_000)):
            assert audio.load((RATE, whole), trim=False).warnings == ((audio.SHORT,) if short else ())


def test_exactly_the_shortest_and_the_longest_clip_are_legal():
    assert audio.load((RATE, tone(0.3))).duration == 0.3
    assert audio.load(encoded(tone(0.3, rate=11_025), rate=11_025)).duration == pytest.approx(0.3, abs=1e-3)
    assert audio.load(encoded(tone(60.0))).duration == pytest.approx(60.0)


# ----------------------------------------------------------------------------------------------------------------- key


def test_the_key_depends_on_content_and_segment_alone(tmp_path: Path):
    path, twin = tmp_path / "a.wav", tmp_path / "b.wav"
    path.write_bytes(encoded())
    twin.write_bytes(encoded())
    keys = {audio.content_key(source) for source in (path, str(twin), encoded(), io.BytesIO(encoded()))}
    assert len(keys) == 1
    assert audio.content_key(path, start=0.0) in keys
    assert audio.content_key(path, start=0) in keys
    others = [
        audio.content_key(path, start=0.5),
        audio.content_key(path, end=0.5),
        audio.content_key(path, start=0.25, end=0.5),
        audio.content_key(encoded() + b"\0"),
        audio.content_key((RATE, tone())),
        audio.content_key((RATE + 1, tone())),
        audio.content_key((RATE, tone()[:-1])),
        audio.content_key((RATE, tone().astype(np.float64))),
        audio.content_key((RATE, tone().reshape(-1, 2))),
    ]
    assert len({*keys, *others}) == len(others) + 1
    assert all(len(key) == 64 for key in keys)
    assert audio.content_key((np.int32(RATE), np.asfortranarray(tone()[:, None]))) == others[4]


def test_the_key_changes_with_the_version(monkeypatch: pytest.MonkeyPatch):
    before = audio.content_key(encoded())
    monkeypatch.setattr("ser_fewshot.audio.clip.AUDIO_VERSION", audio.AUDIO_VERSION + 1)
    assert audio.content_key(encoded()) != before


def test_the_key_of_nothing_is_refused():
    for source in (None, b"", (RATE, None), 3, "/nowhere/clip.wav"):
        with pytest.raises(AudioError):
            audio.content_key(source)
    with pytest.raises(AudioError, match="segment"):
        audio.content_key(encoded(), start=2, end=1)


def test_importing_the_package_loads_neither_torch_nor_librosa():
    code = "import sys, ser_fewshot.audio; assert not {'torch', 'librosa', 'torchaudio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.corpus
def test_the_real_corpora_are_readable(corpora_root: Path):
    files = sorted(corpora_root.rglob("*.flac"))
    assert files
    for path in files[::20]:
        audio.check_readable(path)
    for path in files[::200]:
        assert audio.load(path).duration >= audio.MIN_SECONDS


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
def test_a_process_forked_while_another_thread_opens_a_file_opens_files_too(tmp_path):
    sf.write(tmp_path / "a.wav", tone(0.5), RATE)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def readinto(self, buffer):
            begun.set()
            go_on.wait(60)
            return super().readinto(buffer)

    thread = threading.Thread(target=sf.SoundFile, args=(Slow((tmp_path / "a.wav").read_bytes()),))
    thread.start()
    assert begun.wait(60)
    threading.Timer(0.2, go_on.set).start()
    assert forked(lambda: audio.load(tmp_path / "a.wav").duration) == pytest.approx(0.5)
    thread.join()
