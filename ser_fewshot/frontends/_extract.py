"""From utterances to features: read, analyse in batches of like length, keep on disk, normalise by explicit choice.

Clips stream through: what is in memory at a time is some minutes of sound, and features up to a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from ser_fewshot import audio
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import Skipped, Utterance
from ser_fewshot.errors import AudioError, SettingsError
from ser_fewshot.frontends._cache import FeatureCache
from ser_fewshot.frontends._clips import FeatureSet, StoredClips, content_key
from ser_fewshot.frontends._normalization import Normalization, check_normalization, normalize

HELD_BYTES = 2**31
"""Features that are held in memory; more than that are read from the cache whenever they are needed."""

_WAITING_SAMPLES = 640 * audio.SAMPLE_RATE  # what is read before it is analysed: 40 MB


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
    hold: int = HELD_BYTES,
    track: Callable[[Sequence[Utterance]], Iterable[Utterance]] = iter,
) -> FeatureSet:
    """Read and analyse utterances, from the cache where it knows them; several processes with a cache share the work.

    Args:
        frontend: what analyses.
        utterances: what to read; a clip that cannot be used is skipped, counted and listed.
        cache: where features are kept; None analyses everything anew.
        normalization: see `Normalization`.
        hold: bytes of features to hold in memory; if there are more, and a cache, they stay there.
        track: wraps the utterances to show progress.

    Raises:
        SettingsError: the normalisation is unknown or needs a speaker that a clip does not have; the cache is that of
            another front-end or cannot be written.
        DistributedError: another process is gone.
    """
    asked = tuple(utterances)
    check_frames(frontend, normalization)
    check_normalization(normalization, [utterance.speaker_key for utterance in asked])
    if cache is not None and distributed.world_size() > 1:
        fill(frontend, asked, cache=cache, track=track)
        distributed.barrier()
    stream = _Stream(frontend, cache)
    held = _Held(cache, hold)
    for found in stream.of(track(asked)):
        held.add(found)
    readable = tuple(asked[row] for row in held.rows)
    clips = normalize(held.clips(), normalization, speakers=[item.speaker_key for item in readable])
    whole = clips if isinstance(clips, StoredClips) else tuple(clips)
    return FeatureSet(readable, whole, tuple(stream.skipped), tuple(held.keys[row] for row in held.rows))


def fill(
    frontend: FrontEnd,
    utterances: Sequence[Utterance],
    *,
    cache: FeatureCache,
    track: Callable[[Sequence[Utterance]], Iterable[Utterance]] = iter,
) -> tuple[int, list[Skipped]]:
    """Bring the features of utterances into the cache, holding none of them; each of several processes takes a share.

    Args:
        frontend: what analyses.
        utterances: what to read; a clip that cannot be used is skipped.
        cache: where features are kept.
        track: wraps the utterances of this process to show progress.

    Returns:
        How many clips of this process's share are in the cache now, and those that were skipped, with the reason.

    Raises:
        SettingsError: the cache is that of another front-end or cannot be written.
    """
    stream = _Stream(frontend, cache)
    return sum(1 for _ in stream.of(track(distributed.share(utterances)))), stream.skipped


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


@dataclass(frozen=True, eq=False)
class _Found:
    """A clip: its row, what it is kept under, and its features (frames, dim)."""

    row: int
    key: str
    features: Tensor


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A clip that is still to be analysed: its row, what to keep it under, and its waveform (samples,)."""

    row: int
    key: str
    waveform: Tensor


class _Stream:
    """Clips to features, a few minutes of sound at a time; `.skipped` fills up on the way."""

    def __init__(self, frontend: FrontEnd, cache: FeatureCache | None) -> None:
        if cache is not None and cache.identity != frontend.identity:
            raise SettingsError(
                "feature cache",
                found=f"one of {cache.identity}",
                expected=f"one of this front-end, {frontend.identity}",
                remedy="Build it with the identity of the front-end.",
            )
        self.frontend = frontend
        self.cache = cache
        self.skipped: list[Skipped] = []
        self._hashed: dict[Path, str] = {}

    def of(self, utterances: Iterable[Utterance]) -> Iterator[_Found]:
        """Yield every clip that can be used: cached ones at once, others when enough of them wait."""
        waiting: list[_Waiting] = []
        n_waiting = 0  # samples
        for row, utterance in enumerate(utterances):
            try:
                read = self._read(row, utterance)
            except AudioError as error:
                self.skipped.append(_skipped(utterance, error))
                continue
            if isinstance(read, _Found):
                yield read
                continue
            waiting.append(read)
            n_waiting += len(read.waveform)
            if n_waiting >= _WAITING_SAMPLES:
                yield from self._analysed(waiting)
                waiting, n_waiting = [], 0
        yield from self._analysed(waiting)

    def _read(self, row: int, utterance: Utterance) -> _Found | _Waiting:
        """Return the cached features of a clip, or what they are to be made from."""
        key = content_key(utterance, self._hashed)
        entry = None if self.cache is None else self.cache.read(key)
        if entry is not None:
            return _Found(row, key, torch.from_numpy(entry))
        clip = audio.load(utterance.path, start=utterance.start, end=utterance.end, trim=self.frontend.trim)
        return _Waiting(row, key, torch.from_numpy(clip.waveform))

    def _analysed(self, waiting: Sequence[_Waiting]) -> Iterator[_Found]:
        for item, exact in zip(waiting, analyse(self.frontend, [item.waveform for item in waiting]), strict=True):
            features = _rounded(exact, self.frontend.storage)
            if self.cache is not None:
                self.cache.write(item.key, features.numpy())
            yield _Found(item.row, item.key, features)


@dataclass(eq=False)
class _Held:
    """What was found so far: features up to a limit; beyond it, if there is a cache, only what they are kept under."""

    cache: FeatureCache | None
    limit: int
    keys: dict[int, str] = field(default_factory=dict)
    features: dict[int, Tensor] = field(default_factory=dict)
    n_bytes: int = 0

    @property
    def rows(self) -> list[int]:
        """Of the clips, in order."""
        return sorted(self.keys)

    def add(self, found: _Found) -> None:
        """Take a clip in."""
        self.keys[found.row] = found.key
        self.n_bytes += found.features.nbytes
        if self.cache is None or self.n_bytes <= self.limit:
            self.features[found.row] = found.features
        else:
            self.features.clear()

    def clips(self) -> Sequence[Tensor]:
        """Return the features of all clips, in order."""
        if self.cache is not None and self.n_bytes > self.limit:
            return StoredClips(self.cache, [self.keys[row] for row in self.rows])
        return [self.features[row] for row in self.rows]


def _skipped(utterance: Utterance, error: AudioError) -> Skipped:
    whole = utterance.start is None and utterance.end is None
    which = "" if whole else f" ({utterance.id})"
    return Skipped(utterance.path, f"unusable: {error.found}; expected {error.expected}{which}")


def _rounded(features: Tensor, storage: torch.dtype) -> Tensor:
    """(frames, dim) as they come back from the disk, so that the first run and the second have the same values."""
    kept = features.to(storage).to(features.dtype)
    return kept if bool(kept.isfinite().all()) else features  # half precision ends at 65,504
