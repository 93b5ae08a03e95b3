"""Whether a clip can be used: checked as soon as it comes, with the reason as a note."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

from ser_fewshot import audio
from ser_fewshot.audio import MIN_SECONDS, SAMPLE_RATE, SHORT_SECONDS, Clip
from ser_fewshot.audio.voice_activity import is_voice, signal_to_background
from ser_fewshot.errors import AudioError, SilentError, TooLongError, TooShortError

from . import limits
from .quota import ACCOUNT
from .session import Code, Level, Note, Sound, Value

Given = str | os.PathLike[str] | tuple[int, NDArray[Any]] | None
"""What gradio hands over: the path of a dropped file, (rate in Hz, samples (n,) or (n, channels)), or nothing."""

RECORDING = "recording"
"""What a clip without a file is called."""
NOISY_BELOW = 15.0
"""dB from the background to the voice."""
_LONGEST_NAME = 60  # characters that fit beside a player


def check(given: Given, *, name: str | None = None, trim: bool = True) -> tuple[Sound | None, tuple[Note, ...]]:
    """Return the sound of a clip and what is odd about it, or None and why it is refused.

    Args:
        given: what gradio hands over.
        name: what to call it; by default the file's name, or RECORDING.
        trim: whether the model is given clips without the silence at their ends.
    """
    if given is None:
        return None, (note(Code.NO_CLIP, "error"),)
    name = _short(name or (RECORDING if isinstance(given, tuple) else Path(given).name))
    if size_of(given) > limits.CLIP_BYTES:
        return None, (note(Code.TOO_BIG, "error", name=name, most=limits.CLIP_BYTES // 2**20),)
    try:
        whole = audio.load(given, name=name, trim=False, max_seconds=limits.CLIP_SECONDS)
        clip = audio.load((SAMPLE_RATE, whole.waveform), name=name) if trim else whole
    except AudioError as error:
        return None, (_refusal(name, error),)
    if not ACCOUNT.hold(clip.waveform, whole.duration):
        return None, (note(Code.SERVER_FULL, "error", name=name),)
    notes = _oddities(whole)
    return Sound(Clip(clip.waveform, whole.name, whole.warnings), notes), notes


def note(code: Code, level: Level, **values: Value) -> Note:
    """Return a note with its values."""
    return Note(code, level, MappingProxyType(values))


def _oddities(whole: Clip) -> tuple[Note, ...]:
    """Return what is odd about a clip with the silence at its ends."""
    found = {
        audio.CLIPPED: note(Code.CLIPPED, "warning", name=whole.name),
        audio.SHORT: note(Code.SHORT, "warning", name=whole.name, least=SHORT_SECONDS),
    }
    odd = [found[warning] for warning in whole.warnings]
    if not is_voice(whole.waveform):
        odd.append(note(Code.NO_SPEECH, "warning", name=whole.name))
    elif (decibels := signal_to_background(whole.waveform)) < NOISY_BELOW:
        odd.append(note(Code.NOISY, "warning", name=whole.name, decibels=round(decibels)))
    return tuple(odd)


def _refusal(name: str, error: AudioError) -> Note:
    if isinstance(error, TooShortError):
        return note(Code.TOO_SHORT, "error", name=name, least=MIN_SECONDS)
    if isinstance(error, TooLongError):
        return note(Code.TOO_LONG, "error", name=name, most=limits.CLIP_SECONDS)
    if isinstance(error, SilentError):
        return note(Code.SILENT, "error", name=name)
    return note(Code.UNREADABLE, "error", name=name, detail=str(error))


def size_of(given: Given) -> int:
    """Return the bytes of a file; 0 for what is none, of which the audio door says what it is."""
    with suppress(OSError, ValueError):
        return os.stat(given).st_size if isinstance(given, str | os.PathLike) else 0  # noqa: PTH116 - any path
    return 0


def _short(name: str) -> str:
    """Return a name that can be shown: no controls that turn text around or break lines, and not too long."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name).strip()
    return shown[:_LONGEST_NAME] or RECORDING
