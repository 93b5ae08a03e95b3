"""After an encoder has learned without labels: what labels are for, each choice judged on a corpus left out of it.

Directions, penalty and calibration are fitted to some corpora and meant for others, in languages that nobody has heard.
Speakers held out of the same corpora would flatter whatever fits these corpora; so each corpus is left out in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor

from default_model.embeddings import Parts, Recordings, describe, metric_of, scaled, varied, widened
from ser_fewshot.encoders import Discriminant, Given, Transformer, View
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.episodes.splits import split_by_corpus
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.evaluation.calibration import fit, possible_episodes, validation_predictions
from ser_fewshot.evaluation.runner import Predictions
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.models import Model
from ser_fewshot.models.training_set import TrainingSet

TASKS = (
    EpisodeSpec(n_way=4, k_shot=5, n_query=5),
    EpisodeSpec(n_way=4, k_shot=5, n_query=3, query_speaker="same"),
)
SPEAKER_TASKS = (
    EpisodeSpec(n_way=5, k_shot=1, n_query=5, label="speaker", query_speaker="same"),
    EpisodeSpec(n_way=10, k_shot=5, n_query=3, label="speaker", query_speaker="same"),
)
EMPHASES = (1.0, 2.0, 4.0)
"""How much more the functionals may weigh where voices are told apart."""
REACHES = (0.5, 1.0, 2.0)
"""How far from the middle a clip may lie along what a recording changes, in standard deviations of clips."""
_EPISODES = 200
_LEAST_CORPORA = 2
_DIRECTIONS_OF_RECORDINGS = 32


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is chosen by labels.

    Attributes:
        functionals: how much the fixed functionals weigh beside what the encoder learned.
        discriminant: directions beside both.
        shrinkage: of the within-class covariance that they are found by.
        penalty: of ridge regression.
    """

    functionals: float
    discriminant: int
    shrinkage: float
    penalty: float


CHOICES = tuple(
    Choice(functionals=functionals, discriminant=discriminant, shrinkage=shrinkage, penalty=penalty)
    for functionals, shrinkage, discriminant, penalty in product((0.0, 0.3, 0.5), (0.5, 0.8), (64,), (0.1, 0.3, 1.0))
)


def fit_labels(
    model: Model, features: FeatureSet, *, choices: Sequence[Choice] = CHOICES, seed: int = 0
) -> tuple[Model, list[dict[str, Any]]]:
    """Return a model with the directions, the penalty and the calibration that labelled clips speak for.

    Args:
        model: ridge regression on the encoder "transformer", which has been taught; it stays as it is.
        features: of all its meta-train clips, with emotions and speakers.
        choices: what may be chosen.
        seed: of the episodes that judge.

    Returns:
        The model, and for each choice its mean UAR over the corpora left out and the TASKS that they can give.

    Raises:
        SettingsError: the model has another encoder, or the clips are of a single corpus or lack a label.
        EpisodeError: no corpus gives an episode to judge by.
    """
    _check(model, features)
    parts = describe(model, features)
    scores: dict[Choice, list[float]] = {choice: [] for choice in choices}
    for functionals in sorted({choice.functionals for choice in choices}):
        mine = [choice for choice in choices if choice.functionals == functionals]
        for choice, score in _judged(parts.beside(functionals), mine, seed=seed):
            scores[choice].append(score)
    mean = _means(scores)
    best = max(choices, key=lambda choice: mean[choice])
    described = parts.beside(best.functionals)
    reach = _reach(described, best, seed=seed)
    emphasis = _emphasis(parts, best, seed=seed)
    final = scaled(_room_for(model, best), parts)
    weights = parts.weighing(emphasis, len(described.plain.clips[0]))
    # Emotions last: the gain is that of the view by default.
    _find_all(metric_of(final), described, views=("speaker", "emotion"), choice=best, reach=reach, weights=weights)
    calibration = fit(_observations(described, best, reach, seed=seed))
    table = [{**asdict(choice), "uar": score} for choice, score in mean.items()]
    record = model.training_set | TrainingSet.of(features.utterances)
    return replace(final, config=replace(final.config, calibration=calibration), training_set=record), table


