"""From a method and a split to something that answers: built, scaled or trained, and calibrated."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ser_fewshot import plugins
from ser_fewshot.assets import DEFAULT_MODEL as DEFAULT_FOLDER
from ser_fewshot.benchmark.methods import DEFAULT_MODEL, PROBE, SVM, Method
from ser_fewshot.benchmark.predictors import Adapted, LinearProbe, Predictor
from ser_fewshot.benchmark.protocols import Question
from ser_fewshot.benchmark.svm import SupportVectors
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import LabelKind, Utterance
from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.splits import split_by_speaker
from ser_fewshot.errors import EpisodeError
from ser_fewshot.evaluation.calibration import Calibration, fit_calibration
from ser_fewshot.frontends import FeatureSet, FrontEnd
from ser_fewshot.learners import Learner
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, with_view
from ser_fewshot.models.meta_train import VALIDATION_SPEAKERS, meta_train
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.settings import fill
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.training import TrainSettings

_SCALE_STEP = 4  # every fourth clip is enough for a scale
_MOST_WHITENED = 1_000  # values of a frame: of ComParE's 6,373, the covariance alone would take minutes a split
_LONGEST_SLUG = 50  # characters, which may take four bytes each of the 255 that a file's name has
_CALIBRATION_EPISODES = 10  # of each number of ways and shots
_EMOTIONS = EpisodeSpec(n_way=4, k_shot=5, n_query=5)
_SPEAKERS = EpisodeSpec(n_way=5, k_shot=2, n_query=2, label="speaker", query_speaker="same")
_SMALLER = ((3, 3), (2, 2), (1, 2))  # shots and queries of a training task, where speakers are few


@dataclass(frozen=True, eq=False, kw_only=True)
class Made:
    """A method that is ready for the test clips of a split.

    Attributes:
        predictor: predicts the queries of episodes.
        calibration: of its logits; None where that was not fitted.
        settings, training: how it was configured and trained, for the record.
        minutes: that making it took.
        training_set: of a finished model; of what is trained on the split, the split says it.
        notes: what a reader must know.
    """

    predictor: Predictor
    calibration: Calibration | None
    settings: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    minutes: float = 0.0
    training_set: TrainingSet = field(default_factory=TrainingSet)
    notes: tuple[str, ...] = ()


def frontend_of(method: Method) -> FrontEnd:
    """Return what a method sees clips through.

    Raises:
        SettingsError: it needs a package that is not installed; the error names the extra.
    """
    module = plugins.load("frontends", method.frontend)
    frontend: FrontEnd = module.FRONTEND(fill(module.Settings, method.frontend_settings, where=method.frontend))
    return frontend


def make(
    method: Method, question: Question, features: FeatureSet, *, seed: int, smoke: bool, folder: Path, device: str
) -> Made:
    """Return a method, ready for the test clips of a question and of all others on the same split and label.

    Args:
        method: which.
        question: the split, and what a class is.
        features: of all clips, through the method's front-end.
        seed: of weights, training and calibration.
        smoke: whether to train for two steps, only to see that it runs.
        folder: of this method on this split; what is trained is kept there and not trained again.
        device: that the learner computes on.

    Raises:
        EpisodeError: the split cannot give what the method is trained on.
    """
    label = question.spec.label
    if method.learner == PROBE:
        learner = _scaled(replace(method, learner="nearest", settings={}), question, features)
        corpus = features.subset(clip for clip in features.utterances if clip.corpus == question.corpus)
        return Made(predictor=LinearProbe(learner, corpus, label), calibration=None, settings={})
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
        model, training, notes = _trained(
            method, question, features, seed=seed, smoke=smoke, folder=folder, device=device
        )
        learner, settings = model.learner, model.config.settings
    else:
        learner, settings = _scaled(method, question, features), method.settings
    learner = learner.to(distributed.compute(device).device)
    if calibration is None and label == "emotion" and method.name != DEFAULT_MODEL:
        calibration, lacking = _calibrated(learner, question, features, seed=seed)
        notes = (*notes, *lacking)
    minutes = training.pop("minutes", (time.monotonic() - start) / 60)
    test = features.subset(question.test)
    return Made(
        predictor=Adapted(learner, test),
        calibration=calibration,
        settings=settings,
        training=training,
        minutes=round(minutes, 3),
        training_set=training_set,
        notes=notes,
    )


def _scaled(method: Method, question: Question, features: FeatureSet) -> Learner:
    """Return a learner that is not trained, its scale learned from clips of the training side."""
    frontend = frontend_of(method)
    encoder = {**method.settings.get("encoder", {"name": "statistics"})}
    encoder |= {"layers": frontend.layers, "pooled": frontend.pooled}
    if question.spec.label == "speaker" and encoder["name"] == "statistics" and frontend.dim <= _MOST_WHITENED:
        encoder["whitening"] = True
    learner: Learner
    if method.learner == SVM:
        learner = SupportVectors(frontend.dim, fill(EncoderSettings, encoder, where=SVM))
    else:
        config = ModelConfig(learner=method.learner, settings={**method.settings, "encoder": encoder})
        learner = build_model(config, frontend=frontend).learner
    clips = features.subset(question.train[::_SCALE_STEP])
    spoken = [clip.speaker_key or "" for clip in clips.utterances]
    number = {speaker: place for place, speaker in enumerate(sorted(set(spoken)))}
    y = torch.tensor([number[speaker] for speaker in spoken])
    learner.fit_scale(clips.batch(range(len(clips))), y)
    return learner.eval()


def _trained(
    method: Method, question: Question, features: FeatureSet, *, seed: int, smoke: bool, folder: Path, device: str
) -> tuple[Model, dict[str, Any], tuple[str, ...]]:
    """Return a model that is trained on a split, or was in an earlier run of the same benchmark."""
    settings, notes = train_settings(question.train, question.spec.label, seed=seed, smoke=smoke)
    told = folder / "training.json"
    if told.exists():
        return load_model(folder / "model"), json.loads(told.read_text(encoding="utf-8")), notes
    encoder = {**method.settings.get("encoder", {})}
    if encoder and question.spec.label == "speaker":
        encoder["whitening"] = True
    start = time.monotonic()
    model, best = meta_train(
        ModelConfig(learner=method.learner, settings={**method.settings, **({"encoder": encoder} if encoder else {})}),
        lambda _, part: features.subset(part),
        question.train,
        settings=settings,
        run=folder,
        compute=distributed.compute(device),
        resume=True,
    )
    minutes = (time.monotonic() - start) / 60
    training = {**json.loads(json.dumps(asdict(settings))), "kept_epoch": best, "minutes": minutes}
    write_atomically(told, json.dumps(training) + "\n")
    return model, training, notes


def train_settings(
    clips: Sequence[Utterance], label: LabelKind, *, seed: int, smoke: bool
) -> tuple[TrainSettings, tuple[str, ...]]:
    """Return how learners are trained on some clips: 240 steps of two episodes, 2 of them to see that it runs.

    The task is made smaller where meta-validation, a fifth of the speakers, cannot give it; that is noted.

    Raises:
        EpisodeError: it cannot even give the smallest.
    """
    task, notes = _task(clips, label, seed=seed)
    if smoke:
        settings = TrainSettings(tasks=(task,), epochs=1, steps=2, meta_batch=1, validation_episodes=2, seed=seed)
    else:
        settings = TrainSettings(tasks=(task,), epochs=6, meta_batch=2, seed=seed)
    return settings, notes


def _task(clips: Sequence[Utterance], label: LabelKind, *, seed: int) -> tuple[EpisodeSpec, tuple[str, ...]]:
    parts = split_by_speaker(clips, test_fraction=VALIDATION_SPEAKERS, seed=seed)
    asked = _SPEAKERS if label == "speaker" else _EMOTIONS
    spoken = [asked] if label == "speaker" else [asked, replace(asked, query_speaker="any")]
    sizes = [(asked.k_shot, asked.n_query), *(size for size in _SMALLER if size < (asked.k_shot, asked.n_query))]
    smaller = [replace(one, k_shot=k, n_query=q) for one in spoken for k, q in sizes]
    last: EpisodeError | None = None
    for spec in (replace(one, n_way=n_way) for n_way in range(asked.n_way, 1, -1) for one in smaller):
        try:
            for part in parts:
                EpisodeSampler(part, spec)
        except EpisodeError as error:
            last = error
        else:
            return spec, () if spec == asked else (f"trained on {spec}, {spec.n_query} queries: speakers are few",)
    raise EpisodeError(
        "training",
        found=last.found if last else "no task",
        expected=last.expected if last else "one",
        remedy="Add speakers to the corpora, or ask other --protocols.",
    ) from last


def _calibrated(
    learner: Learner, question: Question, features: FeatureSet, *, seed: int
) -> tuple[Calibration | None, tuple[str, ...]]:
    """Return a calibration on the meta-validation speakers, who were not trained on; None where they are too few."""
    _, validation = split_by_speaker(question.train, test_fraction=VALIDATION_SPEAKERS, seed=seed)
    try:
        found = fit_calibration(learner, features.subset(validation), seed=seed, n_episodes=_CALIBRATION_EPISODES)
    except EpisodeError:
        return None, ("not calibrated: too few meta-validation clips",)
    return found, ()


def slug(name: str) -> str:
    """Return a name as part of a path, unique by a digest: "maml:inner_rate=1" -> "maml-inner_rate-1-fea727af"."""
    words = re.sub(r"[^\w.]+", "-", name)[:_LONGEST_SLUG]
    return f"{words}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
