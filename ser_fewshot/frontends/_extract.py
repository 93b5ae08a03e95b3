"""From utterances to features: read, analyse, cache on disk, normalise if chosen.

Clips stream through: in memory at a time are some minutes of sound, and features up to a limit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ser_fewshot import audio
from ser_fewshot.compute import distributed
from ser_fewshot.corpora import Skipped, Utterance
from ser_fewshot.errors import AudioError, SettingsError
from ser_fewshot.frontends._cache import FeatureCache
from ser_fewshot.frontends._feature_set import FeatureSet, StoredClips, content_key
from ser_fewshot.frontends._normalization import Normalization, check_normalization, normalize

if TYPE_CHECKING:
    from ser_fewshot.audio.conditions import Condition

HELD_BYTES = 2**31
"""Features that are held in memory; more than that are read from the cache at every access."""

Track = Callable[[Sequence[Utterance]], Iterable[Utterance]]
"""Wraps the clips that are read, to show progress."""

_WAITING_SAMPLES = 640 * audio.SAMPLE_RATE  # read before they are analysed: 40 MB


class FrontEnd(Protocol):
    """Turns waveforms into frames; frozen, so its output may be cached.

    Attributes:
        sample_rate: Hz.
        dim: values in a frame.
        layers: how many layers of an encoder lie side by side in a frame, for the learner to weigh.
        pooled: whether a clip is one frame.
        storage: the type that values are rounded to and cached in.
        trim: whether it takes clips without the silence at their ends.
        spectral: whether values are log powers of bands, which augmentation of frames needs.
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
        """The part with weights, which a saved model holds; None for a front-end without any."""

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides the values of the output."""

    def analyse(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """(samples,) each, at least one -> (frames, dim) each, in whatever batches suit the front-end."""


def analyse(frontend: FrontEnd, waveforms: Sequence[Tensor]) -> list[Tensor]:
    """Waveforms of (samples,) each -> features of (frames, dim) each, independent of the batch.

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
    track: Track = iter,
    condition: Condition | None = None,
) -> FeatureSet:
    """Read and analyse utterances, from the cache where it knows them; several processes with a cache share the work.

    Args:
        frontend: analyses the clips.
        utterances: a clip that cannot be used is skipped, counted and listed.
        cache: None analyses everything anew.
        normalization: see `Normalization`.
        hold: bytes of features to hold in memory; if there are more, and a cache, they stay there.
        track: see `Track`.
        condition: to simulate on every clip before it is analysed; see `audio.conditions`.

    Raises:
        SettingsError: the normalisation is unknown or needs a speaker that a clip does not have; the cache is that of
            another front-end or cannot be written.
        DistributedError: another process is gone.
    """
    every = tuple(utterances)
    check_frames(frontend, normalization)
    check_normalization(normalization, [utterance.speaker_key for utterance in every])
    if cache is not None and distributed.world_size() > 1:
        fill(frontend, every, cache=cache, track=track, condition=condition)
        distributed.barrier()
    stream = _Stream(frontend, cache, condition)
    keys: dict[int, str] = {}
    held: dict[int, Tensor] = {}
    n_bytes = 0
    for clip in stream.of(track(every)):
        keys[clip.row] = clip.key
        n_bytes += clip.values.nbytes
        if cache is None or n_bytes <= hold:
            held[clip.row] = clip.values
        else:
            held.clear()
    rows = sorted(keys)
    readable, readable_keys = tuple(every[row] for row in rows), tuple(keys[row] for row in rows)
    stored = StoredClips(cache, readable_keys) if cache is not None and n_bytes > hold else None
    found = [held[row] for row in rows] if stored is None else stored
    clips = normalize(found, normalization, speakers=[item.speaker_key for item in readable])
    clips = clips if isinstance(clips, StoredClips) else tuple(clips)
    return FeatureSet(readable, clips, tuple(stream.skipped), readable_keys)


