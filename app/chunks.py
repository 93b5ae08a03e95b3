"""The next samples of a microphone: bounded in bytes, seconds and rate before they are used, and decoded by no other.

They come as a file for each chunk. `ser_fewshot.audio.load` is for whole clips: it refuses silence and what is short.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.audio.decode import decoder
from ser_fewshot.audio.source import opened
from ser_fewshot.errors import AudioError

from . import limits
from .clips import RECORDING, Given, note, size_of
from .session import Code, Note

Samples = tuple[int, NDArray[Any]]
"""(rate in Hz, samples (n,) or (n, channels))."""


def taken(chunk: Given) -> Samples | Note | None:
    """Return the samples of a chunk, why it is refused, or None where there are none; of a file, channels are mixed."""
    if chunk is None:
        return None
    if size_of(chunk) > limits.CLIP_BYTES:
        return note(Code.TOO_BIG, "error", name=RECORDING, most=limits.CLIP_BYTES // 2**20)
    if isinstance(chunk, tuple):
        rate, samples = chunk
        return _refusal(rate, len(samples)) or ((rate, samples) if len(samples) else None)
    try:
        with opened(RECORDING, chunk) as window, decoder(RECORDING, window) as audio:
            rate, most = audio.samplerate, round(limits.CLIP_SECONDS * audio.samplerate)
            if (refusal := _refusal(rate, audio.total or 0)) is not None:
                return refusal
            samples = np.concatenate([block.mean(axis=1) for block in audio.blocks(0, most + 1)])
    except AudioError as error:
        return note(Code.UNREADABLE, "error", name=RECORDING, detail=str(error))
    return _refusal(rate, len(samples)) or (rate, samples)


def _refusal(rate: int, count: int) -> Note | None:
    """Return why so many samples at a rate in Hz are not taken; None if they are."""
    least, most = limits.MICROPHONE_HERTZ
    if not least <= rate <= most:
        return note(Code.BAD_RATE, "error", rate=rate, least=least, most=most)
    if count > limits.CLIP_SECONDS * rate:
        return note(Code.TOO_LONG, "error", name=RECORDING, most=limits.CLIP_SECONDS)
    return None
