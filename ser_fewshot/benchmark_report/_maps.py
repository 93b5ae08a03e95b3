"""Maps of the clips as a model hears them, each corpus by emotion, with some clips that can be played."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from ser_fewshot.benchmark_report._page import Block, Figure, Section
from ser_fewshot.benchmark_report._sounds import may_be_shared, sounds, taken_in_turn
from ser_fewshot.checkpoints import Model
from ser_fewshot.corpora import Utterance
from ser_fewshot.frontends import FeatureCache, extract
from ser_fewshot.learners import embed_clips
from ser_fewshot.report import looks, on_canvas, render

SHOWN = 25
"""Clips of each emotion of a corpus."""
PLAYED = 3
"""Of these, how many can be played."""

_WIDTH, _HEIGHT, _MARGIN = 560, 400, 16

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mapped:
    """Clips with their places.

    Attributes:
        clips: (n,) of one corpus.
        plane: (n, 2) principal components of their embeddings.
        share: of the variance that the two hold, in [0, 1].
    """

    clips: tuple[Utterance, ...]
    plane: Array
    share: float


def chosen(utterances: Iterable[Utterance]) -> dict[str, list[list[Utterance]]]:
    """Return some clips of each emotion of each corpus, its speakers in turn, by the order of their ids."""
    found: dict[str, dict[str, dict[str, list[Utterance]]]] = {}
    for clip in sorted(utterances, key=lambda clip: clip.id):
        if clip.emotion is not None:
            speakers = found.setdefault(clip.corpus, {}).setdefault(clip.emotion, {})
            speakers.setdefault(clip.speaker or "", []).append(clip)
    return {
        corpus: [taken_in_turn(emotions[name].values())[:SHOWN] for name in sorted(emotions)]
        for corpus, emotions in sorted(found.items())
    }


def mapped(
    model: Model,
    clips: Sequence[Utterance],
    *,
    cache: FeatureCache | None = None,
    track: Callable[[Sequence[Utterance]], Iterable[Utterance]] = iter,
) -> Mapped:
    """Return where a model hears clips: the two directions in which their embeddings differ most.

    A learner without embeddings is shown by its average frames.

    Raises:
        SettingsError: the cache cannot be written.
    """
    features = extract(model.frontend, clips, cache=cache, normalization=model.config.normalization, track=track)
    kept = embed_clips(model.learner, features.clips)
    x = np.array([(clip if clip.ndim == 1 else clip.mean(0)).numpy() for clip in kept], dtype=np.float64)
    if min(x.shape, default=0) < 2:
        return Mapped(features.utterances, np.zeros((len(x), 2)), 0.0)
    reduced = PCA(2, svd_solver="full").fit(x)
    return Mapped(features.utterances, reduced.transform(x), float(reduced.explained_variance_ratio_.sum()))


def maps(found: Mapping[str, Mapped], *, play: bool, model: str) -> Section:
    """Return the section.

    Args:
        found: the map of each corpus.
        play: whether clips of corpora that may not be passed on can be played too.
        model: what heard them, in words.
    """
    heard = {corpus: play or may_be_shared(corpus) for corpus in found}
    data = sounds(taken_in_turn(part for corpus, item in found.items() if heard[corpus] for part in _played(item)))
    return Section(
        "maps",
        "Maps",
        f"Clips as {model} hears them, up to {SHOWN} of each emotion: those that sound alike to it stand close "
        "together. A ring marks a clip that can be played: choose it.",
        tuple(
            _block(corpus, item, data, heard=heard[corpus], open=not n)
            for n, (corpus, item) in enumerate(found.items())
        ),
    )


def _block(corpus: str, item: Mapped, data: Mapping[str, str], *, heard: bool, open: bool) -> Block:
    labels = sorted({clip.emotion or "" for clip in item.clips})
    upwards = item.plane * [1, -1]  # SVG counts downwards
    places = on_canvas(upwards, width=_WIDTH, height=_HEIGHT, margin=_MARGIN) if len(upwards) else upwards
    numbers = {name: number for number, name in enumerate(data)}
    drawing = render(
        "benchmark_map.html.j2",
        corpus=corpus,
        marks=list(zip(places.tolist(), item.clips, strict=True)),
        sounds=data,
        numbers=numbers,
        looks=looks(labels),
        width=_WIDTH,
        height=_HEIGHT,
    )
    caption = (
        f"{len(item.clips)} clips of {corpus}, in the two directions in which they differ most "
        f"({100 * item.share:.0f} % of the variance)"
    )
    return Block(corpus, notes=_notes(corpus, heard=heard), figures=(Figure(caption, drawing),), open=open)


def _notes(corpus: str, *, heard: bool) -> tuple[str, ...]:
    if not heard:
        return (
            "No clip can be played: the licence does not say that copies may be passed on. --play embeds some, for "
            "you alone.",
        )
    if may_be_shared(corpus):
        return ()
    return (
        f"This page holds clips of {corpus}, whose licence does not say that copies may be passed on: keep the page "
        "to yourself.",
    )


def _played(item: Mapped) -> list[list[Utterance]]:
    """Return the clips of each emotion that are to be played."""
    by_emotion: dict[str, list[Utterance]] = {}
    for clip in item.clips:
        by_emotion.setdefault(clip.emotion or "", []).append(clip)
    return [clips[:PLAYED] for clips in by_emotion.values()]