def fill(
    frontend: FrontEnd,
    utterances: Sequence[Utterance],
    *,
    cache: FeatureCache,
    track: Track = iter,
    condition: Condition | None = None,
) -> tuple[int, list[Skipped]]:
    """Write the features of utterances to the cache, holding none of them; each of several processes takes a share.

    Returns:
        How many clips of this process's share are in the cache now, and those that were skipped, with the reason.

    Raises:
        SettingsError: the cache is that of another front-end or cannot be written.
    """
    stream = _Stream(frontend, cache, condition)
    return sum(1 for _ in stream.of(track(distributed.share(utterances)))), stream.skipped


def check_frames(frontend: FrontEnd, normalization: str) -> None:
    """Refuse to normalise a clip that is one frame by itself, which would leave nothing of it.

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


class _Clip(NamedTuple):
    """A clip: its row, its key in the cache, and its features (frames, dim) or its waveform (samples,)."""

    row: int
    key: str
    values: Tensor


class _Stream:
    """Clips to features, a few minutes of sound at a time; `.skipped` fills up on the way."""

    def __init__(self, frontend: FrontEnd, cache: FeatureCache | None, condition: Condition | None) -> None:
        if cache is not None and cache.identity != frontend.identity:
            raise SettingsError(
                "feature cache",
                found=f"one of {cache.identity}",
                expected=f"one of this front-end, {frontend.identity}",
                remedy="Build it with the identity of the front-end.",
            )
        self.frontend = frontend
        self.cache = cache
        self.condition = condition
        self.skipped: list[Skipped] = []
        self._hashed: dict[Path, str] = {}

    def of(self, utterances: Iterable[Utterance]) -> Iterator[_Clip]:
        """Yield the features of every clip that can be used: cached ones at once, others when enough of them wait."""
        waiting: list[_Clip] = []
        n_waiting = 0  # samples
        for row, utterance in enumerate(utterances):
            try:
                key = self._key(utterance)
                entry = None if self.cache is None else self.cache.read(key)
                if entry is not None:
                    yield _Clip(row, key, torch.from_numpy(entry))
                    continue
                waveform = self._waveform(utterance)
            except AudioError as error:
                which = "" if utterance.start is None and utterance.end is None else f" ({utterance.id})"
                reason = f"unusable: {error.found}; expected {error.expected}{which}"
                self.skipped.append(Skipped(utterance.path, reason))
                continue
            waiting.append(_Clip(row, key, waveform))
            n_waiting += len(waveform)
            if n_waiting >= _WAITING_SAMPLES:
                yield from self._analysed(waiting)
                waiting, n_waiting = [], 0
        yield from self._analysed(waiting)

    def _key(self, utterance: Utterance) -> str:
        key = content_key(utterance, self._hashed)
        if self.condition is None:
            return key
        from ser_fewshot.audio.conditions import CONDITIONS_VERSION  # noqa: PLC0415 - few need torchaudio

        return hashlib.sha256(f"{key} {self.condition} {CONDITIONS_VERSION}".encode()).hexdigest()

    def _waveform(self, utterance: Utterance) -> Tensor:
        clip = audio.load(utterance.path, start=utterance.start, end=utterance.end, trim=self.frontend.trim)
        if self.condition is None:
            return torch.from_numpy(clip.waveform)
        from ser_fewshot.audio.conditions import simulate  # noqa: PLC0415 - few need torchaudio

        return torch.from_numpy(simulate(self.condition, clip.waveform))

    def _analysed(self, waiting: Sequence[_Clip]) -> Iterator[_Clip]:
        for item, exact in zip(waiting, analyse(self.frontend, [item.values for item in waiting]), strict=True):
            features = _rounded(exact, self.frontend.storage)
            if self.cache is not None:
                self.cache.write(item.key, features.numpy())
            yield _Clip(item.row, item.key, features)


def _rounded(features: Tensor, storage: torch.dtype) -> Tensor:
    """(frames, dim) as they are read from the cache, so that the first run and the second have the same values."""
    kept = features.to(storage).to(features.dtype)
    return kept if bool(kept.isfinite().all()) else features  # half precision ends at 65,504
