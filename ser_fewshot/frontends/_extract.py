"""From utterances to features: read, analyse in batches of like length, keep on disk, normalise by explicit choice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from ser_fewshot import audio
from ser_fewshot.corpora import Skipped, Utterance
from ser_fewshot.errors import AudioError, SettingsError
from ser_fewshot.frontends._cache import FeatureCache
from ser_fewshot.frontends._features import Features, stack

Normalization = Literal["none", "clip", "speaker"]
"""Whose mean and spread each band is measured against: nobody's, the clip's own, or those of all the speaker's clips.

Per-speaker statistics use every clip of a speaker without their labels, queries included: say so next to such a number.
"""

_WAITING_SAMPLES = 2_560 * audio.SAMPLE_RATE  # what is read before it is analysed: 160 MB
_SMALLEST_SPREAD = 1e-5  # a band that never moves is divided by this instead of by nothing


class FrontEnd(Protocol):
    """What turns waveforms into frames; frozen, so its output may be kept.

    Attributes:
        sample_rate: Hz.
        dim: values in a frame.
        layers: of an encoder that lie side by side in a frame, for the learner to weigh; 1 where there is no choice.
        pooled: whether a clip is one frame, which describes all of it.
        storage: what the values are rounded to, so that they can be kept in half the space.
        trim: whether it is given clips without the silence at their ends.
        spectral: whether values are logarithms of the power in bands, which augmentation may be added to.
    """

    sample_rate: int
    dim: int
    layers: int
    pooled: bool
    storage: torch.dtype
    trim: bool
    spectral: bool

    @property
    def network(self) -> nn.Module | None:
        """What has weights, which a saved model holds; None where the settings say everything."""

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides the values of the output."""

    def analyse(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """(samples,) each, at least one -> (frames, dim) each; how to batch them is the front-end's own business."""


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Utterances with their features.

    Attributes:
        utterances: those that could be read, in the order they were asked for.
        clips: (frames, dim) each; (width,) each once a learner has embedded them.
        skipped: those that could not be read, with the reason.
    """

    utterances: tuple[Utterance, ...]
    clips: tuple[Tensor, ...]
    skipped: tuple[Skipped, ...] = ()

    def batch(self, rows: Sequence[int]) -> Features:
        """Pad the clips of some rows to one batch."""
        return stack([self.clips[row] for row in rows])

    def subset(self, utterances: Iterable[Utterance]) -> FeatureSet:
        """Return the features of some of the clips, in the order that they have here."""
        kept = {utterance.id for utterance in utterances}
        rows = [row for row, utterance in enumerate(self.utterances) if utterance.id in kept]
        return FeatureSet(tuple(self.utterances[row] for row in rows), tuple(self.clips[row] for row in rows))

    def __len__(self) -> int:
        return len(self.clips)


def analyse(frontend: FrontEnd, waveforms: Sequence[Tensor]) -> list[Tensor]:
    """Waveforms of (samples,) each -> features of (frames, dim) each, independent of the company a clip came in.

    Raises:
        SettingsError: the front-end wants another sample rate than every clip has.
    """
    if frontend.sample_rate != audio.SAMPLE_RATE:
        raise SettingsError(
            "front-end",
            found=f"a sample rate of {frontend.sample_rate} Hz",
            expected=f"{audio.SAMPLE_RATE} Hz, at which every clip is read",
            remedy="Let the front-end resample.",
        )
    return frontend.analyse(waveforms) if waveforms else []


def extract(
    frontend: FrontEnd,
    utterances: Iterable[Utterance],
    *,
    cache: FeatureCache | None = None,
    normalization: Normalization = "none",
    track: Callable[[Sequence[Utterance]], Iterable[Utterance]] = iter,
) -> FeatureSet:
    """Read and analyse utterances, from the cache where it knows them.

    Args:
        frontend: what analyses.
        utterances: what to read; a clip that cannot be used is skipped, counted and listed.
        cache: where features are kept; None analyses everything anew.
        normalization: see `Normalization`.
        track: wraps the utterances to show progress.

    Raises:
        SettingsError: the normalisation is unknown or needs a speaker that a clip does not have; the cache is that of
            another front-end or cannot be written.
    """
    asked = tuple(utterances)
    check_frames(frontend, normalization)
    _check_normalization(normalization, [utterance.speaker_key for utterance in asked])
    _check_cache(cache, frontend)
    kept: dict[int, Tensor] = {}
    skipped: list[Skipped] = []
    waiting: list[_Waiting] = []
    n_waiting = 0  # samples
    hashed: dict[Path, str] = {}
    for row, utterance in enumerate(track(asked)):
        try:
            known = _read(row, utterance, cache, hashed, trim=frontend.trim)
        except AudioError as error:
            skipped.append(_skipped(utterance, error))
            continue
        if isinstance(known, Tensor):
            kept[row] = known
            continue
        waiting.append(known)
        n_waiting += len(known.waveform)
        if n_waiting >= _WAITING_SAMPLES:
            kept.update(_analyse_waiting(frontend, waiting, cache))
            waiting, n_waiting = [], 0
    kept.update(_analyse_waiting(frontend, waiting, cache))
    readable = tuple(asked[row] for row in sorted(kept))
    clips = normalize(
        [kept[row] for row in sorted(kept)], normalization, speakers=[item.speaker_key for item in readable]
    )
    return FeatureSet(readable, tuple(clips), tuple(skipped))


def check_frames(frontend: FrontEnd, normalization: str) -> None:
    """Refuse to measure a clip that is one frame against itself: nothing would be left of it.

    Raises:
        SettingsError: the normalisation is "clip" and the front-end pools.
    """
    if frontend.pooled and normalization == "clip":
        raise SettingsError(
            "normalization",
            found="'clip' for a front-end that makes one frame of a clip",
            expected="none | speaker",
            remedy="Choose one of these, or let the front-end keep its frames (pooling 'frames').",
        )


def _check_cache(cache: FeatureCache | None, frontend: FrontEnd) -> None:
    if cache is not None and cache.identity != frontend.identity:
        raise SettingsError(
            "feature cache",
            found=f"one of {cache.identity}",
            expected=f"one of this front-end, {frontend.identity}",
            remedy="Build it with the identity of the front-end.",
        )


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A clip that is still to be analysed: its row, what to keep it under, and its waveform (samples,)."""

    row: int
    key: str
    waveform: Tensor


def _read(
    row: int, utterance: Utterance, cache: FeatureCache | None, hashed: dict[Path, str], *, trim: bool
) -> Tensor | _Waiting:
    """Return the cached features of a clip, or what they are to be made from."""
    key = ""
    if cache is not None:
        key = _key(utterance, hashed)
        entry = cache.read(key)
        if entry is not None:
            return torch.from_numpy(entry)
    clip = audio.load(utterance.path, start=utterance.start, end=utterance.end, trim=trim)
    return _Waiting(row, key, torch.from_numpy(clip.waveform))


def _key(utterance: Utterance, hashed: dict[Path, str]) -> str:
    """Return what the features of a clip are kept under; a recording of many clips is hashed once, into `hashed`."""
    if utterance.start is None and utterance.end is None:
        return audio.content_key(utterance.path)
    if utterance.path not in hashed:
        hashed[utterance.path] = audio.content_key(utterance.path)
    part = f"{hashed[utterance.path]} from {utterance.start or 0.0!r} to {utterance.end!r}"
    return hashlib.sha256(part.encode()).hexdigest()


def _skipped(utterance: Utterance, error: AudioError) -> Skipped:
    whole = utterance.start is None and utterance.end is None
    which = "" if whole else f" ({utterance.id})"
    return Skipped(utterance.path, f"unusable: {error.found}; expected {error.expected}{which}")


def _analyse_waiting(
    frontend: FrontEnd, waiting: Sequence[_Waiting], cache: FeatureCache | None
) -> Iterator[tuple[int, Tensor]]:
    for item, exact in zip(waiting, analyse(frontend, [item.waveform for item in waiting]), strict=True):
        features = _rounded(exact, frontend.storage)
        if cache is not None:
            cache.write(item.key, features.numpy())
        yield item.row, features


def _rounded(features: Tensor, storage: torch.dtype) -> Tensor:
    """(frames, dim) as they come back from the disk, so that the first run and the second have the same values."""
    kept = features.to(storage).to(features.dtype)
    return kept if bool(kept.isfinite().all()) else features  # half precision ends at 65,504


def normalize(
    clips: Sequence[Tensor], how: Normalization, *, speakers: Sequence[str | None] | None = None
) -> list[Tensor]:
    """Bring each band to mean 0 and standard deviation 1, over a clip or over all clips of its speaker.

    Args:
        clips: (frames, dim) each.
        how: see `Normalization`.
        speakers: (n_clips,) whose clip each is; needed for "speaker".

    Raises:
        SettingsError: "speaker" is asked for and a clip has no speaker, or nobody knows what is asked for.
    """
    owners = [None] * len(clips) if speakers is None else speakers
    _check_normalization(how, owners)
    if how == "none":
        return list(clips)
    if how == "clip":
        return [_standardize(clip, clip) for clip in clips]
    groups: dict[str | None, list[Tensor]] = {}
    for clip, speaker in zip(clips, owners, strict=True):
        groups.setdefault(speaker, []).append(clip)
    references = {speaker: torch.cat(members) for speaker, members in groups.items()}
    return [_standardize(clip, references[speaker]) for clip, speaker in zip(clips, owners, strict=True)]


def _check_normalization(how: str, speakers: Sequence[str | None]) -> None:
    if how not in get_args(Normalization):
        raise SettingsError(
            "normalisation",
            found=repr(how),
            expected=" | ".join(get_args(Normalization)),
            remedy="Choose one of these.",
        )
    known = sum(speaker is not None for speaker in speakers)
    if how == "speaker" and known < len(speakers):
        raise SettingsError(
            "per-speaker normalisation",
            found=f"{known} of {len(speakers)} clips with a known speaker",
            expected="a speaker for every clip",
            remedy="Fill the speaker column, or choose the normalisation 'clip' or 'none'.",
        )


def _standardize(clip: Tensor, reference: Tensor) -> Tensor:
    """(frames, dim) by the mean and spread of (n, dim), in double: a band that never moves must come out as zero."""
    frames = reference.double()
    spread = frames.std(0, correction=0).clamp_min(_SMALLEST_SPREAD)
    return ((clip - frames.mean(0)) / spread).to(clip.dtype)
