"""After an encoder has learned without labels: what labels are for, each choice judged on a corpus left out of it.

Directions, penalty and calibration are fitted to some corpora and meant for others, in languages that nobody has heard.
Speakers held out of the same corpora would flatter whatever fits these corpora; so each corpus is left out in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any, cast

import torch
from torch import Tensor

from ser_fewshot.calibrating import Observation, drawn, fit, observe
from ser_fewshot.checkpoints import Model, build_model
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Discriminant, Given, Statistics, Transformer, View, levelled
from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureSet, stack
from ser_fewshot.learners import Learner, build_learner, embed_clips
from ser_fewshot.splits import split_by_corpus

TASKS = (
    EpisodeSpec(n_way=4, k_shot=5, n_query=5),
    EpisodeSpec(n_way=4, k_shot=5, n_query=3, query_speaker="same"),
)
_EPISODES = 200
_LEAST_CORPORA = 2
_SMALLEST_SPREAD = 1e-3
_SCALE_STEP = 2  # every other clip is enough for a scale
_SCALE_FRAMES = 600  # one clip of a minute must not pad all the others to a minute


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
    for functionals, shrinkage, discriminant, penalty in product((0.0, 0.3, 0.5), (0.5, 0.8), (24,), (0.1, 0.3, 1.0))
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
    parts = _parts(model, features)
    scores: dict[Choice, list[float]] = {choice: [] for choice in choices}
    for functionals in sorted({choice.functionals for choice in choices}):
        mine = [choice for choice in choices if choice.functionals == functionals]
        for choice, score in _judged(parts.beside(functionals), mine, seed=seed):
            scores[choice].append(score)
    mean = _means(scores)
    best = max(choices, key=lambda choice: mean[choice])
    final, described = _finished(model, parts, best), parts.beside(best.functionals)
    find_directions(_metric_of(final), described, views=("emotion", "speaker"), shrinkage=best.shrinkage)
    calibration = fit(_observations(described, best, seed=seed))
    table = [{**asdict(choice), "uar": score} for choice, score in mean.items()]
    return Model(replace(final.config, calibration=calibration), final.frontend, final.learner), table


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


@dataclass(frozen=True, eq=False)
class _Parts:
    """What the encoder makes of clips, to be set side by side.

    Attributes:
        utterances: of the clips.
        seen: (n_clips, width) what it learned, each value in unit scale over the clips.
        functionals: (n_clips, ...) weighing as much.
        mean, scale: (width,) what `seen` was before.
        statistics: the state of what makes the functionals.
    """

    utterances: tuple[Utterance, ...]
    seen: Tensor
    functionals: Tensor
    mean: Tensor
    scale: Tensor
    statistics: Mapping[str, Tensor]

    def beside(self, functionals: float) -> FeatureSet:
        """Return both parts of each clip, the functionals with some weight; nothing of them where that is 0."""
        both = [self.seen, functionals * self.functionals] if functionals else [self.seen]
        return FeatureSet(self.utterances, tuple(torch.cat(both, 1)))


def _parts(model: Model, features: FeatureSet) -> _Parts:
    built = _with(model, Choice(functionals=1.0, discriminant=1, shrinkage=1.0, penalty=1.0))
    inner = cast("Transformer", _metric_of(built).inner)
    clips = [features.clips[row][:_SCALE_FRAMES] for row in range(0, len(features), _SCALE_STEP)]
    statistics = cast("Statistics", inner.statistics)
    statistics.fit_scale(levelled(stack(clips)))
    n = len(inner.mean)
    seen, functionals, _ = torch.stack(embed_clips(built.learner, features.clips)).tensor_split([n, inner.width], 1)
    mean, scale = seen.mean(0), seen.std(0, correction=0).clamp_min(_SMALLEST_SPREAD)
    return _Parts(features.utterances, (seen - mean) / scale, functionals, mean, scale, statistics.state_dict())


def _with(model: Model, choice: Choice) -> Model:
    """Return the taught encoder with functionals and room for directions beside it, under ridge regression.

    Weights are rounded to half precision, in which they are shipped, so that what is measured is what is shipped.
    """
    chosen = {"functionals": choice.functionals, "discriminant": choice.discriminant}
    settings = {
        **model.config.settings,
        "encoder": {**model.config.settings["encoder"], **chosen},
        "penalty": choice.penalty,
    }
    built = build_model(replace(model.config, settings=settings), frontend=model.frontend)
    taught = model.learner.get_submodule("encoder").state_dict()
    halves = {name: tensor.half().float() for name, tensor in taught.items()}
    _metric_of(built).inner.load_state_dict(halves, strict=False)  # what makes functionals is not taught
    return built


def _finished(model: Model, parts: _Parts, choice: Choice) -> Model:
    """Return the model of a choice, with the unit scale of what it sees."""
    final = _with(model, choice)
    inner = cast("Transformer", _metric_of(final).inner)
    with torch.no_grad():
        inner.mean.copy_((inner.mean + parts.mean * inner.scale).half())
        inner.scale.copy_((parts.scale * inner.scale).half())
    if inner.statistics is not None:
        inner.statistics.load_state_dict(parts.statistics)
    return final


def _metric_of(model: Model) -> Discriminant:
    metric = model.learner.get_submodule("encoder")
    if not isinstance(metric, Discriminant):
        raise TypeError(f"{type(metric).__name__} has no directions")
    return metric


def _judged(described: FeatureSet, choices: Sequence[Choice], *, seed: int) -> Iterator[tuple[Choice, float]]:
    """Yield the UAR of each choice on each corpus and task, by directions that were found on the other corpora."""
    for rest, own in _left_out(described):
        episodes = [(spec, found) for spec in TASKS if (found := drawn(own, spec, seed, _EPISODES))]
        seen: dict[tuple[int, float], FeatureSet] = {}
        for choice in choices:
            key = (choice.discriminant, choice.shrinkage)
            if key not in seen:
                seen[key] = _seen(rest, own, choice)
            for spec, found in episodes:
                yield choice, float(evaluate(_head(choice), seen[key], found, spec=spec).uar.mean())


def _observations(described: FeatureSet, choice: Choice, *, seed: int) -> list[Observation]:
    """Return what is said of the episodes of each corpus, by directions that were found on the other corpora."""
    found: list[Observation] = []
    for rest, own in _left_out(described):
        found += observe(_head(choice), _seen(rest, own, choice), seed=seed)
    return found


def _left_out(features: FeatureSet) -> Iterator[tuple[FeatureSet, FeatureSet]]:
    """Yield all corpora but one, and that one, in turn."""
    for corpus in sorted({item.corpus for item in features.utterances}):
        rest, own = split_by_corpus(features.utterances, [corpus])
        yield features.subset(rest), features.subset(own)


def _seen(rest: FeatureSet, own: FeatureSet, choice: Choice) -> FeatureSet:
    """Return some clips with, beside each, what directions found on others see in it."""
    metric = Discriminant(Given(len(own.clips[0])), n=choice.discriminant, view="emotion")
    find_directions(metric, rest, views=("emotion",), shrinkage=choice.shrinkage)
    return FeatureSet(own.utterances, tuple(metric.beside(torch.stack(own.clips))))


def find_directions(metric: Discriminant, described: FeatureSet, *, views: Sequence[View], shrinkage: float) -> None:
    """Find directions of some views.

    Args:
        metric: takes them.
        described: (width,) of each clip, what the metric's other encoder makes of it.
        views: of emotions, of speakers or both.
        shrinkage: of the within-class covariance.
    """
    z = torch.stack(described.clips)
    emotions = [f"{item.corpus}/{item.emotion}" for item in described.utterances]
    speakers = [f"{item.speaker_key}" for item in described.utterances]
    for view in views:
        classes, nuisance = (emotions, speakers) if view == "emotion" else (speakers, emotions)
        metric.fit_directions(view, z, classes=classes, nuisance=nuisance, shrinkage=shrinkage)


def _head(choice: Choice) -> Learner:
    """Return ridge regression on what is described already; its encoder is never asked."""
    return build_learner("ridge", 1, {"encoder": {"name": "mean"}, "penalty": choice.penalty})
