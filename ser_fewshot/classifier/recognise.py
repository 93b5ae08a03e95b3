"""From clips to predictions: their embeddings, and what is enrolled against these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, pairwise
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ser_fewshot import audio
from ser_fewshot.audio import Clip, Source
from ser_fewshot.classifier.enrollment import Enrolled, Enrollment, check_size
from ser_fewshot.classifier.inputs import checked_sources, one_line
from ser_fewshot.classifier.prediction import NearestClip, Prediction
from ser_fewshot.classifier.voice import Voice
from ser_fewshot.compute.threads import each, small_work
from ser_fewshot.errors import CheckpointError, EnrollmentError
from ser_fewshot.frontends import analyse, normalize, stack
from ser_fewshot.learners import embed_clips, evaluating, is_augmented, points, shifted, squared_distances
from ser_fewshot.models import Model, silence

_AT_ONCE = 64
"""Clips that are enrolled at once: under all conditions, they take some hundred megabytes."""


@small_work()
def embedded(model: Model, sources: Sequence[Source | Clip]) -> tuple[list[Tensor], list[Clip]]:
    """Return the embedding that a model's learner keeps of each clip, (width,) or (frames, dim), and the clips.

    Raises:
        AudioError: a clip cannot be used.
        CheckpointError: an embedding is not finite.
    """
    trim = model.frontend.trim
    clips = [source if isinstance(source, Clip) else audio.load(source, trim=trim) for source in sources]
    return _embedded(model, [clip.waveform for clip in clips]), clips


@small_work()
def enrolled_classes(
    model: Model,
    classes: Mapping[str, Sequence[Source | Clip]],
    speakers: Mapping[str, Sequence[str | None]],
    *,
    clean_only: bool,
    beside: Mapping[str, Enrolled] = MappingProxyType({}),
) -> dict[str, Enrolled]:
    """Return the clips of some classes as they are enrolled, embedded some at a time.

    Args:
        model: embeds them.
        classes: label -> its clips.
        speakers: label -> who speaks in each of them.
        clean_only: whether they are not embedded under recording conditions too. They never are by a learner whose
            support is not augmented: see `is_augmented`.
        beside: what is enrolled already, whose clips count towards the most that can be.

    Raises:
        EnrollmentError: there are too many clips; none is embedded then.
        AudioError: a clip cannot be used.
        CheckpointError: an embedding is not finite.
    """
    augmented = not clean_only and is_augmented(model.learner, silence(model).x[0])
    sources = [source for members in classes.values() for source in members]
    known = [deviations for members in beside.values() for deviations in members.deviations]
    check_size(len(known) + len(sources), sum(map(len, known)) + (_n_conditions() * len(sources) if augmented else 0))
    parts = [
        _enrolled(model, sources[start : start + _AT_ONCE], augmented=augmented)
        for start in range(0, len(sources), _AT_ONCE)
    ]
    clips, names, deviations = (tuple(chain.from_iterable(column)) for column in zip(*parts, strict=True))
    every = Enrolled(clips, names, tuple(name for label in classes for name in speakers[label]), deviations)
    ends = list(accumulate(map(len, classes.values()), initial=0))
    return {label: every.select(range(*part)) for label, part in zip(classes, pairwise(ends), strict=True)}


def _n_conditions() -> int:
    from ser_fewshot.audio.conditions import CONDITIONS  # noqa: PLC0415 - recognising does without torchaudio

    return len(CONDITIONS)


def _enrolled(
    model: Model, sources: Sequence[Source | Clip], *, augmented: bool
) -> tuple[Sequence[Tensor], Sequence[str], Sequence[Tensor]]:
    """Return the embeddings, the names and the deviations of some clips; of these none unless augmented."""
    found, clips = embedded(model, sources)
    none = [clip.new_empty(0, clip.shape[-1]) for clip in found]
    return found, [one_line(clip.name) for clip in clips], _deviations(model, clips, found) if augmented else none


def _deviations(model: Model, clips: Sequence[Clip], clean: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the embeddings of clips under each condition less their own, (n_conditions, width) each."""
    from ser_fewshot.audio.conditions import CONDITIONS, simulate  # noqa: PLC0415 - recognising does without torchaudio

    pairs = [(condition, clip.waveform) for clip in clips for condition in CONDITIONS]
    found = torch.stack(_embedded(model, each(lambda pair: simulate(*pair), pairs)))
    return [under - embedding for under, embedding in zip(torch.split(found, len(CONDITIONS)), clean, strict=True)]


