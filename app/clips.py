"""Check a clip as soon as it arrives: a sound, with warnings, or the reason why it is refused."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_fewshot import audio
from ser_fewshot.audio import MIN_SECONDS, SAMPLE_RATE, SHORT_SECONDS, Clip
from ser_fewshot.audio.voice_activity import is_voice, signal_to_background
from ser_fewshot.errors import AudioError, SilentError, TooLongError, TooShortError

from . import limits
from .notes import Code, Note, note

ClipInput = str | os.PathLike[str] | tuple[int, NDArray[Any]] | None
"""From gradio: the path of a file, (rate in Hz, samples (n,) or (n, channels)), or nothing."""

RECORDING = "recording"
"""The name of a clip without a file."""
NOISY_BELOW = 15.0
"""dB from the background to the voice."""
_LONGEST_NAME = 60  # characters that fit beside a player


@dataclass(frozen=True, eq=False)
class Sound:
    """A clip that passed the checks: its samples, its name, which is unique in a session, and warnings."""

    clip: Clip
    notes: tuple[Note, ...] = ()

    @property
    def playable(self) -> tuple[int, NDArray[np.int16]]:
        """(rate in Hz, samples (n,)) for an audio player; integers, since gradio changes the level of floats."""
        return SAMPLE_RATE, (self.clip.waveform.clip(-1, 1) * np.iinfo(np.int16).max).astype(np.int16)


def check(given: ClipInput, *, name: str | None = None, trim: bool = True) -> tuple[Sound | None, tuple[Note, ...]]:
    """Return the sound of a clip and its warnings, or None and why it is refused.

    Its name is that of its file, or RECORDING, by default; `trim` removes the silence at its ends.
    """
    if given is None:
        return None, (note(Code.NO_CLIP),)
    name = _printable(name or (RECORDING if isinstance(given, tuple) else Path(given).name))
    if size_of(given) > limits.CLIP_BYTES:
        return None, (note(Code.TOO_BIG, name=name, most=limits.CLIP_BYTES // 2**20),)
    try:
        whole = audio.load(given, name=name, trim=False, max_seconds=limits.CLIP_SECONDS)
        clip = audio.load((SAMPLE_RATE, whole.waveform), name=name) if trim else whole
    except AudioError as error:
        return None, (_refusal(name, error),)
    if not limits.SOUND_MEMORY.reserve(clip.waveform, whole.duration):
        return None, (note(Code.SERVER_FULL, name=name),)
    notes = _warnings(whole)
    return Sound(Clip(clip.waveform, whole.name, whole.warnings), notes), notes


def size_of(given: ClipInput) -> int:
    """Return the bytes of a file; 0 for anything else, also for a file that cannot be read."""
    with suppress(OSError, ValueError):
        return os.stat(given).st_size if isinstance(given, str | os.PathLike) else 0  # noqa: PTH116 - any path
    return 0


def _warnings(whole: Clip) -> tuple[Note, ...]:
    """Return the warnings on a clip that still has the silence at its ends."""
    notes = {
        audio.CLIPPED: note(Code.CLIPPED, name=whole.name),
        audio.SHORT: note(Code.SHORT, name=whole.name, least=SHORT_SECONDS),
    }
    warnings = [notes[warning] for warning in whole.warnings]
    if not is_voice(whole.waveform):
        warnings.append(note(Code.NO_SPEECH, name=whole.name))
    elif (decibels := signal_to_background(whole.waveform)) < NOISY_BELOW:
        warnings.append(note(Code.NOISY, name=whole.name, decibels=round(decibels)))
    return tuple(warnings)


def _refusal(name: str, error: AudioError) -> Note:
    if isinstance(error, TooShortError):
        return note(Code.TOO_SHORT, name=name, least=MIN_SECONDS)
    if isinstance(error, TooLongError):
        return note(Code.TOO_LONG, name=name, most=limits.CLIP_SECONDS)
    if isinstance(error, SilentError):
        return note(Code.SILENT, name=name)
    return note(Code.UNREADABLE, name=name, detail=str(error))


def _printable(name: str) -> str:
    """Return a name to show: without control characters that break lines or reverse text, and not too long."""
    shown = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in name).strip()
    return shown[:_LONGEST_NAME] or RECORDING
