"""Sources of a clip, before it is decoded: an array, a path, bytes or a file object."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.errors import AudioError
from ser_fewshot.storage.paths import remedy_for, url_in

Hertz = int
RATES: tuple[Hertz, Hertz] = (1_000, 768_000)
"""The lowest and the highest rate of any recorder; a header with another is damaged."""
STREAM_BYTES = 2**29
"""The most bytes that are read from a file object that cannot seek."""
_FULL_SCALE = {"i1": 2**7, "u1": 2**7, "i2": 2**15, "i4": 2**31}
BLOCK = 2**20  # samples over all channels that are decoded at a time, and bytes that are hashed at a time


def printable(text: object) -> str:
    """Return a text with what cannot be printed replaced."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))


def checked_array(name: str, source: tuple[Any, ...]) -> tuple[Hertz, NDArray[Any]]:
    """Return the rate and the samples as (samples, channels), in the type they came in."""
    rate, samples = source if len(source) == 2 else (None, None)
    if not isinstance(rate, int | np.integer) or isinstance(rate, bool) or not isinstance(samples, np.ndarray):
        raise _illegal_array(name, f"a tuple ({', '.join(type(part).__name__ for part in source)})")
    check_rate(name, int(rate))
    kind = samples.dtype.str[1:]
    if kind not in _FULL_SCALE and kind not in ("f2", "f4", "f8"):
        raise _illegal_array(name, f"an array of type {samples.dtype}")
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise _illegal_array(name, f"an array of shape {samples.shape}")
    if samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise _illegal_array(name, f"an array of shape {samples.shape}, more channels than samples", "Pass array.T.")
    return int(rate), np.asarray(samples).reshape(len(samples), -1)


def _illegal_array(name: str, found: str, remedy: str = "Pass such a tuple.") -> AudioError:
    shapes = "array of shape (samples,) or (samples, channels) of float, int16, int32, int8 or uint8"
    return AudioError(name, found=found, expected=f"(rate in Hz as int, {shapes})", remedy=remedy)


def as_float(samples: NDArray[Any], part: slice) -> NDArray[Any]:
    """Return a part of (samples, channels) as floating point with full scale 1."""
    kind = samples.dtype.str[1:]
    if kind.startswith("f"):
        return samples[part]
    scale = _FULL_SCALE[kind]
    if kind == "i4" and bool((samples & 0xFF).any()):
        peak = max(int(samples.max()), -int(samples.min()))
        # 16-bit or 24-bit sound in the low bytes; true 32-bit sound as soft as that would be silence.
        scale = next((full for full in (2**15, 2**23) if peak <= full), scale)
    offset = scale if kind == "u1" else 0
    return ((samples[part].astype(np.float64) - offset) / scale).astype(np.float32)


def check_rate(name: str, rate: Hertz) -> None:
    """Refuse a rate in Hz outside RATES."""
    if not RATES[0] <= rate <= RATES[1]:
        expected = f"{RATES[0]} to {RATES[1]} Hz"
        raise AudioError(name, found=f"a rate of {rate} Hz", expected=expected, remedy="Correct the rate.")


class Window:
    """A file object from its present position on, for soundfile to read from.

    It has no name, so that soundfile goes by the content and not by an extension. Exceptions cannot pass through C, so
    `fault` keeps one and reading ends there.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._raw, self._base, self._position = raw, raw.tell(), 0
        self.fault: Exception | None = None
        self.open_ended_at: int | None = None  # where four bytes of 0 are to be read as "to the end"
        raw.seek(0, os.SEEK_END)
        self.size = raw.tell() - self._base

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset in bytes, as files do, and return it."""
        self._position = max(0, (0, self._position, self.size)[whence] + offset)
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def read(self, count: int) -> bytes:
        """Return the next bytes; fewer at the end."""
        start = self._position
        try:
            self._raw.seek(self._base + start)
            data = bytes(self._raw.read(max(0, count)))
        except Exception as fault:
            self.fault = fault
            return b""
        self._position += len(data)
        if self.open_ended_at is None or not start - 4 < self.open_ended_at < self._position:
            return data
        at = self.open_ended_at - start
        return bytes(0xFF if at <= index < at + 4 else byte for index, byte in enumerate(data))

    def at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from an offset on, and go back to the beginning."""
        self.seek(offset)
        data = self.read(count)
        self.seek(0)
        return data

    def restore(self) -> None:
        """Put the file object back to its former position."""
        with suppress(Exception):  # it belongs to the caller, and the sound has been read
            self._raw.seek(self._base)


@contextmanager
def opened(name: str, source: object) -> Iterator[Window]:
    """Open a path, bytes or a file object, which is put back to its former position in the end."""
    if isinstance(source, str | os.PathLike):
        with _open(name, source) as handle:
            yield _wrap(name, handle)
    elif isinstance(source, bytes | bytearray | memoryview):
        yield _wrap(name, io.BytesIO(source))
    elif callable(getattr(source, "read", None)):
        window = _wrap(name, cast(BinaryIO, source))
        try:
            yield window
        finally:
            window.restore()
    elif source is None:
        remedy = "Record or upload a clip, then try again."
        raise AudioError(name, found="no clip", expected="a recording or a file", remedy=remedy)
    else:
        expected = "a path, bytes, a binary file object or a tuple (rate, array)"
        found = f"an object of type {type(source).__name__}"
        raise AudioError(name, found=found, expected=expected, remedy="Pass one of these.")


def _open(name: str, source: str | os.PathLike[str]) -> BinaryIO:
    path = Path(os.fsdecode(source))
    remedy = "Check the path."
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            return path.open("rb")
        found = f"a {'folder' if stat.S_ISDIR(mode) else 'device or a pipe'} at {printable(path)}"
        remedy = "Name the files in it, each of which is a clip." if stat.S_ISDIR(mode) else remedy
    except (FileNotFoundError, NotADirectoryError):
        url = url_in(os.fsdecode(source))
        found = f"the address {printable(url)}" if url else f"no file at {printable(path)}"
        remedy = remedy_for(path, remedy)
    except (OSError, ValueError) as error:  # ValueError: the path holds a null byte or a lone surrogate
        found = f"a file that cannot be opened ({getattr(error, 'strerror', None) or error})"
    raise AudioError(name, found=found, expected="an audio file", remedy=remedy)


def _wrap(name: str, source: BinaryIO) -> Window:
    """Return a window on a file object, which may raise anything; read it into memory if it cannot seek."""
    found = "a file opened as text"
    try:
        if isinstance(source.read(0), bytes):
            window = _seekable(source)
            if window.size > 0:
                return window
            found = "nothing to read (0 bytes)"
    except Exception as fault:
        found = f"a file that cannot be read ({fault})"
    raise AudioError(
        name,
        found=found,
        expected="an audio file, or a file object opened in binary mode and standing at the beginning of the audio",
        remedy="Record or download the clip again; for a file object, call seek(0) first.",
    )


def _seekable(source: BinaryIO) -> Window:
    with suppress(AttributeError, OSError, ValueError):  # of which a file object that cannot seek raises one
        return Window(source)
    data = bytearray()
    while block := source.read(BLOCK):
        data += block
        if len(data) > STREAM_BYTES:
            raise ValueError(f"it holds more than {STREAM_BYTES} bytes")
    return Window(io.BytesIO(data))
