"""Maps of clip embeddings by emotion, with clips that can be played where their licence allows copies."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from ser_fewshot import audio, corpora
from ser_fewshot.benchmark.html import MapMark, draw_map, principal_plane
from ser_fewshot.benchmark.report.charts import Figure
from ser_fewshot.benchmark.report.table import Block
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import AudioError, SettingsError
from ser_fewshot.frontends import FeatureCache, Track, extract
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model

SHOWN, PLAYED = 25, 3
"""Clips of each emotion on the map of a corpus, and how many of these can be played."""
MAX_BYTES = 6_000_000
"""Of all sounds of a page, as data URIs."""
MAX_SECONDS = 8.0
"""Of one sound."""
SHAREABLE = ("CC-BY", "CC0-", "ODbL-")
"""Beginnings of the licences, as SPDX writes them, that let everybody pass on copies, at least unpaid and with credit.

Another format is no adaptation: section 2(a)(4) of the Creative Commons licences, version 4.0.
"""


@dataclass(frozen=True, eq=False)
class ClipMap:
    """(n,) clips of a corpus, sorted by emotion, and the (n, 2) first principal components of their embeddings.

    `share` is that of the variance which these hold, in [0, 1].
    """

    clips: tuple[Utterance, ...]
    plane: NDArray[np.float64]
    share: float


def select_clips(utterances: Iterable[Utterance]) -> dict[str, list[Utterance]]:
    """Return up to SHOWN clips of each emotion by corpus, those of all speakers in turn."""
    clips = sorted((clip for clip in utterances if clip.emotion), key=lambda clip: clip.id)
    columns = {name: [getattr(clip, name) or "" for clip in clips] for name in ("corpus", "emotion", "speaker")}
    table = pd.DataFrame({**columns, "clip": clips})
    table["turn"] = table.groupby(["corpus", "emotion", "speaker"]).cumcount()
    table = table.sort_values(["corpus", "emotion", "turn"], kind="stable")
    shown = table.groupby(["corpus", "emotion"]).head(SHOWN)
    return {corpus: list(found) for corpus, found in shown.groupby("corpus")["clip"]}


def map_clips(
    model: Model, clips: Sequence[Utterance], *, cache: FeatureCache | None = None, track: Track = iter
) -> ClipMap:
    """Embed clips with a model, or average their frames where its learner has no embeddings, and project them.

    Raises:
        SettingsError: the cache cannot be written.
    """
    features = extract(model.frontend, clips, cache=cache, normalization=model.config.normalization, track=track)
    kept = embed_clips(model.learner, features.clips)
    x = np.array([(clip if clip.ndim == 1 else clip.mean(0)).numpy() for clip in kept])
    return ClipMap(features.utterances, *(principal_plane(x) if len(x) else (np.zeros((0, 2)), 0.0)))


def map_blocks(found: Mapping[str, ClipMap], *, play: bool) -> list[Block]:
    """Return a map per corpus; `play` embeds clips of those too that may not be passed on."""
    shown = {corpus: item for corpus, item in found.items() if item.clips}
    by_emotion = [
        list(clips)[:PLAYED]
        for corpus, item in shown.items()
        if play or may_be_shared(corpus)
        for _, clips in groupby(item.clips, key=lambda clip: clip.emotion)
    ]
    in_turn = [clip for turn in zip_longest(*by_emotion) for clip in turn if clip]
    sounds = {clip.id: (f"clip-{n}", uri) for n, (clip, uri) in enumerate(encoded(in_turn))}
    return [_block(corpus, item, sounds, play=play) for corpus, item in shown.items()]


def may_be_shared(corpus: str) -> bool:
    """Return whether the licence of a corpus explicitly allows copies of its clips."""
    try:
        return corpora.card(corpus).licence.startswith(SHAREABLE)
    except SettingsError:  # a corpus without a plug-in
        return False


def encoded(clips: Iterable[Utterance]) -> list[tuple[Utterance, str]]:
    """Return readable clips with their data URIs, up to MAX_BYTES."""
    kept: list[tuple[Utterance, str]] = []
    for clip in clips:
        try:
            kept.append((clip, _data_uri(clip)))
        except AudioError:
            continue
        if sum(len(uri) for _, uri in kept) > MAX_BYTES:
            return kept[:-1]
    return kept


def _block(corpus: str, item: ClipMap, sounds: Mapping[str, tuple[str, str]], *, play: bool) -> Block:
    names = {clip.id: f"{clip.emotion}, {clip.speaker}, {clip.id}" for clip in item.clips}
    clips = {player: (names[key], uri) for key, (player, uri) in sounds.items() if key in names}
    players = {key: player for key, (player, _) in sounds.items()}
    marks = [MapMark(clip.emotion or "", names[clip.id], player=players.get(clip.id, "")) for clip in item.clips]
    caption = (
        f"{len(marks)} clips of {corpus} on the first two principal components of their embeddings "
        f"({100 * item.share:.0f} % of the variance)"
    )
    note = "No clip can be played, as the licence does not say that copies may be passed on; with --play some can."
    if play:
        note = f"The licence of {corpus} does not say that copies may be passed on: keep the page to yourself."
    notes = [] if may_be_shared(corpus) else [note]
    return Block(corpus, notes, figures=[Figure(caption, draw_map(item.plane, marks))], clips=clips)


def _data_uri(clip: Utterance) -> str:
    """Return the beginning of a clip as Opus in Ogg: some 4 kB per second, and every browser plays it."""
    waveform = audio.load(clip.path, start=clip.start, end=clip.end).waveform[: round(MAX_SECONDS * audio.SAMPLE_RATE)]
    out = io.BytesIO()
    soundfile.write(out, waveform, audio.SAMPLE_RATE, format="OGG", subtype="OPUS")
    return f"data:audio/ogg;base64,{base64.b64encode(out.getvalue()).decode()}"
