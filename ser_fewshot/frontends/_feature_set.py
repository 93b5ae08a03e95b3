"""Utterances with their features: in memory, or in the cache on disk where they take too much memory."""

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

_SMALLEST_DEVIATION = 1e-5  # a constant band is divided by this instead of by zero


@dataclass(frozen=True, eq=False)
class Standardization:
    """The mean and standard deviation by which a clip is standardized; by default the clip's own.

    Attributes:
        mean, deviation: (dim,) in double, so that a constant band comes out as zero.
    """

    mean: Tensor | None = None
    deviation: Tensor | None = None

    @classmethod
    def of(cls, frames: Tensor) -> Standardization:
        """Return the mean and the standard deviation of some frames, (n, dim)."""
        exact = frames.double()
        return cls(exact.mean(0), exact.std(0, correction=0).clamp_min(_SMALLEST_DEVIATION))

    def __call__(self, clip: Tensor) -> Tensor:
        """(frames, dim) -> (frames, dim), standardized."""
        if self.mean is None or self.deviation is None:
            return Standardization.of(clip)(clip)
        return ((clip - self.mean) / self.deviation).to(clip.dtype)


class StoredClips(Sequence[Tensor]):
    """Features of clips in the cache, each read at every access.

    Args:
        cache: the cache.
        keys: (n_clips,) their keys in it.
        standardized: (n_clips,) by what each is standardized, if at all.
    """

    def __init__(
        self, cache: FeatureCache, keys: Sequence[str], standardized: Sequence[Standardization] | None = None
    ) -> None:
        self.cache = cache
        self.keys = tuple(keys)
        self.standardized = standardized

    def __len__(self) -> int:
        return len(self.keys)

    @overload
    def __getitem__(self, row: int) -> Tensor: ...

    @overload
    def __getitem__(self, row: slice) -> StoredClips: ...

    def __getitem__(self, row: int | slice) -> Tensor | StoredClips:
        """Return a clip, (frames, dim); or some, still in the cache."""
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
        return clip if self.standardized is None else self.standardized[row](clip)

    def take(self, rows: Sequence[int]) -> StoredClips:
        """Return some of the clips."""
        by = None if self.standardized is None else [self.standardized[row] for row in rows]
        return StoredClips(self.cache, [self.keys[row] for row in rows], by)


@dataclass(frozen=True, eq=False)
class FeatureSet:
    """Utterances with their features.

    Attributes:
        utterances: those that could be read, in their order.
        clips: (frames, dim) each; (width,) each once a learner has embedded them.
        skipped: those that could not be read, with the reason.
        keys: the `content_key` of each clip; empty where they are not known.
        deviations: (n_conditions, width) of each clip, its embeddings under recording conditions less its own, by which
            a support is augmented; empty where it is not.
    """

    utterances: tuple[Utterance, ...]
    clips: Sequence[Tensor]
    skipped: tuple[Skipped, ...] = ()
    keys: tuple[str, ...] = ()
    deviations: tuple[Tensor, ...] = ()

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
        deviations = tuple(self.deviations[row] for row in rows) if self.deviations else ()
        return FeatureSet(tuple(self.utterances[row] for row in rows), some, keys=keys, deviations=deviations)

    def __len__(self) -> int:
        return len(self.clips)


def content_key(utterance: Utterance, hashed: dict[Path, str]) -> str:
    """Return a hash of the bytes of a clip's file and of the segment of it; each file is hashed once, into `hashed`."""
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
