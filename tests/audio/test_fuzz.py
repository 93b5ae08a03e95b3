"""Any input, however damaged, gives a sound clip or an AudioError of one line.

The cases are the same on every run. AUDIO_FUZZ=10 in the environment multiplies their number and draws others.
"""

from __future__ import annotations

import io
import math
import os
import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from conftest import tone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ser_fewshot import audio
from ser_fewshot.errors import AudioError

LEGAL_TYPES = ["f2", "f4", "f8", ">f4", "i1", "u1", "i2", ">i2", "i4", ">i4"]
ILLEGAL_TYPES = ["u2", "u4", "i8", "u8", "?", "c8", "g", "O", "U3", "S2", "M8[s]", "m8[s]", "i2,f4", "V3"]
TIMES = int(os.environ.get("AUDIO_FUZZ", "1"))
FORMATS = [
    *[("WAV", codec) for codec in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM", "GSM610")],
    *[(container, "PCM_16") for container in ("WAVEX", "RF64", "AIFF", "AU", "CAF", "NIST", "FLAC")],
    *[("CAF", "ALAC_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")],
]
MAGIC = [b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b"ID3", b".snd", b"caff", b"NIST_1A\n   1024\n"]
MAGIC += [b"\xff\xfb\x90\xc4", b"\xff\xf3\x88\xc4", b"RIFF\xff\xff\xff\xffWAVE", b"FORM\0\0\xff\xffAIFC", b""]
SIZES = [0, 1, 2, 3, 16, 255, 1000, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1, 0x7FFF0000]
RATES = [0, 1, 7, 999, 1000, 8000, 11_025, 16_000, 44_100, 192_000, 768_000, 768_001, 2**31 - 1, 2**31, 2**32 - 1]


def fuzz(cases: int) -> Callable[[Any], Any]:
    """Run a property on this many cases, the same ones on every run."""
    return settings(
        max_examples=cases * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@cache
def encoded(form: tuple[str, str], rate: int = 16_000, channels: int = 1, seconds: float = 0.5) -> bytes:
    """The bytes of a legal file."""
    file = io.BytesIO()
    samples = np.stack([tone(seconds, rate=rate)] * (1 if form[1] == "GSM610" else channels), axis=1)
    sf.write(file, samples, rate, format=form[0], subtype=form[1])
    return file.getvalue()


def check(source: Any, **options: Any) -> None:
    """Hold every door to its promise."""
    try:
        clip = audio.load(source, **{"max_seconds": 5.0, **options})
    except AudioError as error:
        assert len(str(error).splitlines()) == 1
        str(error).encode("utf-8")
    else:
        assert isinstance(clip, audio.Clip)
        assert clip.waveform.dtype == np.float32
        assert clip.waveform.ndim == 1
        assert np.isfinite(clip.waveform).all()
        assert audio.MIN_SECONDS <= clip.duration <= 5.0
    try:
        key = audio.content_key(source, start=options.get("start"), end=options.get("end"))
    except AudioError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(key) == 64


def check_file(data: bytes, door: str, **options: Any) -> None:
    """Bring bytes through one of the doors."""
    if door == "bytes":
        check(data, **options)
    elif door == "object":
        check(io.BytesIO(data), **options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / door
            path.write_bytes(data)
            check(path, **options)
            try:
                audio.check_readable(path)
            except AudioError as error:
                assert len(str(error).splitlines()) == 1


doors = st.sampled_from(["bytes", "object", "clip.wav", "clip.raw"])
legal_files = st.builds(
    encoded,
    st.sampled_from(FORMATS),
    rate=st.sampled_from([8_000, 16_000, 48_000]),
    channels=st.sampled_from([1, 2]),
    seconds=st.sampled_from([0.5, 0.5, 0.5, 0.1]),
)
times = st.one_of(
    st.none(),
    st.none(),
    st.floats(0, 0.6),
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e308, 10**400, "1", "", [], 1j, True, np.float32(0.2)]),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A legal file after some accidents: bytes changed (most often in the header), cut, doubled, spliced."""
    data = bytearray(draw(legal_files))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, min(len(data), 120)) | st.integers(0, len(data)) | st.integers(0, len(data)))
        until = at + draw(st.sampled_from([0, 1, 2, 4, 8, 100, 5000]))
        accident = draw(
            st.sampled_from(["replace", "replace", "replace", "number", "cut", "remove", "double", "splice"])
        )
        if accident == "replace":
            data[at:until] = draw(st.binary(min_size=min(until - at, 8), max_size=8))
        elif accident == "number":
            order = draw(st.sampled_from("<>"))
            data[at : at + 4] = struct.pack(f"{order}I", draw(st.sampled_from(SIZES)))
        elif accident == "cut":
            del data[at:]
        elif accident == "remove":
            del data[at:until]
        elif accident == "double":
            data[at:at] = data[at:until]
        else:
            data[at:] = draw(legal_files)[at:]
    return bytes(data)


def ogg_checksum(page: bytes) -> int:
    """The checksum of an OGG page whose own field is 0 (RFC 3533, section 6)."""
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


def resealed(data: bytes) -> bytes:
    """The same OGG with correct checksums, so that what was changed is decoded rather than dropped."""
    pages, at = [], 0
    while data[at : at + 4] == b"OggS" and len(data) > at + 27:
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        page = data[at : at + 22] + bytes(4) + data[at + 26 : end]
        pages.append(page[:22] + struct.pack("<I", ogg_checksum(page)) + page[26:])
        at = end
    return b"".join(pages) + data[at:]


@st.composite
def wav(draw: st.DrawFn) -> bytes:
    """A WAV, RF64 or RIFX by hand, some of whose numbers are not true."""

    def mostly(legal: int, lies: list[int]) -> int:
        return draw(st.sampled_from([legal] * 12 * len(lies) + lies))

    order = draw(st.sampled_from("<<<>"))
    kind, width = draw(st.sampled_from([(1, 16), (1, 8), (1, 24), (1, 32), (3, 32), (3, 64), (6, 8), (7, 8)]))
    kind, bits = mostly(kind, [0, 2, 0x11, 0x31, 0x55, 0xFFFE]), mostly(width, [0, 1, 12, 2**16 - 1])
    channels = mostly(draw(st.integers(1, 2)), [0, 3, 64, 1024, 1025, 2**16 - 1])
    rate = mostly(16_000, RATES)
    fmt = struct.pack(f"{order}HHI", kind, channels, rate)
    fmt += struct.pack(f"{order}I", mostly(min(rate * channels * width // 8, 2**32 - 1), SIZES))
    fmt += struct.pack(f"{order}HH", mostly(min(channels * width // 8, 2**16 - 1), [0, 1, 3, 2**16 - 1]), bits)
    fmt += draw(st.just(b"") | st.binary(max_size=24))
    sound = np.random.default_rng(draw(st.integers(0, 9))).bytes(mostly(60_000, [0, 1, 999, 20_000]))
    if kind == 3 and draw(st.booleans()):
        sound = tone(0.5).astype(f"{order}f{width // 8}").tobytes()
    extra = [
        b"ds64" + struct.pack("<IQQQI", 28, *(mostly(len(sound), [*SIZES, 2**64 - 1]) for _ in range(3)), 0),
        b"fact" + struct.pack(f"{order}II", 4, mostly(len(sound), SIZES)),
        b"LIST" + struct.pack(f"{order}I", mostly(16, SIZES)) + bytes(16),
    ]
    chunks = [b"fmt " + struct.pack(f"{order}I", mostly(len(fmt), SIZES)) + fmt, *draw(st.permutations(extra))]
    body = b"WAVE" + b"".join(chunks[: draw(st.integers(1, 4))])
    body += b"data" + struct.pack(f"{order}I", mostly(len(sound), SIZES)) + sound
    name = b"RIFX" if order == ">" else draw(st.sampled_from([b"RIFF", b"RIFF", b"RF64"]))
    return name + struct.pack(f"{order}I", mostly(len(body), SIZES)) + body


@st.composite
def flac(draw: st.DrawFn) -> bytes:
    """A FLAC whose stream header need not be true."""
    data = bytearray(encoded(("FLAC", "PCM_16")))
    rate, channels, bits = draw(st.integers(0, 2**20 - 1)), draw(st.integers(0, 7)), draw(st.integers(0, 31))
    frames = draw(st.integers(0, 2**36 - 1) | st.sampled_from([0, 1, 1600, 8000, 8001, 2**36 - 1]))
    fields = (rate << 44 | channels << 41 | bits << 36 | frames).to_bytes(8, "big")
    keep = draw(st.sampled_from([4, 3, 0]))  # of the eight bytes: rate, channels and bits come before the frames
    data[18 + keep : 26] = fields[keep:]
    if draw(st.booleans()):
        data[8:12] = struct.pack(">HH", draw(st.integers(0, 2**16 - 1)), draw(st.integers(0, 2**16 - 1)))
    return bytes(data)


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """A tuple (rate, array) of any type and shape."""
    kind = draw(st.sampled_from(LEGAL_TYPES * 5 + ILLEGAL_TYPES))
    long = st.sampled_from([16_000] * 20 + [90_000, 8000, 4800, 4799, 100, 3, 2, 1, 0])
    shape = draw(
        st.tuples(long)
        | st.tuples(long, st.sampled_from([1, 2, 2, 4, 0]))
        | st.sampled_from([(16_000,), (16_000,), (2, 16_000), (), (2, 2, 2), (1, 16_000, 1), (300, 300)])
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    scale = draw(st.sampled_from([0.1] * 9 + [1.5, 9, 100, 30_000, 2.0**31, 1e300, 1e-3, 1e-30]))
    with np.errstate(all="ignore"):
        values = scale * rng.standard_normal(shape) * {"i": 2**15, "u": 2**7}.get(np.dtype(kind).kind, 1)
        if np.dtype(kind).kind in "iu":
            limits = np.iinfo(np.dtype(kind))
            values = np.clip(values, limits.min / 2, limits.max / 2)
        samples = (
            np.asarray(values).astype("f8").astype(kind) if kind not in ("M8[s]", "m8[s]", "i2,f4", "V3") else None
        )
    samples = np.zeros(shape, dtype=kind) if samples is None else samples
    if samples.dtype.kind == "f" and samples.size and draw(st.sampled_from([False, False, True])):
        samples.flat[draw(st.integers(0, samples.size - 1))] = draw(st.sampled_from([0, -1e4, math.nan, math.inf]))
    odd = [*RATES, np.int32(8000), np.uint16(44_100), 10**30, -1, None, True, 16_000.0, "16000", samples]
    rate = draw(st.sampled_from([16_000] * 40 + [48_000] * 20 + odd))
    return rate, samples


@fuzz(200)
@given(st.sampled_from(MAGIC), st.binary(max_size=2000), doors)
def test_random_bytes(magic: bytes, data: bytes, door: str):
    check_file(magic + data, door)


@fuzz(400)
@given(mutated(), doors)
def test_damaged_files(data: bytes, door: str):
    check_file(data, door)


@fuzz(150)
@given(st.data(), st.sampled_from(["VORBIS", "OPUS"]))
def test_damaged_ogg_with_true_checksums(data: st.DataObject, codec: str):
    sound = bytearray(encoded(("OGG", codec), seconds=0.5))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(sound) - 1) | st.integers(0, 200))
        sound[at] = data.draw(st.integers(0, 255))
    check_file(resealed(bytes(sound)), "bytes")


@fuzz(250)
@given(wav(), doors)
def test_wav_headers_that_lie(data: bytes, door: str):
    check_file(data, door)


@fuzz(150)
@given(flac(), doors)
def test_flac_headers_that_lie(data: bytes, door: str):
    check_file(data, door)


@fuzz(100)
@given(legal_files, times, times, doors)
def test_segments_of_files(data: bytes, start: Any, end: Any, door: str):
    check_file(data, door, start=start, end=end)


@fuzz(150)
@given(mutated(), st.floats(0, 0.6), st.floats(0, 0.6), doors)
def test_segments_of_damaged_files(data: bytes, start: float, end: float, door: str):
    check_file(data, door, start=start, end=end)


@fuzz(250)
@given(arrays(), times, times)
def test_arrays_and_their_segments(source: Any, start: Any, end: Any):
    check(source)
    check(source, start=start, end=end)


@fuzz(100)
@given(
    st.none() | st.integers() | st.floats() | st.text(max_size=50) | st.tuples(st.integers(), st.text()) | st.binary(),
    st.none() | st.text(max_size=30),
)
def test_things_that_are_no_audio(source: Any, name: str | None):
    check(source, name=name)


def test_the_legal_files_that_the_damaged_ones_are_made_of_are_legal():
    for form in FORMATS:
        assert audio.load(encoded(form)).duration == pytest.approx(0.5, abs=0.05)
