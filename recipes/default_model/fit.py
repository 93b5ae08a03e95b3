"""Fit all that stands on the frozen student: directions of emotions, the speaker view, offsets, calibration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from default_model.directions import DirectionSettings, meta_train
from default_model.embeddings import FUNCTIONALS, Embeddings, Scale, standardised
from default_model.speaker_view import N_COMPONENTS, speaker_components
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import Discriminant, Transformer
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation.calibration import Calibration, fit, validation_predictions
from ser_fewshot.evaluation.runner import Predictions
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import SpeakerModel, fit_speaker_model
from ser_fewshot.learners.ridge import Ridge
from ser_fewshot.models import Model, build_model
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.settings import require
from ser_fewshot.storage.tensors import load_weights

N_FOLDS = 3
"""Of corpora, or of the speakers of a single one: calibration is fitted to predictions on folds left out in turn."""

BURSTS = ("emogator",)
"""Corpora without speech, from which nothing is learned about the voices of speakers."""

Sets = Mapping[str, FeatureSet]


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How the model is fitted.

    Attributes:
        directions: how they are meta-trained.
        calibration_steps: of the directions that the calibration is fitted with, each on all but one fold.
        calibration_episodes: of each number of classes and clips.
    """

    directions: DirectionSettings = field(default_factory=DirectionSettings)
    calibration_steps: int = 600
    calibration_episodes: int = 20


def fit_model(student: Model, embeddings: Mapping[str, Embeddings], settings: FitSettings) -> Model:
    """Return the student with all that is fitted to labelled clips.

    Args:
        student: ridge regression on the encoder "transformer"; not changed.
        embeddings: corpus -> those of its clips by the student.
        settings: of the fit.

    Raises:
        SettingsError: the student has another encoder, or there is no corpus.
        EpisodeError: no corpus gives an episode.
    """
    _check(student, embeddings)
    learned = len(cast("Transformer", student.learner.get_submodule("encoder")).mean)
    scale = Scale.of(embeddings.values(), learned=learned)
    sets = standardised(embeddings, scale)
    head = fitted_head(sets, settings)
    model = _extended(student, settings)
    encoder = cast("Discriminant", model.learner.get_submodule("encoder"))
    scale.set_in(cast("Transformer", encoder.inner))
    _copy_head(head, cast("Ridge", model.learner), encoder)
    encoder.speaker.copy_(_components(sets, learned=learned).half())
    clips = [clip for one in embeddings.values() for clip in one.utterances]
    return replace(
        model,
        config=replace(model.config, calibration=_calibration(sets, settings)),
        training_set=student.training_set | TrainingSet.of(clips),
        speakers=_speakers(projected(head, sets).values()),
    )


def _check(student: Model, embeddings: Mapping[str, Embeddings]) -> None:
    encoder = student.learner.get_submodule("encoder")
    require(
        isinstance(encoder, Transformer) and bool(embeddings),
        "default model",
        found=f"the encoder {type(encoder).__name__} and {len(embeddings)} corpora",
        expected="the encoder 'transformer' without directions, and at least one corpus",
        remedy="Initialise a student, and name a folder of corpora.",
    )


def fitted_head(sets: Sets, settings: FitSettings) -> Ridge:
    """Return ridge regression with directions meta-trained on standardised embeddings."""
    speakers = _speakers(sets.values())
    if speakers is None:
        raise EpisodeError(
            "default model",
            found="no corpus of three speakers of several emotions each",
            expected="one at least",
            remedy="Add a corpus.",
        )
    return meta_train(sets, speakers, settings.directions)


def _extended(student: Model, settings: FitSettings) -> Model:
    """Return a model with the student's weights, functionals, and directions yet to be set."""
    encoder = {**student.config.settings["encoder"], "functionals": FUNCTIONALS}
    encoder |= {"discriminant": settings.directions.n, "components": N_COMPONENTS}
    both = {**student.config.settings, "encoder": encoder, "penalty": settings.directions.penalty}
    model = build_model(replace(student.config, settings=both), frontend=student.frontend)
    inner = cast("Discriminant", model.learner.get_submodule("encoder")).inner
    own = {name: x for name, x in inner.state_dict().items() if name.startswith("statistics.")}
    load_weights(inner, {**own, **student.learner.get_submodule("encoder").state_dict()}, origin="student")
    return model


