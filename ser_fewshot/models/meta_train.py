"""Meta-train a model on clips and save it with its card: what the `train` command and the recipes share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import torch

from ser_fewshot.compute import distributed
from ser_fewshot.compute.distributed import Compute
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes.splits import split_by_speaker
from ser_fewshot.frontends import FeatureSet, FrontEnd
from ser_fewshot.learners import Learner, SpeakerModel, embed_clips, fit_speaker_model
from ser_fewshot.models import Model, ModelConfig, build_model, save_model, take_encoder
from ser_fewshot.models.card import training_card
from ser_fewshot.models.training_set import TrainingSet
from ser_fewshot.storage.tensors import digest
from ser_fewshot.training import TrainSettings, check_parts, run_file, train
from ser_fewshot.training.augmentation import NO_AUGMENTATION

VALIDATION_SPEAKERS = 0.2


def meta_train(
    config: ModelConfig,
    extract: Callable[[Model, Sequence[Utterance]], FeatureSet],
    utterances: Sequence[Utterance],
    *,
    settings: TrainSettings,
    run: Path,
    frontend: FrontEnd | None = None,
    start: Model | None = None,
    resume: bool = False,
    command: str = "",
    held_out: Mapping[str, Sequence[str]] = MappingProxyType({}),
    compute: Compute | None = None,
    track: Callable[[Iterable[int], str], Iterable[int]] = lambda steps, _: steps,
) -> tuple[Model, dict[str, float]]:
    """Train a new model, select its epoch on a fifth of the speakers, and save it with its card under `run`/model.

    A learner with several objectives is trained by one after the other, each in a folder of its own under `run`.

    Args:
        config: of the model.
        extract: returns the features of some clips for a model.
        utterances: to train on; validation speakers are taken from these.
        settings: frames are augmented only where the front-end's values are a spectrum.
        run: folder of the run; see `ser_fewshot.training.train`.
        frontend: the one that `config` describes, with its weights, if it has any; it is not trained.
        start: a model whose encoder the new one begins with; without, it is random.
        resume: go on from the run's checkpoint.
        command: for the card: what made the model.
        held_out: for the card: what was kept for meta-test, such as {"speakers": ["emodb/03"]}; none of it may be
            among the utterances.
        compute: see `ser_fewshot.training.train`.
        track: wraps the steps of an epoch to show progress.

    Returns:
        The model, and the record of the epoch that was kept, of the last objective.
    """
    model = build_model(config, frontend=frontend, seed=settings.seed)
    if start is not None:
        model = take_encoder(model, start)
    if not model.frontend.spectral:
        settings = replace(settings, augmentation=NO_AUGMENTATION)
    objectives = model.learner.objectives
    runs = {objective: run / objective if len(objectives) > 1 else run for objective in objectives}
    for folder in runs.values():
        run_file(folder, resume=resume)
    parts = split_by_speaker(utterances, test_fraction=VALIDATION_SPEAKERS, seed=settings.seed)
    check_parts(model.learner, *parts, settings)  # before minutes of analysis
    train_part, validation_part = (extract(model, part) for part in parts)
    identity = {"model": asdict(model.config), "frontend": model.frontend.identity, "weights": digest(model.learner)}
    for objective, folder in runs.items():
        history = train(
            model.learner,
            train_part,
            validation_part,
            settings=settings,
            run=folder,
            objective=objective,
            config=json.dumps(identity, sort_keys=True),
            resume=resume,
            compute=compute,
            track=track,
        )
    best = max(history, key=lambda record: record["validation_uar"])
    if distributed.is_main():
        chosen_by = (*train_part.utterances, *validation_part.utterances)  # validation speakers chose the epoch
        record = model.training_set | TrainingSet.of(chosen_by)
        # Not those of `start`: its encoder has been trained on.
        model = replace(model, training_set=record, speakers=fit_speakers(model.learner, train_part))
        card = training_card(
            model, train_part.utterances, settings=settings, best=best, command=command, held_out=held_out
        )
        save_model(model, run / "model", card=card)
    distributed.barrier()
    return model, best


def with_speakers(model: Model, features: FeatureSet) -> Model:
    """Return a model with statistics of speakers, fitted to the features of labelled meta-train clips.

    The model is as it was where no corpus has three speakers of several emotions each.
    """
    return replace(model, speakers=fit_speakers(model.learner, features) or model.speakers)


def fit_speakers(learner: Learner, features: FeatureSet) -> SpeakerModel | None:
    """Fit how embeddings of a learner vary by speaker; None where no corpus has three speakers of several emotions."""
    rows = [row for row, clip in enumerate(features.utterances) if clip.emotion and clip.speaker]
    if not rows:
        return None
    clips = [features.utterances[row] for row in rows]
    embedded = embed_clips(learner, [features.clips[row] for row in rows])
    z = torch.stack([x if x.ndim == 1 else x.mean(0) for x in embedded])
    return fit_speaker_model(
        z,
        corpora=[clip.corpus for clip in clips],
        classes=[str(clip.emotion) for clip in clips],
        speakers=[clip.speaker_key for clip in clips],
    )