def _check(model: Model, features: FeatureSet) -> None:
    encoder = model.learner.get_submodule("encoder")
    if not isinstance(encoder, Transformer):
        raise SettingsError(
            "labels",
            found=f"the encoder {type(encoder).__name__}",
            expected="the encoder 'transformer' as it was taught, with no directions beside it yet",
            remedy="Set encoder.name to 'transformer' and encoder.discriminant to 0, and teach it.",
        )
    corpora = {item.corpus for item in features.utterances}
    unlabelled = sum(item.emotion is None or item.speaker is None for item in features.utterances)
    if len(corpora) < _LEAST_CORPORA or unlabelled:
        raise SettingsError(
            "labels",
            found=f"clips of {len(corpora)} corpora, {unlabelled} of them without an emotion or a speaker",
            expected=f"labelled clips of at least {_LEAST_CORPORA} corpora, one of which can be left out in turn",
            remedy="Add a corpus, and leave out what has no labels.",
        )


def _means(scores: Mapping[Choice, Sequence[float]]) -> dict[Choice, float]:
    if not all(scores.values()):
        raise EpisodeError(
            "labels",
            found="no corpus that gives an episode to judge by",
            expected=f"{TASKS[0].n_way} emotions with at least {TASKS[0].k_shot + TASKS[0].n_query} clips each",
            remedy="Add a corpus with more emotions, or more clips.",
        )
    return {choice: sum(found) / len(found) for choice, found in scores.items()}


def _room_for(model: Model, choice: Choice) -> Model:
    return widened(
        model,
        functionals=choice.functionals,
        discriminant=choice.discriminant,
        recording=_DIRECTIONS_OF_RECORDINGS,
        penalty=choice.penalty,
    )


def _judged(described: Recordings, choices: Sequence[Choice], *, seed: int) -> Iterator[tuple[Choice, float]]:
    """Yield the UAR of each choice on each corpus and task, by directions that were found on the other corpora."""
    for rest, own in _left_out(described):
        episodes = [(spec, found) for spec in TASKS if (found := possible_episodes(own.plain, spec, seed, _EPISODES))]
        seen: dict[tuple[int, float], FeatureSet] = {}
        for choice in choices:
            key = (choice.discriminant, choice.shrinkage)
            if key not in seen:
                seen[key] = _seen(own.plain, _found(rest, choice))
            for spec, found in episodes:
                yield choice, _uar(choice, seen[key], found, spec)


def _reach(described: Recordings, choice: Choice, *, seed: int) -> float:
    """Return the reach that is best on queries as recorded and on queries through other microphones, together."""
    scores: dict[float, list[float]] = {reach: [] for reach in REACHES}
    for rest, own in _left_out(described):
        episodes = [(spec, found) for spec in TASKS if (found := possible_episodes(own.plain, spec, seed, _EPISODES))]
        for reach in REACHES if episodes else ():
            seen = _seen(own.both(), _found(rest, choice, reach=reach))
            for spec, found in episodes:
                heard = (found, [varied(episode) for episode in found])
                scores[reach] += [_uar(choice, seen, one, spec) for one in heard]
    return max(REACHES, key=lambda reach: sum(scores[reach]))


