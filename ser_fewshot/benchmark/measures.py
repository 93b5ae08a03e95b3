"""Measures of the predictions for a list of episodes, beside the score: each function makes one part of a record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ser_fewshot import corpora
from ser_fewshot.benchmark.protocols import Question
from ser_fewshot.benchmark.records import Audit, Bin, Licence, OpenSet, Reliability
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.calibration import reliability as reliability_of
from ser_fewshot.evaluation.open_set import Rejection, pooled
from ser_fewshot.evaluation.runner import Predictions

CURVE_POINTS = 50
OPEN_SET_EPISODES = 200
"""Adapted again to all of them would double the time; 200 give an area under the curve within a point or two."""

Array = NDArray[np.float64]


def tallies(found: Sequence[Predictions], clips: Mapping[str, Utterance]) -> dict[str, dict[str, list[int]]]:
    """Return right predictions and all, by speaker, gender and language of the query; unknown ones are left out."""
    counts: dict[str, dict[str, list[int]]] = {"speaker": {}, "gender": {}, "language": {}}
    for one in found:
        right = (one.classes == one.y.numpy()).tolist()
        for name, hit in zip((name for part in one.episode.query for name in part), right, strict=True):
            clip = clips[name]
            for by, value in (("speaker", clip.speaker_key), ("gender", clip.gender), ("language", clip.language)):
                if value is not None:
                    tally = counts[by].setdefault(value, [0, 0])
                    tally[0] += hit
                    tally[1] += 1
    return {by: dict(sorted(of.items())) for by, of in counts.items()}


def reliability(found: Sequence[Predictions], calibration: Calibration | None) -> Reliability | None:
    """Return whether predictions are right as often as they are said to be; None where every episode diverged."""
    if not found:
        return None
    bins = reliability_of(found, calibration)
    rows = zip(bins.count.tolist(), bins.confidence.tolist(), bins.accuracy.tolist(), strict=True)
    return Reliability(
        ece=bins.ece,
        calibrated=calibration is not None,
        bins=tuple(Bin(count=count, confidence=sure, accuracy=right) for count, sure, right in rows),
    )


def open_set(found: Sequence[Predictions], calibration: Calibration | None) -> OpenSet | None:
    """Return how well clips of a class that is not enrolled are told apart; None without any such episode."""
    if not found:
        return None
    known, right, unknown = pooled(found, calibration)
    x, y = _curve(known, right, unknown)
    return OpenSet(
        episodes=len(found),
        calibrated=calibration is not None,
        **asdict(Rejection.of(known, right, unknown)),
        accepted_unknown=x,
        named_known=y,
    )


def _curve(known: Array, right: NDArray[np.bool_], unknown: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the share of unknown clips accepted, and that of known ones accepted and rightly named, by threshold."""
    ordered = np.sort(unknown)
    ranks = np.unique(np.linspace(0, len(ordered), CURVE_POINTS - 1).round().astype(int))
    thresholds = np.concatenate([[-np.inf], ordered])[ranks]
    accepted = [float(np.mean(unknown <= threshold)) for threshold in thresholds]
    named = [float(np.mean(right & (known <= threshold))) for threshold in thresholds]
    # Beyond the last unknown clip, all that are left are known ones.
    return (*accepted, 1.0), (*named, float(right.mean()))


def audit(
    question: Question,
    episodes: Sequence[Episode],
    clips: Mapping[str, Utterance],
    *,
    learns: bool,
    apart: bool = True,
) -> Audit:
    """Return what support and query, and training and test, have in common.

    Args:
        question: the split, and what it promises.
        episodes: what was asked.
        clips: by id, all that the episodes name.
        learns: whether the method saw the training side at all.
        apart: whether it learned from nothing but that: no ceiling, no model trained on the corpus.
    """
    shared = {"clips": 0, "speakers": 0, "sentences": 0}
    for episode in episodes:
        support, query = ([clips[name] for part in side for name in part] for side in (episode.support, episode.query))
        for what, count in _shared(support, query).items():
            shared[what] += count
    across = _shared(question.train if learns else (), question.test)
    promised = ["support_query_clips", *(["train_test_clips", "train_test_speakers"] if apart else [])]
    promised += ["support_query_speakers"] if question.spec.query_speaker == "disjoint" else []
    promised += ["support_query_sentences"] if question.spec.query_text == "different" else []
    return Audit(
        **{f"support_query_{what}": count for what, count in shared.items()},
        **{f"train_test_{what}": count for what, count in across.items()},
        promised=tuple(sorted(promised)),
    )


def _shared(first: Iterable[Utterance], second: Iterable[Utterance]) -> dict[str, int]:
    one, other = list(first), list(second)
    sides: dict[str, tuple[set[str | None], set[str | None]]] = {
        "clips": ({clip.id for clip in one}, {clip.id for clip in other}),
        "speakers": ({clip.speaker_key for clip in one}, {clip.speaker_key for clip in other}),
        "sentences": ({clip.text_key for clip in one}, {clip.text_key for clip in other}),
    }
    return {what: len((left & right) - {None}) for what, (left, right) in sides.items()}


def licences(names: Iterable[str]) -> tuple[Licence, ...]:
    """Return the terms of the corpora that took part; of one that no plug-in knows, that nothing is known."""
    return tuple(_licence(name) for name in sorted(set(names)))


def _licence(corpus: str) -> Licence:
    try:
        card = corpora.card(corpus)
    except SettingsError:
        return Licence(
            corpus=corpus, title=corpus, language="und", licence="unknown", commercial_use=None, citation="", url=""
        )
    return Licence(
        corpus=corpus,
        title=card.title,
        language=card.language,
        licence=card.licence,
        commercial_use=card.commercial_use,
        citation=card.citation,
        url=card.url,
    )
