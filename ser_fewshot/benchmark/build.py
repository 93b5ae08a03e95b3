"""Build a method for a split: scale or train it, and calibrate it, until it can predict test clips."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ser_fewshot import plugins
from ser_fewshot.assets import DEFAULT_MODEL as DEFAULT_FOLDER
from ser_fewshot.benchmark.methods import DEFAULT_MODEL, PROBE, SVM, Method
from ser_fewshot.benchmark.predictors import LearnerPredictor, LinearProbe, Predictor, SupportVectors
from ser_fewshot.benchmark.protocols import Case
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import LabelKind, Utterance
from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.partition import codes_of
from ser_fewshot.episodes.splits import split_by_speaker
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation.calibration import Calibration, fit_calibration
from ser_fewshot.frontends import FeatureSet, FrontEnd
from ser_fewshot.learners import Learner, SpeakerModel
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, with_view
from ser_fewshot.models.meta_train import VALIDATION_SPEAKERS, fit_speakers, meta_train
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.settings import fill
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.training import TrainSettings

_SCALE_STEP = 4  # every fourth clip is enough for a scale
_MOST_WHITENED = 1_000  # values of a frame: of ComParE's 6,373, the covariance alone would take minutes a split
_CALIBRATION_EPISODES = 10  # of each number of ways and shots
_EMOTIONS = EpisodeSpec(n_way=4, k_shot=5, n_query=5)
_SPEAKERS = EpisodeSpec(n_way=5, k_shot=2, n_query=2, label="speaker", query_speaker="same")
_SMALLER = ((3, 3), (2, 2), (1, 2))  # shots and queries of a training task, where speakers are few


@dataclass(frozen=True, eq=False, kw_only=True)
class BuiltMethod:
    """A method that can predict the test clips of a split.

    Attributes:
        calibration: of its logits; None where that was not fitted.
        settings, training: its configuration and meta-training, for the record.
        minutes: that building it took.
        training_set: of a saved model; that of a method trained on the split is in the split.
        notes: what a reader must know.
        speakers: fits, when called, how the embeddings of the training clips vary by speaker; None where these are too
            few, or for a method that ignores the support.
    """

    predictor: Predictor
    calibration: Calibration | None
    settings: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    minutes: float = 0.0
    training_set: TrainingSet = field(default_factory=TrainingSet)
    notes: tuple[str, ...] = ()
    speakers: Callable[[], SpeakerModel | None] = lambda: None


def frontend_of(method: Method) -> FrontEnd:
    """Return the front-end of a method.

    Raises:
        SettingsError: it needs a package that is not installed; the error names the extra.
    """
    module = plugins.load("frontends", method.frontend)
    frontend: FrontEnd = module.FRONTEND(fill(module.Settings, method.frontend_settings, where=method.frontend))
    return frontend


def build_method(
    method: Method, case: Case, features: FeatureSet, *, seed: int, smoke: bool, folder: Path, device: str
) -> BuiltMethod:
    """Return a method for the test clips of a case, and of all others with the same split and kind of label.

    `features` are those of all clips. A trained model is kept in the folder and not trained again; `smoke` trains for
    two steps only.

    Raises:
        EpisodeError: the split lacks clips to train the method on.
    """
    label = case.spec.label
    if method.learner == PROBE:
        learner = _scaled(replace(method, learner="nearest", settings={}), case, features)
        corpus = features.subset(clip for clip in features.utterances if clip.corpus == case.corpus)
        return BuiltMethod(predictor=LinearProbe(learner, corpus, label), calibration=None, settings={})
    start = time.monotonic()
    training: dict[str, Any] = {}
    calibration: Calibration | None = None
    training_set = TrainingSet()
    notes: tuple[str, ...] = ()
    if method.name == DEFAULT_MODEL:
        model = with_view(load_model(DEFAULT_FOLDER), "speaker" if label == "speaker" else "emotion")
        learner, settings, calibration = model.learner, asdict(model.config), model.config.calibration
        training_set = model.training_set
    elif method.trained:
        model, training, notes = _trained(method, case, features, seed=seed, smoke=smoke, folder=folder, device=device)
        learner, settings = model.learner, model.config.settings
    else:
        learner, settings = _scaled(method, case, features), method.settings
    learner = learner.to(distributed.compute(device).device)
    if calibration is None and label == "emotion" and method.name != DEFAULT_MODEL:
        calibration, missing = _calibrated(learner, case, features, seed=seed)
        notes = (*notes, *missing)
    return BuiltMethod(
        minutes=round(training.pop("minutes", (time.monotonic() - start) / 60), 3),
        predictor=LearnerPredictor(learner, features.subset(case.test)),
        calibration=calibration,
        settings=settings,
        training=training,
        training_set=training_set,
        notes=notes,
        speakers=cache(lambda: fit_speakers(learner, features.subset(case.train))),
    )


def _scaled(method: Method, case: Case, features: FeatureSet) -> Learner:
    """Return an untrained learner with the feature scale of the training clips."""
    frontend = frontend_of(method)
    encoder = {**method.settings.get("encoder", {"name": "statistics"})}
    encoder |= {"layers": frontend.layers, "pooled": frontend.pooled}
    if case.spec.label == "speaker" and encoder["name"] == "statistics" and frontend.dim <= _MOST_WHITENED:
        encoder["whitening"] = True
    learner: Learner
    if method.learner == SVM:
        learner = SupportVectors(frontend.dim, fill(EncoderSettings, encoder, where=SVM))
    else:
        config = ModelConfig(learner=method.learner, settings={**method.settings, "encoder": encoder})
        learner = build_model(config, frontend=frontend).learner
    clips = features.subset(case.train[::_SCALE_STEP])
    speakers = codes_of([clip.speaker_key or "" for clip in clips.utterances])
    learner.fit_scale(clips.batch(range(len(clips))), torch.from_numpy(speakers))
    return learner.eval()


def _trained(
    method: Method, case: Case, features: FeatureSet, *, seed: int, smoke: bool, folder: Path, device: str
) -> tuple[Model, dict[str, Any], tuple[str, ...]]:
    """Return a model that is meta-trained on a split, now or in an earlier run, with its training and notes."""
    settings, notes = train_settings(case.train, case.spec.label, seed=seed, smoke=smoke)
    finished = folder / "training.json"
    if finished.exists():
        return load_model(folder / "model"), json.loads(finished.read_text(encoding="utf-8")), notes
    encoder = {**method.settings.get("encoder", {})}
    if encoder and case.spec.label == "speaker":
        encoder["whitening"] = True
    start = time.monotonic()
    model, best = meta_train(
        ModelConfig(learner=method.learner, settings={**method.settings, **({"encoder": encoder} if encoder else {})}),
        lambda _, part: features.subset(part),
        case.train,
        settings=settings,
        run=folder,
        compute=distributed.compute(device),
        resume=True,
    )
    minutes = (time.monotonic() - start) / 60
    training = {**json.loads(json.dumps(asdict(settings))), "kept_epoch": best, "minutes": minutes}
    write_atomically(finished, json.dumps(training) + "\n")
    return model, training, notes


def train_settings(
    clips: Sequence[Utterance], label: LabelKind, *, seed: int, smoke: bool
) -> tuple[TrainSettings, tuple[str, ...]]:
    """Return the settings of meta-training, 240 steps of two episodes, and notes.

    Episodes are made smaller where meta-validation, a fifth of the speakers, lacks clips for them; that is noted.

    Raises:
        EpisodeError: there are too few clips even for the smallest.
    """
    task, notes = _task(clips, label, seed=seed)
    if smoke:
        return TrainSettings(tasks=(task,), epochs=1, steps=2, meta_batch=1, validation_episodes=2, seed=seed), notes
    return TrainSettings(tasks=(task,), epochs=6, meta_batch=2, seed=seed), notes


def _task(clips: Sequence[Utterance], label: LabelKind, *, seed: int) -> tuple[EpisodeSpec, tuple[str, ...]]:
    parts = split_by_speaker(clips, test_fraction=VALIDATION_SPEAKERS, seed=seed)
    wanted = _SPEAKERS if label == "speaker" else _EMOTIONS
    kinds = [wanted] if label == "speaker" else [wanted, replace(wanted, query_speaker="any")]
    sizes = [(wanted.k_shot, wanted.n_query), *(size for size in _SMALLER if size < (wanted.k_shot, wanted.n_query))]
    smaller = [replace(one, k_shot=k, n_query=q) for one in kinds for k, q in sizes]
    last: EpisodeError | None = None
    for spec in (replace(one, n_way=n_way) for n_way in range(wanted.n_way, 1, -1) for one in smaller):
        try:
            for part in parts:
                EpisodeSampler(part, spec)
        except EpisodeError as error:
            last = error
        else:
            return spec, () if spec == wanted else (f"trained on {spec}, {spec.n_query} queries: speakers are few",)
    raise EpisodeError(
        "training",
        found=last.found if last else "no task",
        expected=last.expected if last else "one",
        remedy="Add speakers to the corpora, or ask other --protocols.",
    ) from last


def _calibrated(
    learner: Learner, case: Case, features: FeatureSet, *, seed: int
) -> tuple[Calibration | None, tuple[str, ...]]:
    """Return a calibration fitted to the meta-validation speakers; None and a note where they are too few."""
    _, validation = split_by_speaker(case.train, test_fraction=VALIDATION_SPEAKERS, seed=seed)
    try:
        return fit_calibration(learner, features.subset(validation), seed=seed, n_episodes=_CALIBRATION_EPISODES), ()
    except EpisodeError:
        return None, ("not calibrated: too few meta-validation clips",)
