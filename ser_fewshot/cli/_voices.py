"""Scores with the voice of the query speaker, beside the plain ones on the same episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ser_fewshot.cli._console import tracker, words
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.errors import SettingsError
from ser_fewshot.evaluation import Evaluation, Interval, compare, evaluate
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model

_VOICE, _SESSION = " + voice", " + session"  # rows of a learner beside its plain one


def check_voices(models: Mapping[str, Model], spec: EpisodeSpec, *, session: bool) -> None:
    """Refuse voices that could not be estimated."""
    if session and not (spec.label == "emotion" and (spec.context or spec.query_speaker == "same")):
        raise SettingsError(
            "--session",
            found="queries of several speakers in an episode",
            expected="emotions as classes, and --context N or --query-speaker same",
            remedy="Add --context 1, with --query-speaker disjoint or same: the queries are then of one speaker.",
        )
    if (session or spec.context) and (without := [name for name, model in models.items() if model.speakers is None]):
        raise SettingsError(
            "--session" if session else "--context",
            found=f"no statistics of speakers for the learner {words(without)}",
            expected="a model trained on several speakers, with a learner that does not adapt its encoder",
            remedy="Train it again, choose such a learner, or score without a voice.",
        )


def scored(
    name: str, model: Model, features: FeatureSet, episodes: Sequence[Episode], spec: EpisodeSpec, *, session: bool
) -> dict[str, Evaluation]:
    """Return the scores of a learner on the same episodes: plain, and with each voice that can be estimated."""
    rows: dict[str, dict[str, Any]] = {"": {}}
    if spec.context:
        rows[_VOICE] = {"speakers": model.speakers}
    if session:
        rows[_SESSION] = {"speakers": model.speakers, "session": True}
    if len(rows) > 1:  # embedded once for all of them
        features = replace(features, clips=tuple(embed_clips(model.learner, features.clips)))
    return {
        name + row: evaluate(
            model.learner, features, episodes, spec=spec, track=tracker(f"evaluate {name}{row}"), **options
        )
        for row, options in rows.items()
    }


def gains(results: Mapping[str, Evaluation]) -> dict[str, Interval]:
    """Return what each voice adds to the UAR of its own learner, in pairs."""
    return {
        name + row: compare(results[name + row], plain)
        for name, plain in results.items()
        for row in (_VOICE, _SESSION)
        if name + row in results
    }
