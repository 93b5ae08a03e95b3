"""Clips with their features: in memory, or on disk where there are more of them than memory should hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from ser_fewshot import audio
from ser_fewshot.corpora import Skipped, Utterance
from ser_fewshot.errors import AudioError, SettingsError
from ser_fewshot.frontends._cache import FeatureCache
from ser_fewshot.frontends._features import Features, stack

_SMALLEST_SPREAD = 1e-5  # a band that never moves is divided by this instead of by nothing


@dataclass(frozen=True, eq=False)
class Scale:
    """What clips are measured against.

    Attributes:
        mean, spread: (dim,) in double: a band that never moves must come out as zero; None for the clip's own.
    """

    mean: Tensor | None
    spread: Tensor | None

    @classmethod
    def own(cls) -> Scale:
        """Return the scale by which every clip is measured against itself."""
        return cls(None, None)

    @classmethod
    def of(cls, frames: Tensor) -> Scale:
        """Return the mean and the spread of some frames, (n, dim)."""
        exact = frames.double()
        return cls(exact.mean(0), exact.std(0, correction=0).clamp_min(_SMALLEST_SPREAD))

    def __call__(self, clip: Tensor) -> Tensor:
        """(frames, dim) -> (frames, dim), in this scale."""
        if self.mean is None or self.spread is None:
            return Scale.of(clip)(clip)
        return ((clip - self.mean) / self.spread).to(clip.dtype)


class StoredClips(Sequence[Tensor]):
    """Features of clips that stay in the cache, each read when it is asked for.

    Args:
        cache: where they are.
        keys: (n_clips,) under which name.
        scales: (n_clips,) what each is measured against; without, they are as the front-end made them.
    """

    def __init__(self, cache: FeatureCache, keys: Sequence[str], scales: Sequence[Scale] | None = None) -> None:
        self.cache = cache
        self.keys = tuple(keys)
        self.scales = scales

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, row: int) -> Tensor: ...

    @overload
    def __getitem__(self, row: slice) -> StoredClips: ...

    def __getitem__(self, row: int | slice) -> Tensor | StoredClips:
        """Return a clip, (frames, dim); or some, which stay where they are."""
        if isinstance(row, slice):
            return self.take(range(len(self))[row])
        entry = self.cache.read(self.keys[row])
        if entry is None:
            raise SettingsError(
                f"feature cache {self.cache.root}",
                found=f"no more entry of clip {row}, which was there before",
                expected="a cache that nobody clears while it is used",
                remedy="Start again: what is missing is analysed anew.",
            )
        clip = torch.from_numpy(entry)
        return clip if self.scales is None else self.scales[row](clip)

    def take(self, rows: Sequence[int]) -> StoredClips:
        """Return some of the clips."""
        scales = None if self.scales is None else [self.scales[row] for row in rows]
        return StoredClips(self.cache, [self.keys[row] for row in rows], scales)

    def scaled(self, scales: Sequence[Scale]) -> StoredClips:
        """Return the clips, each measured against its scale."""
        return StoredClips(self.cache, self.keys, scales)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Utterances with their features.

    Attributes:
        utterances: those that could be read, in the order they were asked for.
        clips: (frames, dim) each; (width,) each once a learner has embedded them.
        skipped: those that could not be read, with the reason.
        keys: of the sound of each clip, see `content_key`; empty where they are not known.
    """

    utterances: tuple[Utterance, ...]
    clips: Sequence[Tensor]
    skipped: tuple[Skipped, ...] = ()
    keys: tuple[str, ...] = ()

    def batch(self, rows: Sequence[int]) -> Features:
        """Pad the clips of some rows to one batch."""
        return stack([self.clips[row] for row in rows])

    def subset(self, utterances: Iterable[Utterance]) -> FeatureSet:
        """Return the features of some of the clips, in the order that they have here."""
        kept = {utterance.id for utterance in utterances}
        rows = [row for row, utterance in enumerate(self.utterances) if utterance.id in kept]
        clips = self.clips
        some = clips.take(rows) if isinstance(clips, StoredClips) else tuple(clips[row] for row in rows)
        keys = tuple(self.keys[row] for row in rows) if self.keys else ()
        return FeatureSet(tuple(self.utterances[row] for row in rows), some, keys=keys)

    def __len__(self) -> int:
        return len(self.clips)


def content_key(utterance: Utterance, hashed: dict[Path, str]) -> str:
    """Return what the sound of a clip is known by: the bytes of its file, and which part of it the clip is.

    A recording of many clips is hashed once, into `hashed`.

    Raises:
        AudioError: the file cannot be read.
    """
    if utterance.start is None and utterance.end is None:
        return audio.content_key(utterance.path)
    if utterance.path not in hashed:
        hashed[utterance.path] = audio.content_key(utterance.path)
    part = f"{hashed[utterance.path]} from {utterance.start or 0.0!r} to {utterance.end!r}"
    return hashlib.sha256(part.encode()).hexdigest()


def content_keys(utterances: Iterable[Utterance]) -> list[str]:
    """Return the content key of each clip, empty for one that cannot be read."""
    keys: list[str] = []
    hashed: dict[Path, str] = {}
    for utterance in utterances:
        try:
            keys.append(content_key(utterance, hashed))
        except AudioError:
            keys.append("")
    return keys