def _emphasis(parts: Parts, choice: Choice, *, seed: int) -> float:
    """Return how much more the functionals should weigh for voices: 1 where there are none, or nothing to judge by."""
    if not choice.functionals:
        return 1.0
    scores: dict[float, list[float]] = {emphasis: [] for emphasis in EMPHASES}
    for rest, own in _left_out(parts.beside(choice.functionals)):
        episodes = [
            (spec, found) for spec in SPEAKER_TASKS if (found := possible_episodes(own.plain, spec, seed, _EPISODES))
        ]
        for emphasis in EMPHASES if episodes else ():
            weights = parts.weighing(emphasis, len(own.plain.clips[0]))
            seen = _seen(own.plain, _found(rest, choice, view="speaker", weights=weights))
            scores[emphasis] += [_uar(choice, seen, found, spec) for spec, found in episodes]
    return max(EMPHASES, key=lambda emphasis: sum(scores[emphasis]))


def _observations(described: Recordings, choice: Choice, reach: float, *, seed: int) -> list[Predictions]:
    """Return what is said of the episodes of each corpus, by directions that were found on the other corpora."""
    found: list[Predictions] = []
    for rest, own in _left_out(described):
        found += validation_predictions(_head(choice), _seen(own.plain, _found(rest, choice, reach=reach)), seed=seed)
    return found


def _left_out(described: Recordings) -> Iterator[tuple[Recordings, Recordings]]:
    """Yield all corpora but one, and that one, in turn."""
    utterances = described.plain.utterances
    for corpus in sorted({item.corpus for item in utterances}):
        rest, own = split_by_corpus(utterances, [corpus])
        yield described.subset(rest), described.subset(own)


def _found(
    rest: Recordings,
    choice: Choice,
    *,
    view: View = "emotion",
    reach: float | None = None,
    weights: Tensor | None = None,
) -> Discriminant:
    """Return directions of a view that were found on some clips; without a reach, recordings are left as they are."""
    metric = Discriminant(
        Given(len(rest.plain.clips[0])),
        n=choice.discriminant,
        view=view,
        recording=0 if reach is None else _DIRECTIONS_OF_RECORDINGS,
    )
    _find_all(metric, rest, views=(view,), choice=choice, reach=reach, weights=weights)
    return metric


def _find_all(
    metric: Discriminant,
    described: Recordings,
    *,
    views: Sequence[View],
    choice: Choice,
    reach: float | None,
    weights: Tensor | None,
) -> None:
    """Find what recordings change, then how values weigh, then the directions of some views."""
    z = torch.stack(list(described.plain.clips))
    if reach is not None:
        metric.fit_recordings(z, torch.stack(list(described.varied.clips)), reach=reach)
    if weights is not None:
        metric.emphasise(z, weights)
    find_directions(metric, described.plain, views=views, shrinkage=choice.shrinkage)


def _seen(own: FeatureSet, metric: Discriminant) -> FeatureSet:
    """Return clips with, beside each, what directions see in it."""
    return FeatureSet(own.utterances, tuple(metric.beside(torch.stack(list(own.clips)))))


def _uar(choice: Choice, seen: FeatureSet, episodes: Sequence[Episode], spec: EpisodeSpec) -> float:
    return float(evaluate(_head(choice), seen, episodes, spec=spec).uar.mean())


def find_directions(metric: Discriminant, described: FeatureSet, *, views: Sequence[View], shrinkage: float) -> None:
    """Find directions of some views.

    Args:
        metric: takes them.
        described: (width,) of each clip, what the metric's other encoder makes of it.
        views: of emotions, of speakers or both.
        shrinkage: of the within-class covariance.
    """
    z = torch.stack(tuple(described.clips))
    emotions = [f"{item.corpus}/{item.emotion}" for item in described.utterances]
    speakers = [f"{item.speaker_key}" for item in described.utterances]
    for view in views:
        classes, nuisance = (emotions, speakers) if view == "emotion" else (speakers, emotions)
        metric.fit_directions(view, z, classes=classes, nuisance=nuisance, shrinkage=shrinkage)


def _head(choice: Choice) -> Learner:
    """Return ridge regression on what is described already; its encoder is never asked."""
    return build_learner("ridge", 1, {"encoder": {"name": "mean"}, "penalty": choice.penalty})