def _embedded(model: Model, waveforms: Sequence[NDArray[np.float32]]) -> list[Tensor]:
    """(samples,) each -> what the learner keeps of each."""
    frames = analyse(model.frontend, [torch.from_numpy(waveform) for waveform in waveforms])
    found = embed_clips(model.learner, normalize(frames, model.config.normalization))
    _check_finite(found)
    return found


def embeddings(model: Model, clips: Iterable[Source | Clip]) -> NDArray[np.float32]:
    """Return the embeddings of clips, (n_clips, width) float32.

    Raises:
        AudioError: a clip cannot be used.
        EnrollmentError: it is a single clip, or the model adapts its encoder and so has no embedding of its own.
    """
    like = silence(model).x[0]
    if like.ndim != 1:
        raise EnrollmentError(
            model.config.learner,
            found="a learner that adapts its encoder to every enrolment",
            expected="a learner with one embedding a clip",
            remedy="Use a learner such as 'protonet' or 'ridge'.",
        )
    found, _ = embedded(model, checked_sources("to embed", clips, least=0))
    return torch.stack([like, *found])[1:].numpy()  # (0, width) for no clips


def mean_of(model: Model, clips: Iterable[Source | Clip]) -> tuple[Tensor, int]:
    """Return the mean of the embeddings of clips (width,), and their number.

    Raises:
        EnrollmentError: there are no clips.
        AudioError: a clip cannot be used.
    """
    found, _ = embedded(model, checked_sources("to listen to", clips))
    return points(stack(found)).mean(0), len(found)


@small_work()
def recognised(
    model: Model, state: Enrollment, sources: Sequence[Source | Clip], *, voice: Voice | None, session: bool
) -> tuple[list[Prediction], list[Tensor]]:
    """Return the predictions for clips by what is enrolled, and the embedding that is kept of each.

    Args:
        model: of the enrolment.
        state: what is enrolled.
        sources: clips.
        voice: whose offset is subtracted.
        session: whether all clips are of one speaker, whose offset is then estimated from them.

    Raises:
        EnrollmentError: fewer than two classes are enrolled.
        AudioError: a clip cannot be used.
    """
    if state.classifier is None or state.support is None:
        raise EnrollmentError(
            "predict",
            found=f"{len(state.enrolled)} enrolled class{'es' if len(state.enrolled) != 1 else ''}",
            expected="at least two",
            remedy="Enrol a few clips of each of two emotions first.",
        )
    if not sources:
        return [], []
    kept, clips = embedded(model, sources)
    query, labels = stack(kept), list(state.enrolled)
    offset = None if voice is None else state.offset(voice)
    offset = state.session_offset(query) if session else offset
    voice_clips = 0 if offset is None else len(clips) if voice is None else voice.n_clips
    query = query if offset is None else shifted(query, offset)
    with evaluating(model.learner):
        logits = state.classifier(query)  # (n_clips, n_way)
    probabilities, novelties = (logits / state.temperature).softmax(1), state.novelties(query, logits)
    _check_finite([probabilities])
    distances = squared_distances(points(query), points(state.support)).sqrt()  # (n_query, n_support)
    rows = zip(probabilities.tolist(), distances, clips, novelties, strict=True)
    found = [
        Prediction(
            label=labels[int(np.argmax(row))],
            probabilities=dict(zip(labels, row, strict=True)),
            nearest=NearestClip(*state.owners[int(distance.argmin())], distance=float(distance.min())),
            warnings=clip.warnings,
            novelty=novelty,
            voice_clips=voice_clips,
        )
        for row, distance, clip, novelty in rows
    ]
    return found, kept


def _check_finite(tensors: Sequence[Tensor]) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise CheckpointError(
            "model",
            found="an embedding or a probability that is not finite",
            expected="finite numbers for every clip",
            remedy="Its weights are damaged: take the model from its source again.",
        )
