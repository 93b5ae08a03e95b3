"""Measures of the predictions for a list of episodes, beside the score: each function returns one part of a record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from ser_fewshot import corpora
from ser_fewshot.benchmark.protocols import Case
from ser_fewshot.benchmark.record import Audit, Bin, Licence, OpenSet, Reliability
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation.calibration import Calibration
from ser_fewshot.evaluation.open_set import Rejection, pooled
from ser_fewshot.evaluation.reliability import reliability as reliability_of
from ser_fewshot.evaluation.runner import Predictions

CURVE_POINTS = 50
OPEN_SET_EPISODES = 200
"""All of them would double the time; 200 give an area under the curve within a point or two."""

Array = NDArray[np.float64]


def tallies(found: Sequence[Predictions], clips: Mapping[str, Utterance]) -> dict[str, dict[str, list[int]]]:
    """Return correct predictions and all, by speaker, gender and language of the query; unknown ones are left out."""
    counts: dict[str, dict[str, list[int]]] = {"speaker": {}, "gender": {}, "language": {}}
    for one in found:
        correct = (one.classes == one.y.numpy()).tolist()
        for name, hit in zip((name for part in one.episode.query for name in part), correct, strict=True):
            clip = clips[name]
            for by, value in (("speaker", clip.speaker_key), ("gender", clip.gender), ("language", clip.language)):
                if value is not None:
                    tally = counts[by].setdefault(value, [0, 0])
                    tally[0] += hit
                    tally[1] += 1
    return {by: dict(sorted(of.items())) for by, of in counts.items()}


def reliability(found: Sequence[Predictions], calibration: Calibration | None) -> Reliability | None:
    """Return ECE and reliability diagram; None where every episode diverged."""
    if not found:
        return None
    bins = reliability_of(found, calibration)
    rows = zip(bins.count.tolist(), bins.confidence.tolist(), bins.accuracy.tolist(), strict=True)
    diagram = tuple(Bin(count=count, confidence=confidence, accuracy=accuracy) for count, confidence, accuracy in rows)
    return Reliability(ece=bins.ece, calibrated=calibration is not None, bins=diagram)


def open_set(found: Sequence[Predictions], calibration: Calibration | None) -> OpenSet | None:
    """Return how well clips of classes out of the support are detected; None without any such episode."""
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
    """Return shares of unknown clips accepted, and of known ones accepted and correctly classified, by threshold."""
    ordered = np.sort(unknown)
    ranks = np.unique(np.linspace(0, len(ordered), CURVE_POINTS - 1).round().astype(int))
    thresholds = np.concatenate([[-np.inf], ordered])[ranks]
    accepted = [float(np.mean(unknown <= threshold)) for threshold in thresholds]
    named = [float(np.mean(right & (known <= threshold))) for threshold in thresholds]
    # Beyond the last unknown clip, all that are left are known ones.
    return (*accepted, 1.0), (*named, float(right.mean()))


def audit(case: Case, episodes: Sequence[Episode], *, trained: bool, independent: bool = True) -> Audit:
    """Return what support and query, and training and test, have in common.

    A method is `trained` if it used the training side at all, and `independent` if it was trained on nothing else: no
    ceiling, no model trained on the corpus.
    """
    clips = {clip.id: clip for clip in case.test}
    shared: Counter[str] = Counter()
    for episode in episodes:
        support, query = ([clips[name] for part in side for name in part] for side in (episode.support, episode.query))
        shared.update(_shared("support_query", support, query))
    promised = ["support_query_clips", *(["train_test_clips", "train_test_speakers"] if independent else [])]
    promised += ["support_query_speakers"] if case.spec.query_speaker == "disjoint" else []
    promised += ["support_query_sentences"] if case.spec.query_text == "different" else []
    across = _shared("train_test", case.train if trained else (), case.test)
    return Audit(**shared, **across, promised=tuple(sorted(promised)))


def _shared(sides: str, first: Sequence[Utterance], second: Sequence[Utterance]) -> dict[str, int]:
    """Return the number of distinct clips, speakers and sentences that two sides share, by the fields of `Audit`."""
    return {
        f"{sides}_{what}": len({getattr(clip, by) for clip in first} & {getattr(clip, by) for clip in second} - {None})
        for what, by in (("clips", "id"), ("speakers", "speaker_key"), ("sentences", "text_key"))
    }


def licences(names: Iterable[str]) -> tuple[Licence, ...]:
    """Return the terms of some corpora; "unknown" for one that has no plug-in."""
    return tuple(_licence(name) for name in sorted(set(names)))


def _licence(corpus: str) -> Licence:
    try:
        card = corpora.card(corpus)
    except SettingsError:
        unknown = {"title": corpus, "language": "und", "licence": "unknown", "citation": "", "url": ""}
        return Licence(corpus=corpus, commercial_use=None, **unknown)
    taken = ("title", "language", "licence", "commercial_use", "citation", "url")
    return Licence(corpus=corpus, **{name: getattr(card, name) for name in taken})