@torch.no_grad()
def _copy_head(head: Ridge, learner: Ridge, encoder: Discriminant) -> None:
    """Give a learner what was meta-trained."""
    trained = cast("Discriminant", head.encoder)
    encoder.emotion.copy_(trained.emotion)
    encoder.gain.copy_(trained.gain)
    learner.log_sharpness.copy_(head.log_sharpness)


def projected(head: Ridge, sets: Sets) -> dict[str, FeatureSet]:
    """Return embeddings with their projections on the directions of a head, and their deviations alike."""
    project = cast("Discriminant", head.encoder).project
    return {
        name: FeatureSet(
            one.utterances,
            tuple(project(torch.stack(list(one.clips)))),
            deviations=tuple(project(deviations) for deviations in one.deviations),
        )
        for name, one in sets.items()
    }


def _speakers(sets: Iterable[FeatureSet]) -> SpeakerModel | None:
    """Fit how embeddings vary by speaker."""
    clips = [clip for one in sets for clip in one.utterances]
    return fit_speaker_model(
        torch.stack([x for one in sets for x in one.clips]),
        corpora=[clip.corpus for clip in clips],
        classes=[str(clip.emotion) for clip in clips],
        speakers=[clip.speaker_key for clip in clips],
    )


def _components(sets: Sets, *, learned: int) -> Tensor:
    """Return the components of the speaker view, (width, N_COMPONENTS): zeros where there are fewer."""
    speech = [one for name, one in sets.items() if name not in BURSTS] or list(sets.values())
    clips = [clip for one in speech for clip in one.utterances]
    found = speaker_components(
        torch.stack([x for one in speech for x in one.clips]),
        learned=learned,
        speakers=[str(clip.speaker_key) for clip in clips],
        corpora=[clip.corpus for clip in clips],
        emotions=[str(clip.emotion) for clip in clips],
    )
    return torch.nn.functional.pad(found, (0, N_COMPONENTS - found.shape[1]))


def _calibration(sets: Sets, settings: FitSettings) -> Calibration:
    """Fit a calibration to supports as they are enrolled, each of a fold that its directions were not trained on."""
    found: list[Predictions] = []
    shorter = replace(settings, directions=replace(settings.directions, steps=settings.calibration_steps))
    for rest, own in _folds(sets):
        head = fitted_head(rest, shorter)
        for one in projected(head, own).values():
            found += _predictions(head, one, settings)
    return fit(found)


def _predictions(head: Ridge, own: FeatureSet, settings: FitSettings) -> list[Predictions]:
    """Return predictions for episodes of one corpus; none where it gives no episode."""
    try:
        return validation_predictions(
            head, own, seed=settings.directions.seed, n_episodes=settings.calibration_episodes
        )
    except EpisodeError:
        return []


def _folds(sets: Sets) -> Iterator[tuple[dict[str, FeatureSet], dict[str, FeatureSet]]]:
    """Yield all but a fold, and that fold: of corpora, or of speakers where there are too few corpora."""
    by_corpus = len(sets) >= N_FOLDS
    every = [clip for one in sets.values() for clip in one.utterances]
    groups = sorted({_group(clip, by_corpus=by_corpus) for clip in every})
    for number in range(N_FOLDS):
        held_out = set(groups[number::N_FOLDS])
        parts: tuple[dict[str, FeatureSet], dict[str, FeatureSet]] = ({}, {})
        for name, one in sets.items():
            for part, own in zip(parts, (False, True), strict=True):
                clips = [clip for clip in one.utterances if (_group(clip, by_corpus=by_corpus) in held_out) == own]
                if clips:
                    part[name] = one.subset(clips)
        yield parts


def _group(clip: Utterance, *, by_corpus: bool) -> str:
    return clip.corpus if by_corpus else str(clip.speaker_key)
