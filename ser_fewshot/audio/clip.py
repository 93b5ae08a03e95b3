"""Loading a clip: the only place where the library reads samples.

soundfile decodes, soxr resamples. Headers are not trusted: no memory is allocated by the length that they state, and a
file that holds less is refused, where libsndfile would read it short.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ser_fewshot.audio.checks import SAMPLE_RATE, SHORT_SECONDS, check_duration, check_sound, check_values, is_clipped
from ser_fewshot.audio.decode import TOLERANCE, Seconds, Stream, decoder, translated, truncated
from ser_fewshot.audio.source import BLOCK, Hertz, as_float, checked_array, opened, printable
from ser_fewshot.errors import AudioError, TooLongError

Source = str | os.PathLike[str] | bytes | BinaryIO | tuple[int, NDArray[Any]]
"""A path, the bytes of a file, a file object, or (rate in Hz, samples of shape (samples,) or (samples, channels))."""

AUDIO_VERSION = 1
"""To be raised when the same bytes give other samples: caches are keyed by it."""
MAX_SECONDS: Seconds = 60.0
TRIM_DB = 40.0
"""Silence lies this far below the loudest frame: speech spans some 30 dB, and the noise of a quiet room lies lower."""

_FRAME, _HOP = 400, 160  # samples: levels are taken over 25 ms, every 10 ms
_FOREVER: Seconds = 1e9  # 31 years: an end that was not given
_LONGEST_NAME = 255  # characters, as in file systems; what is longer is no name but content given as a path
CLIPPED = (
    "The sound is clipped: it exceeds full scale. Record again with a lower level, or further from the microphone."
)
SHORT = f"There is less than {SHORT_SECONDS:g} s of sound, from which little can be told. Speak a little longer."


@dataclass(frozen=True, eq=False)
class Clip:
    """Sound that has passed every check.

    Attributes:
        waveform: (samples,) float32, mono, at SAMPLE_RATE, without the silence at its ends; full scale is 1.
        name: of the clip, for users.
        warnings: sentences for users about faults that are not fatal.
    """

    waveform: NDArray[np.float32]
    name: str
    warnings: tuple[str, ...] = ()

    @property
    def duration(self) -> Seconds:
        """The length in s."""
        return len(self.waveform) / SAMPLE_RATE


def load(
    source: Source,
    *,
    name: str | None = None,
    start: Seconds | None = None,
    end: Seconds | None = None,
    max_seconds: Seconds = MAX_SECONDS,
    trim: bool = True,
) -> Clip:
    """Return the sound of a source: the mean of its channels, at 16 kHz, without the silence at its ends.

    A file object is read from where it stands, put back there if it can seek, and not closed. Integers are divided by
    their full scale. int32 has full scale 2**31 (scipy and gradio give 24-bit sound with an empty low byte); where some
    low byte is set and no sample exceeds 2**15 or 2**23, it is 16-bit or 24-bit sound and has that full scale.

    Args:
        source: path, bytes, file object, or (rate in Hz, samples of shape (samples,) or (samples, channels)).
        name: of the clip in errors; by default the file's name, else "clip".
        start: beginning of the clip in the source, in s.
        end: its end, in s; it may exceed the source by TOLERANCE.
        max_seconds: the longest clip, in s, before trimming.
        trim: whether the silence at the ends is cut off; there must be enough sound between it in any case.

    Raises:
        AudioError: the source is missing, a folder, empty, truncated or not audio; samples are NaN, infinite or far
            from [-1, 1]; the clip is silent, shorter than MIN_SECONDS or too long; the segment or array is illegal.
    """
    name, segment = _name(source, name), _segment(name, start, end)
    if isinstance(source, tuple):
        rate, samples = checked_array(name, source)
        first, count = _span(name, rate, len(samples), segment, max_seconds)
        return _clip(name, rate, [as_float(samples, slice(first, first + count))], trim=trim)
    with opened(name, source) as window, decoder(name, window) as audio:
        return _clip(name, audio.samplerate, _decode(name, audio, segment, max_seconds), trim=trim)


def check_readable(path: str | os.PathLike[str]) -> None:
    """Check a file by its header, and FLAC by its last sample too; cheap enough for thousands of files.

    Raises:
        AudioError: it is missing, a folder, empty, not audio, or holds less than its header states.
    """
    name = _name(path, None)
    with opened(name, path) as window, decoder(name, window) as audio:
        if audio.format == "FLAC" and audio.total and not any(True for _ in audio.blocks(audio.total - 1, 1)):
            raise truncated(name, "no sample where its header promises the last one")


def length(path: str | os.PathLike[str]) -> Seconds | None:
    """Return the length of a file in s by its header, which may guess in MP3; None where the header lacks it.

    Raises:
        AudioError: as `check_readable`.
    """
    name = _name(path, None)
    with opened(name, path) as window, decoder(name, window) as audio:
        seconds = audio.frames / audio.samplerate
        return seconds if seconds < _FOREVER else None


def content_key(source: Source, *, start: Seconds | None = None, end: Seconds | None = None) -> str:
    """Return the SHA-256, in hex, of the bytes of a source, the segment and AUDIO_VERSION; nothing is decoded.

    A path, bytes and a file object of the same content have the same key.

    Raises:
        AudioError: the source cannot be read, or the segment or the array is illegal.
    """
    name = _name(source, None)
    digest = hashlib.sha256(f"{AUDIO_VERSION} {_segment(name, start, end)}".encode())
    if isinstance(source, tuple):
        rate, samples = checked_array(name, source)
        digest.update(f"{rate} {samples.dtype.str} {samples.shape}".encode() + samples.tobytes())
        return digest.hexdigest()
    with opened(name, source) as window, translated(name, window):
        for block in iter(lambda: window.read(BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _name(source: object, name: str | None) -> str:
    """Return the clip's name, fit to print: no control characters, no lone surrogates."""
    if not name:
        path = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
        name = Path(os.fsdecode(path)).name if isinstance(path, str | os.PathLike) else ""
    return printable(name)[:_LONGEST_NAME] or "clip"


