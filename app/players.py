"""Clips for the page: small players and waveforms that live in the page itself, so that no file of them is written."""

from __future__ import annotations

import base64
import io
from weakref import WeakKeyDictionary

import numpy as np
import soundfile

from .session import Sound

BARS = 48
"""Of a waveform."""
_QUIET = 0.03  # the height of a bar where there is nothing to hear, so that the line does not break

_players: WeakKeyDictionary[Sound, str] = WeakKeyDictionary()  # gone with the clip


def player(sound: Sound) -> str:
    """Return a clip as the address of an audio element: MP3, which every browser plays, about 10 kB a clip."""
    if sound not in _players:
        rate, samples = sound.playable
        encoded = io.BytesIO()
        soundfile.write(encoded, samples, rate, format="MP3")
        _players[sound] = "data:audio/mpeg;base64," + base64.b64encode(encoded.getvalue()).decode("ascii")
    return _players[sound]


def waveform(sound: Sound) -> str:
    """Return the peaks of a clip as an SVG path, BARS wide and from -1 to 1 high, as loud as it is."""
    peaks = [float(np.abs(part).max(initial=_QUIET)) for part in np.array_split(sound.clip.waveform, BARS)]
    return "".join(f"M{x + 0.5} {-min(peak, 1):.2f}V{min(peak, 1):.2f}" for x, peak in enumerate(peaks))
