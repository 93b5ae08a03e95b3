"""Select LDA, ridge and calibration hyperparameters by leave-one-corpus-out, and fit them to all corpora.

The model is meant for other corpora and unseen languages. Held-out speakers of the same corpora would overestimate what
fits these corpora, so each corpus is left out in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, cast

import torch
from torch import Tensor

from default_model.embeddings import EmbeddingPair, augmented, discriminant_of, embed, extend, standardise
from ser_fewshot.encoders import Discriminant, Encoder, PooledFeatures, Transformer, View
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.episodes.splits import split_by_corpus
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.evaluation.calibration import fit, possible_episodes, validation_predictions
from ser_fewshot.evaluation.runner import Predictions
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.models import Model
from ser_fewshot.models.meta_train import with_speakers
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.settings import require

TASKS = (
    EpisodeSpec(n_way=4, k_shot=5, n_query=5),
    EpisodeSpec(n_way=4, k_shot=5, n_query=3, query_speaker="same"),
)
SPEAKER_TASKS = (
    EpisodeSpec(n_way=5, k_shot=1, n_query=5, label="speaker", query_speaker="same"),
    EpisodeSpec(n_way=10, k_shot=5, n_query=3, label="speaker", query_speaker="same"),
)
FUNCTIONAL_WEIGHTS = (1.0, 2.0, 4.0)
"""Candidate weights of the functionals in the speaker view."""
NUISANCE_LIMITS = (0.5, 1.0, 2.0)
"""Candidate limits of the clamp along the nuisance subspace, in standard deviations of clips."""
_EPISODES = 200
_LEAST_CORPORA = 2
_N_NUISANCE = 32


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Candidate hyperparameters.

    Attributes:
        functionals: weight of the functionals beside the distilled embedding.
        discriminant: number of LDA directions.
        shrinkage: of the within-class covariance of LDA.
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
    """Return a model with hyperparameters, LDA directions and calibration fitted to labelled clips.

    Args:
        model: ridge regression on the distilled encoder "transformer"; not changed.
        features: of all meta-train clips, with emotions and speakers.
        choices: candidate hyperparameters.
        seed: of the validation episodes.

    Returns:
        The model, and for each choice its mean UAR over left-out corpora and their TASKS.

    Raises:
        SettingsError: the model has another encoder, or the clips are of a single corpus or lack a label.
        EpisodeError: no corpus gives a validation episode.
    """
    _check(model, features)
    embeddings = embed(model, features)
    mean: dict[Choice, float] = {}
    for functionals in sorted({choice.functionals for choice in choices}):
        candidates = [choice for choice in choices if choice.functionals == functionals]
        mean |= _uar_of_choices(embeddings.concatenated(functionals), candidates, seed=seed)
    best = max(choices, key=lambda choice: mean[choice])
    pair = embeddings.concatenated(best.functionals)
    limit = _best_limit(pair, best, seed=seed)
    weight = _best_weight(pair, best, embeddings.feature_weights, seed=seed)
    final = extend(
        model,
        functionals=best.functionals,
        discriminant=best.discriminant,
        recording=_N_NUISANCE,
        penalty=best.penalty,
    )
    standardise(final, embeddings)
    weights = embeddings.feature_weights(weight, len(pair.clean.clips[0]))
    # Emotions last, as the gain is that of the default view.
    views: tuple[View, ...] = ("speaker", "emotion")
    _fit_all(discriminant_of(final), pair, views=views, choice=best, limit=limit, weights=weights)
    calibration = fit(_left_out_predictions(pair, best, limit, seed=seed))
    table = [{**asdict(choice), "uar": mean[choice]} for choice in choices]
    record = model.training_set | TrainingSet.of(features.utterances)
    config = replace(final.config, calibration=calibration)
    return with_speakers(replace(final, config=config, training_set=record), features), table


def _check(model: Model, features: FeatureSet) -> None:
    encoder = model.learner.get_submodule("encoder")
    require(
        isinstance(encoder, Transformer),
        "labels",
        found=f"the encoder {type(encoder).__name__}",
        expected="the distilled encoder 'transformer', without LDA directions",
        remedy="Set encoder.name to 'transformer' and encoder.discriminant to 0, and distil it.",
    )
    corpora = {item.corpus for item in features.utterances}
    unlabelled = sum(item.emotion is None or item.speaker is None for item in features.utterances)
    require(
        len(corpora) >= _LEAST_CORPORA and not unlabelled,
        "labels",
        found=f"clips of {len(corpora)} corpora, {unlabelled} of them without an emotion or a speaker",
        expected=f"labelled clips of at least {_LEAST_CORPORA} corpora, one of which can be left out in turn",
        remedy="Add a corpus, and leave out what has no labels.",
    )


def _left_out(
    pair: EmbeddingPair, tasks: Sequence[EpisodeSpec] = (), *, seed: int = 0
) -> Iterator[tuple[EmbeddingPair, EmbeddingPair, list[tuple[EpisodeSpec, Sequence[Episode]]]]]:
    """Yield all corpora but one, that one, and its validation episodes, in turn."""
    utterances = pair.clean.utterances
    for corpus in sorted({item.corpus for item in utterances}):
        rest, own = map(pair.subset, split_by_corpus(utterances, [corpus]))
        yield (
            rest,
            own,
            [(spec, found) for spec in tasks if (found := possible_episodes(own.clean, spec, seed, _EPISODES))],
        )


def _uar_of_choices(pair: EmbeddingPair, choices: Sequence[Choice], *, seed: int) -> dict[Choice, float]:
    """Return the mean UAR of each choice over corpora and tasks, with directions fitted to the other corpora."""
    scores: dict[Choice, list[float]] = {choice: [] for choice in choices}
    for rest, own, episodes in _left_out(pair, TASKS, seed=seed):
        projected: dict[tuple[int, float], FeatureSet] = {}
        for choice in choices:
            key = (choice.discriminant, choice.shrinkage)
            if key not in projected:
                projected[key] = _projected(own.clean, _fitted(rest, choice))
            scores[choice] += [_uar(choice, projected[key], found, spec) for spec, found in episodes]
    if not all(scores.values()):
        raise EpisodeError(
            "labels",
            found="no corpus that gives an episode to judge by",
            expected=f"{TASKS[0].n_way} emotions with at least {TASKS[0].k_shot + TASKS[0].n_query} clips each",
            remedy="Add a corpus with more emotions, or more clips.",
        )
    return {choice: sum(found) / len(found) for choice, found in scores.items()}


def _best_limit(pair: EmbeddingPair, choice: Choice, *, seed: int) -> float:
    """Return the limit of the clamp that is best on clean and augmented queries together."""
    scores: dict[float, list[float]] = {limit: [] for limit in NUISANCE_LIMITS}
    for rest, own, episodes in _left_out(pair, TASKS, seed=seed):
        for limit in NUISANCE_LIMITS if episodes else ():
            projected = _projected(own.both(), _fitted(rest, choice, limit=limit))
            for spec, found in episodes:
                queries = (found, [augmented(episode) for episode in found])
                scores[limit] += [_uar(choice, projected, one, spec) for one in queries]
    return max(NUISANCE_LIMITS, key=lambda limit: sum(scores[limit]))


def _best_weight(
    pair: EmbeddingPair, choice: Choice, feature_weights: Callable[[float, int], Tensor], *, seed: int
) -> float:
    """Return the weight of the functionals in the speaker view; 1 without functionals or episodes."""
    if not choice.functionals:
        return 1.0
    scores: dict[float, list[float]] = {weight: [] for weight in FUNCTIONAL_WEIGHTS}
    for rest, own, episodes in _left_out(pair, SPEAKER_TASKS, seed=seed):
        for weight in FUNCTIONAL_WEIGHTS if episodes else ():
            weights = feature_weights(weight, len(own.clean.clips[0]))
            projected = _projected(own.clean, _fitted(rest, choice, view="speaker", weights=weights))
            scores[weight] += [_uar(choice, projected, found, spec) for spec, found in episodes]
    return max(FUNCTIONAL_WEIGHTS, key=lambda weight: sum(scores[weight]))


def _left_out_predictions(pair: EmbeddingPair, choice: Choice, limit: float, *, seed: int) -> list[Predictions]:
    """Return predictions on each corpus, with directions fitted to the other corpora."""
    found: list[Predictions] = []
    for rest, own, _ in _left_out(pair):
        projected = _projected(own.clean, _fitted(rest, choice, limit=limit))
        found += validation_predictions(_ridge(choice), projected, seed=seed)
    return found


def _fitted(
    rest: EmbeddingPair,
    choice: Choice,
    *,
    view: View = "emotion",
    limit: float | None = None,
    weights: Tensor | None = None,
) -> Discriminant:
    """Return LDA directions of a view fitted to some clips; without a limit there is no clamp."""
    n_nuisance = 0 if limit is None else _N_NUISANCE
    inner = PooledFeatures(len(rest.clean.clips[0]))
    discriminant = Discriminant(inner, n=choice.discriminant, view=view, nuisance=n_nuisance)
    _fit_all(discriminant, rest, views=(view,), choice=choice, limit=limit, weights=weights)
    return discriminant


def _fit_all(
    discriminant: Discriminant,
    pair: EmbeddingPair,
    *,
    views: Sequence[View],
    choice: Choice,
    limit: float | None,
    weights: Tensor | None,
) -> None:
    """Fit the nuisance subspace, then feature weights, then the LDA directions of some views."""
    z = torch.stack(list(pair.clean.clips))
    if limit is not None:
        discriminant.fit_nuisance(z, torch.stack(list(pair.augmented.clips)), limit=limit)
    if weights is not None:
        discriminant.set_feature_weights(z, weights)
    fit_directions(discriminant, pair.clean, views=views, shrinkage=choice.shrinkage)


def fit_directions(
    discriminant: Discriminant, embeddings: FeatureSet, *, views: Sequence[View], shrinkage: float
) -> None:
    """Fit the LDA directions of some views, in place, to inner embeddings (width,) of labelled clips."""
    z = torch.stack(tuple(embeddings.clips))
    emotions = [f"{item.corpus}/{item.emotion}" for item in embeddings.utterances]
    speakers = [f"{item.speaker_key}" for item in embeddings.utterances]
    for view in views:
        classes, nuisance = (emotions, speakers) if view == "emotion" else (speakers, emotions)
        discriminant.fit_directions(view, z, classes=classes, nuisance=nuisance, shrinkage=shrinkage)


def _projected(own: FeatureSet, discriminant: Discriminant) -> FeatureSet:
    """Return embeddings with their projections on the LDA directions."""
    return FeatureSet(own.utterances, tuple(discriminant.project(torch.stack(list(own.clips)))))


def _uar(choice: Choice, projected: FeatureSet, episodes: Sequence[Episode], spec: EpisodeSpec) -> float:
    return float(evaluate(_ridge(choice), projected, episodes, spec=spec).uar.mean())


def _ridge(choice: Choice) -> Learner:
    """Return ridge regression on given embeddings; of its encoder, only the number of LDA directions is used."""
    learner = build_learner("ridge", 1, {"encoder": {"name": "mean"}, "penalty": choice.penalty})
    cast("Encoder", learner.get_submodule("encoder")).n_directions = choice.discriminant
    return learner
