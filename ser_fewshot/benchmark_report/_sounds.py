"""Clips that can be heard in the page, and which may be: a page is passed on, and with it what it holds."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence

import soundfile

from ser_fewshot import audio, corpora
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import AudioError, SettingsError

MOST_BYTES = 6_000_000
"""Of all sounds of a page, as they stand in it."""
LONGEST_SECONDS = 8.0
_SHAREABLE = ("CC-BY", "CC0-", "ODbL-")
"""Licences that let everybody pass on copies, at least unpaid, who name their source; in SPDX's spelling.

Another format is no adaptation: section 2(a)(4) of the Creative Commons licences, version 4.0.
"""


def may_be_shared(corpus: str) -> bool:
    """Whether the licence of a corpus lets others pass its clips on; one that does not settle it does not."""
    try:
        return corpora.card(corpus).licence.startswith(_SHAREABLE)
    except SettingsError:  # a corpus of the user's own
        return False


def sounds(clips: Sequence[Utterance]) -> dict[str, str]:
    """Return data URIs of clips by id, in their order until MOST_BYTES are full; what cannot be read is left out."""
    kept: dict[str, str] = {}
    room = MOST_BYTES
    for clip in clips:
        try:
            uri = _data_uri(clip)
        except AudioError:
            continue
        room -= len(uri)
        if room < 0:
            break
        kept[clip.id] = uri
    return kept


def taken_in_turn(groups: Iterable[Sequence[Utterance]]) -> list[Utterance]:
    """Return the first clip of each group, then the second of each, and so on: no group fills the room alone."""
    lists = [list(group) for group in groups]
    longest = max(map(len, lists), default=0)
    return [clips[turn] for turn in range(longest) for clips in lists if turn < len(clips)]


def _data_uri(clip: Utterance) -> str:
    """Return the beginning of a clip as Opus in Ogg: some 4 kB a second, and every browser plays it."""
    heard = audio.load(clip.path, start=clip.start, end=clip.end)
    out = io.BytesIO()
    waveform = heard.waveform[: round(LONGEST_SECONDS * audio.SAMPLE_RATE)]
    soundfile.write(out, waveform, audio.SAMPLE_RATE, format="OGG", subtype="OPUS")
    return f"data:audio/ogg;base64,{base64.b64encode(out.getvalue()).decode()}"