def _segment(name: str, start: object, end: object) -> tuple[Seconds, Seconds]:
    """Return start and end in s: 0 and _FOREVER where they are not given."""
    first, last = _seconds(start, 0.0), _seconds(end, _FOREVER)
    if not 0 <= first < last:
        raise AudioError(
            name,
            found=f"a segment from {start!r:.50} to {end!r:.50}",
            expected="numbers of seconds with 0 <= start < end",
            remedy="Correct start and end, or leave them out to take the whole clip.",
        )
    return first, last


def _seconds(value: object, default: Seconds) -> Seconds:
    """Return a time as float, at most _FOREVER; NaN for what is no number."""
    if value is None:
        return default
    with suppress(OverflowError):  # an int beyond every float
        if isinstance(value, float | int | np.floating | np.integer):
            return min(float(value), _FOREVER)
    return math.nan


def _span(
    name: str, rate: Hertz, total: int | None, segment: tuple[Seconds, Seconds], max_seconds: Seconds
) -> tuple[int, int]:
    """Return the first frame of a segment and the count of frames to read: one too many where the end is unknown."""
    start, end = segment
    length = _FOREVER if total is None else total / rate
    if start >= length or length + TOLERANCE < end < _FOREVER:
        raise _beyond(name, segment, f"in {length:.2f} s of sound")
    seconds = min(end, length) - start
    if seconds > max_seconds and min(end, length) < _FOREVER:
        raise _too_long(name, f"{seconds:.1f} s of sound", max_seconds)
    return round(start * rate), round(min(seconds * rate, max_seconds * rate + 1))


def _decode(
    name: str, audio: Stream, segment: tuple[Seconds, Seconds], max_seconds: Seconds
) -> Iterator[NDArray[np.float32]]:
    """Yield the blocks of a segment, each (frames, channels), then check that all of it came."""
    rate = audio.samplerate
    first, count = _span(name, rate, audio.total, segment, max_seconds)
    got = 0
    for block in audio.blocks(first, count):
        got += len(block)
        yield block
    if audio.total is not None and count - got > TOLERANCE * rate:
        raise truncated(name, f"{got / rate:.2f} s of the {count / rate:.2f} s that its header promises")
    if audio.total is None and got > max_seconds * rate:
        raise _too_long(name, f"more than {max_seconds:g} s of sound", max_seconds)
    if audio.total is None and (got == 0 < count or (segment[1] < _FOREVER and count - got > TOLERANCE * rate)):
        raise _beyond(name, segment, "beyond the end of the file")


def _clip(name: str, rate: Hertz, blocks: Iterable[NDArray[Any]], *, trim: bool) -> Clip:
    """Mix blocks of (frames, channels) to mono, resample, check and, if asked, trim."""
    parts, clipped, swing = [np.zeros(0, dtype=np.float32)], False, 0.0
    for block in (block for block in blocks if block.size):
        check_values(name, block)
        parts.append(block.mean(axis=1).astype(np.float32))
        clipped = clipped or is_clipped(block)
        if block.shape[1] > 1:
            swing = max(swing, float(np.ptp(block, axis=0).max()) / 2)
    waveform = np.concatenate(parts)
    check_duration(name, len(waveform) / rate, "of sound")
    if rate != SAMPLE_RATE:
        waveform = soxr.resample(waveform, rate, SAMPLE_RATE)
    check_sound(name, waveform, swing)
    trimmed = _trim(waveform)
    check_duration(name, len(trimmed) / SAMPLE_RATE, "of sound between silence")
    short = len(trimmed) < round(SHORT_SECONDS * SAMPLE_RATE)
    return Clip(trimmed if trim else waveform, name, (CLIPPED,) * clipped + (SHORT,) * short)


def _trim(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut the silence at both ends, whatever the level and the DC offset, exactly as `librosa.effects.trim`."""
    centred = waveform - waveform.mean()
    padded = np.pad(centred / np.abs(centred).max(), _FRAME // 2)
    power = np.square(sliding_window_view(padded, _FRAME)[::_HOP]).mean(axis=1)  # (frames,)
    loud = np.flatnonzero(power > power.max() * 10 ** (-TRIM_DB / 10))
    return waveform[loud[0] * _HOP : (loud[-1] + 1) * _HOP].copy()


def _too_long(name: str, found: str, max_seconds: Seconds) -> TooLongError:
    remedy = "Cut out the part that matters, or pass start and end."
    return TooLongError(name, found=found, expected=f"at most {max_seconds:g} s", remedy=remedy)


def _beyond(name: str, segment: tuple[Seconds, Seconds], found: str) -> AudioError:
    start, end = segment
    until = "its end" if end >= _FOREVER else f"{end:g} s"
    found = f"a segment from {start:g} s to {until} {found}"
    return AudioError(name, found=found, expected="a segment inside the sound", remedy="Correct start and end.")
