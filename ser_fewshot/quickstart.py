"""Quickstart: enrol three emotions from five clips each, add a fourth, recognise clips of other speakers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ser_fewshot import audio
from ser_fewshot.assets import DEFAULT_MODEL, DEMO
from ser_fewshot.audio import Clip
from ser_fewshot.benchmark.html import MapMark, write_report
from ser_fewshot.classifier import FewShotClassifier, Prediction
from ser_fewshot.corpora import Scan, Utterance, read_manifest, scan
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import CorpusError, EpisodeError, SettingsError
from ser_fewshot.evaluation import evaluate, interval
from ser_fewshot.frontends import FeatureCache, FeatureSet, Track, default_directory, extract
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import as_enrolled

DEMO_MANIFEST = DEMO / "clips.csv"
SPEC = EpisodeSpec(n_way=4, k_shot=5, n_query=4, query_speaker="disjoint")

Recognised = tuple[tuple[str, str, Prediction], ...]
"""(clip, true label, prediction) of each query."""


@dataclass(frozen=True)
class QuickstartResult:
    """The episode that was run, and the score over many of its kind.

    Attributes:
        corpus: its name; "demo" are the synthetic clips.
        synthetic: whether no human speaks in them.
        clips: how many could be used; `skipped` could not.
        enrolled: the first three emotions, `added` the fourth.
        correct, queries: of this episode; `predictions` are its (clip, true label, prediction).
        uar, ci95: mean over `episodes` episodes and the half-width of its interval, in [0, 1].
        chance: UAR of guessing.
        training_set: that of the model, and its overlap with these clips.
        report: path of the page.
    """

    corpus: str
    synthetic: bool
    clips: int
    skipped: int
    enrolled: tuple[str, ...]
    added: str
    correct: int
    queries: int
    uar: float
    ci95: float
    episodes: int
    chance: float
    training_set: dict[str, Any]
    report: str
    predictions: Recognised


def quickstart(
    *,
    corpus: str | None = None,
    root: Path | None = None,
    model: Path = DEFAULT_MODEL,
    out: Path = Path("quickstart-report.html"),
    n_episodes: int = 200,
    seed: int = 0,
    cache: Path | None = None,
    say: Callable[[str], None] = print,
    track: Track = iter,
) -> QuickstartResult:
    """Run it on the synthetic clips of the package, or on a real corpus and its root, and write the report page `out`.

    `say` is called with each line of the output.

    Raises:
        SettingsError: only one of corpus and root is given.
        CorpusError, EpisodeError: the corpus cannot be read, or cannot give such an episode.
    """
    found = _scan(corpus, root)
    sampler = _sampler(found.utterances, seed)  # before minutes of analysis
    classifier = FewShotClassifier.from_pretrained(model)
    stored = FeatureCache(cache or default_directory(), classifier.model.frontend.identity)
    features = extract(
        classifier.model.frontend,
        found.utterances,
        cache=stored,
        normalization=classifier.model.config.normalization,
        track=track,
    )
    n_skipped = len(found.skipped) + len(features.skipped)
    overlap = classifier.model.training_set.overlap(features.utterances)
    notice = _notice(corpus, features, n_skipped, trained_on=overlap.sentence)
    say(notice)
    if features.skipped:
        sampler = _sampler(features.utterances, seed)
    episode = sampler.draw(0)
    steps, predictions = _run(classifier, episode, features, say)
    enrolled = as_enrolled(classifier.model, features, cache=stored)
    evaluation = evaluate(
        classifier.model.learner,
        enrolled,
        sampler.draw_many(n_episodes),
        spec=SPEC,
        speakers=classifier.model.speakers,
    )
    score, chance = interval(evaluation.uar), f"{100 * evaluation.chance:.0f} %"
    say(f"Over {n_episodes} such runs with other clips and emotions: UAR {score} % (95 % CI), chance {chance}.")
    write_report(
        out,
        title=f"Four emotions from five clips each: {corpus or 'synthetic demo'}",
        notice=notice,
        steps=steps,
        predictions=predictions,
        evaluation=evaluation,
        **_map(classifier, episode, features),
    )
    say(f"Report: {out}")
    return QuickstartResult(
        corpus=corpus or "demo",
        synthetic=corpus is None,
        clips=len(features),
        skipped=n_skipped,
        enrolled=episode.classes[:-1],
        added=episode.classes[-1],
        correct=sum(truth == prediction.answer for _, truth, prediction in predictions),
        queries=len(predictions),
        uar=score.mean,
        ci95=score.half_width,
        episodes=n_episodes,
        chance=evaluation.chance,
        training_set=overlap.as_dict(),
        report=str(out),
        predictions=predictions,
    )


def _scan(corpus: str | None, root: Path | None) -> Scan:
    if (corpus is None) != (root is None):
        raise SettingsError(
            "quickstart",
            found="--corpus without --root" if root is None else "--root without --corpus",
            expected="both, for a real corpus, or neither, for the synthetic clips",
            remedy="Give the other one too.",
        )
    return read_manifest(DEMO_MANIFEST) if corpus is None or root is None else scan(corpus, root)


def _sampler(utterances: Sequence[Utterance], seed: int) -> EpisodeSampler:
    try:
        return EpisodeSampler(utterances, SPEC, seed=seed)
    except EpisodeError as error:
        raise EpisodeError(
            "quickstart",
            found=error.found,
            expected=error.expected,
            remedy="Take a corpus that can, or enrol your clips with 'enroll' and score them with 'evaluate'.",
        ) from error


def _notice(corpus: str | None, features: FeatureSet, n_skipped: int, *, trained_on: str) -> str:
    """Return what must be said before any score."""
    if not len(features):
        raise CorpusError(
            corpus or "demo",
            found=f"{len(features.skipped)} clips, none of which can be used ({features.skipped[0].reason})",
            expected="clips that can be read",
            remedy="Look at what 'scan' says of them.",
        )
    if corpus is None:
        return (
            "The voices are SYNTHETIC, made by a speech synthesiser: the numbers show that the program runs, and "
            "nothing about people."
        )
    skipped = f" ({n_skipped} files were skipped: see 'scan')" if n_skipped else ""
    speakers = "Speakers of enrolled and recognised clips are disjoint."
    return f"{len(features)} clips of {corpus}{skipped}. {speakers} {trained_on}"


def _run(
    classifier: FewShotClassifier, episode: Episode, features: FeatureSet, say: Callable[[str], None]
) -> tuple[list[str], Recognised]:
    """Enrol, add and recognise; return the steps in words, and the predictions."""
    by_id = {utterance.id: utterance for utterance in features.utterances}
    support, queries = (
        {label: _load(ids, by_id) for label, ids in zip(episode.classes, part, strict=True)}
        for part in (episode.support, episode.query)
    )
    speakers = {
        label: [by_id[name].speaker for name in ids]
        for label, ids in zip(episode.classes, episode.support, strict=True)
    }
    steps: list[str] = []
    for line in _enroll(classifier, support, queries, speakers):
        steps.append(line)
        say(line)
    predictions = tuple(
        (clip.name, label, prediction)
        for label, clips in queries.items()
        for clip, prediction in zip(clips, classifier.predict(clips), strict=True)
    )
    for clip, truth, prediction in predictions:
        sign = "right" if prediction.answer == truth else "WRONG"
        sure = f"{100 * prediction.shares[prediction.answer]:3.0f} % sure"
        say(f"  {sign}  {truth:<10} -> {prediction.text:<10} {sure}  {clip}")
    right = sum(truth == prediction.answer for _, truth, prediction in predictions)
    steps.append(f"Recognised {right} of {len(predictions)} clips of voices that were never enrolled.")
    say(steps[-1])
    return steps, predictions


def _enroll(
    classifier: FewShotClassifier,
    support: Mapping[str, list[Clip]],
    queries: Mapping[str, list[Clip]],
    speakers: Mapping[str, list[str | None]],
) -> Iterator[str]:
    """Enrol all classes but the last, recognise clips of that one, and add it; yield each step in words."""
    *first, new = support
    classifier.enroll({label: support[label] for label in first}, speakers={label: speakers[label] for label in first})
    yield f"Enrolled {', '.join(first)} from {SPEC.k_shot} clips each."
    before = classifier.predict(queries[new])
    closest = sorted({prediction.label for prediction in before})
    yield f"Clips of {new}, which nobody has taught it yet, are closest to: {', '.join(closest)}."
    if classifier.model.config.calibration is not None:
        flagged = sum(prediction.unknown for prediction in before)
        yield f"It calls {flagged} of these {len(before)} unknown."
    classifier.add(new, support[new], speakers=speakers[new])
    yield f"Added {new} from {SPEC.k_shot} clips; the other clips were not needed again."


def _load(ids: Sequence[str], by_id: dict[str, Utterance]) -> list[Clip]:
    return [audio.load(clip.path, start=clip.start, end=clip.end) for clip in (by_id[name] for name in ids)]


def _map(classifier: FewShotClassifier, episode: Episode, features: FeatureSet) -> dict[str, Any]:
    """Return embeddings and marks of the clips of an episode; of a learner without embeddings, their average frames."""
    row = {utterance.id: number for number, utterance in enumerate(features.utterances)}
    named = [
        (row[name], MapMark(label, f"{label}, {kind}", filled=kind == "enrolled"))
        for part, kind in ((episode.support, "enrolled"), (episode.query, "recognised"))
        for label, ids in zip(episode.classes, part, strict=True)
        for name in ids
    ]
    embedded = embed_clips(classifier.model.learner, [features.clips[number] for number, _ in named])
    points = np.stack([(clip if clip.ndim == 1 else clip.mean(0)).numpy() for clip in embedded])
    return {"embeddings": points, "marks": [mark for _, mark in named]}
