"""Decoding a file with soundfile, after checking that it holds as much sound as its header states."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from ser_fewshot.audio.source import BLOCK, Window, check_rate
from ser_fewshot.errors import AudioError

Seconds = float
TOLERANCE: Seconds = 0.05
"""What may be missing at the end: codecs and annotations round to frames of 20 to 50 ms."""
_OPEN_ENDED = 0x7F000000  # a chunk size from here on means "to the end", as ffmpeg and sox write to pipes
_MAX_CHUNKS = 1000  # before the sound: more than any recorder writes
_NIST_HEADER = 1024  # bytes
_OGG_PAGE = 27 + 255 + 255 * 255  # bytes of the longest page (RFC 3533)
_SOUNDS = rb"RIFF|RIFX|RF64|FORM|fLaC|OggS|ID3|\.snd|caff|NIST|\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]"
_FOREIGN = {
    rb".{4}ftyp": "an MP4, M4A or 3GP file",
    rb"\x1aE\xdf\xa3": "a WebM or Matroska file",
    rb"0&\xb2u": "a WMA file",
    rb"\xff[\xf0\xf1\xf8\xf9]": "an AAC file",
    rb"PK\x03\x04": "a ZIP archive",
    rb"[\t\n\r -~]{12}": "a text file",
}
AGAIN = "Record, export or download it again."
_CONVERT = "Other formats can be converted, for instance: ffmpeg -i CLIP clip.wav"
# soundfile opens one file at a time. A process forked meanwhile would find its lock taken for ever, so a fork waits.
_OPENING = getattr(sf.SoundFile, "_sf_error_lock", None)
if _OPENING is not None and hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_OPENING.acquire, after_in_parent=_OPENING.release, after_in_child=_OPENING.release)


def truncated(name: str, found: str) -> AudioError:
    """Return the error of a file that holds less than it should."""
    return AudioError(name, found=f"a truncated file: {found}", expected="a complete file", remedy=AGAIN)


class Stream(sf.SoundFile):  # type: ignore[misc]  # it ships no types
    """soundfile's decoder, read from front to back."""

    def seekable(self) -> bool:
        """Keep soundfile from seeking after every read, which fails on FLAC of unknown length."""
        return False

    @property
    def total(self) -> int | None:
        """The frames; None where the header lacks them (streamed FLAC) or may guess (MP3)."""
        return None if self.format == "MP3" or self.frames >= 2**62 else int(self.frames)

    def blocks(self, first: int, count: int) -> Iterator[NDArray[np.float32]]:
        """Yield blocks of (frames, channels), `count` frames in all, or fewer where the file ends."""
        # Vorbis and MP3 give other samples after a seek: https://github.com/libsndfile/libsndfile/issues/885
        if super().seekable() and self.total is not None and self.subtype != "VORBIS":
            self.seek(first)
        else:
            for _ in self._read(first):
                pass
        yield from self._read(count)

    def _read(self, count: int) -> Iterator[NDArray[np.float32]]:
        size = max(1, BLOCK // self.channels)
        while count and len(block := self.read(min(count, size), dtype="float32", always_2d=True)):
            count -= len(block)
            yield block


@contextmanager
def translated(name: str, window: Window) -> Iterator[None]:
    """Turn errors of libsndfile into AudioError; an error of the source itself comes first."""
    failure: Exception | None = None
    try:
        yield
    except (sf.LibsndfileError, AudioError) as error:
        failure = error
    if window.fault is not None:
        found = f"a file that cannot be read to its end ({window.fault})"
        raise AudioError(name, found=found, expected="a readable file", remedy=AGAIN) from window.fault
    if isinstance(failure, sf.LibsndfileError):
        found = f"damaged or incomplete audio ({failure.error_string.strip('. ')})"
        raise AudioError(name, found=found, expected="a complete audio file", remedy=f"{AGAIN} {_CONVERT}") from failure
    if failure is not None:
        raise failure


@contextmanager
def decoder(name: str, window: Window) -> Iterator[Stream]:
    """Open a decoder after checking the header."""
    with translated(name, window):
        stated, present = _bytes_of_sound(name, window)
        with Stream(window) as audio:
            check_rate(name, audio.samplerate)
            lost = stated - present
            if lost > 0 and (present <= 0 or audio.frames / audio.samplerate * lost / present > TOLERANCE):
                raise truncated(name, f"{max(0, present)} of {stated} bytes of sound")
            if audio.frames == 0:
                raise AudioError(name, found="no samples", expected="sound", remedy=AGAIN)
            yield audio


def _bytes_of_sound(name: str, window: Window) -> tuple[int, int]:
    """Refuse what is not audio; return the bytes of sound that the header states and that are there, or (0, 0)."""
    head = window.at(0, 12)
    if not re.match(_SOUNDS, head):
        foreign = (text for pattern, text in _FOREIGN.items() if re.match(pattern, head, re.DOTALL))
        found, remedy = next(foreign, "a file that is not audio"), f"Choose an audio file. {_CONVERT}"
        raise AudioError(name, found=found, expected="WAV, FLAC, OGG, Opus, MP3 or AIFF", remedy=remedy)
    if head.startswith(b"OggS"):
        _check_ogg(name, window)
    if head.startswith((b"ID3", b"\xff")):
        _check_mp3(name, window, head)
    if head.startswith((b"RIFF", b"RIFX", b"RF64", b"FORM")):
        return _data_chunk(window, head)
    if head.startswith(b".snd"):
        size = int.from_bytes(head[8:12], "big")
        return size if size < _OPEN_ENDED else 0, window.size - int.from_bytes(head[4:8], "big")
    if head.startswith(b"NIST"):
        sizes = re.findall(rb"(?:sample_count|sample_n_bytes|channel_count) -i (\d+)", window.at(0, _NIST_HEADER))
        return math.prod(int(size) for size in sizes), window.size - _NIST_HEADER
    return 0, 0


def _check_ogg(name: str, window: Window) -> None:
    """Refuse OGG whose last page is cut or is not flagged as the last (RFC 3533, section 6)."""
    tail = window.at(max(0, window.size - _OGG_PAGE), _OGG_PAGE)
    page = tail[max(0, tail.rfind(b"OggS")) :].ljust(27, b"\0")
    body = 27 + page[26]
    if not page[5] & 4 or len(page) < body + sum(page[27:body]):
        raise truncated(name, "its last page is missing")


def _check_mp3(name: str, window: Window, head: bytes) -> None:
    """Refuse MP3 with fewer bytes than its Xing or Info header counts, by more than two MPEG frames (some 50 ms)."""
    start = 0
    if head.startswith(b"ID3"):  # the size of the tag is four bytes of seven bits (ID3v2.4, section 3.1)
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    tag = re.search(rb"(?:Xing|Info)\0\0\0[\x03\x07\x0b\x0f](.{4})(.{4})", window.at(start, 4096), re.DOTALL)
    if tag:
        frames, stated = (int.from_bytes(field, "big") for field in tag.groups())
        present = window.size - start
        if frames * (stated - present) > 2 * stated:
            raise truncated(name, f"{present} of {stated} bytes of sound")


def _data_chunk(window: Window, head: bytes) -> tuple[int, int]:
    """Return the bytes of sound that WAV, RF64 or AIFF states and that are there; (0, 0) where it is open-ended."""
    order: Literal["little", "big"] = "little" if head[:4] in (b"RIFF", b"RF64") else "big"
    long_size, offset = 0, 12
    for _ in range(_MAX_CHUNKS):
        chunk = window.at(offset, 24)
        size = int.from_bytes(chunk[4:8], order)
        if chunk[:4] in (b"data", b"SSND"):
            present = window.size - offset - 8
            after = window.at(offset + 8, 8)
            chunk_follows = re.match(rb"[ -~]{4}", after) and int.from_bytes(after[4:], order) <= present - 8
            if size == 0 and not chunk_follows:  # the writer did not fill in the size
                window.open_ended_at = offset + 4
            if head[:4] == b"RF64" and size == 2**32 - 1:
                return long_size, present
            return (size, present) if size < _OPEN_ENDED else (0, 0)
        if chunk[:4] == b"ds64":
            long_size = int.from_bytes(chunk[16:24], order)
        offset += 8 + size + size % 2
    return 0, 0
