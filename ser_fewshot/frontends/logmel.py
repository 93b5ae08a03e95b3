"""Log-mel spectrogram: the front-end that needs no pretrained model.

Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word recognition", 1980,
https://doi.org/10.1109/TASSP.1980.1163420; filters after Slaney's Auditory Toolbox, as librosa has them by default.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ser_fewshot.audio import SAMPLE_RATE
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends._features import FrontEndModule
from ser_fewshot.frontends._stft import stft_kernels

_LOWEST_FLOOR = 1e-30  # well above the smallest float32

_BUFFER_FRAMES = 2_048  # 4 MB: small enough for the processor's cache, large enough for its two or more cores

_BLOCK_EDGES = (0.0, 0.3, 0.6, 0.8, 1.0)
"""Where the bands are cut: high bands are wide, so their blocks hold fewer of them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every value here changes the output, so all of them are part of the front-end's identity.

    Attributes:
        n_mels: mel bands.
        window: length of a Hann window, in samples at 16 kHz; 400 = 25 ms.
        hop: step between frames, in samples; 160 = 10 ms.
        n_fft: length of the transform, in samples; the window is padded to it.
        f_min, f_max: the band that the filters cover, in Hz.
        floor: power below which everything is silence, near that of 16-bit rounding; keeps the logarithm finite.
    """

    n_mels: int = 80
    window: int = 400
    hop: int = 160
    n_fft: int = 512
    f_min: float = 20.0
    f_max: float = 8_000.0
    floor: float = 1e-8

    def __post_init__(self) -> None:
        whole = all(type(value) is int for value in (self.n_mels, self.window, self.hop, self.n_fft))
        fits = whole and 0 < self.hop <= self.window <= self.n_fft <= SAMPLE_RATE
        if not fits or not 1 <= self.n_mels <= self.n_fft // 2:
            raise SettingsError(
                "log-mel",
                found=f"n_mels {self.n_mels}, hop {self.hop}, window {self.window}, n_fft {self.n_fft}",
                expected=f"integers, 0 < hop <= window <= n_fft <= {SAMPLE_RATE} samples, 0 < n_mels <= n_fft / 2",
                remedy="Change the one that is not.",
            )
        if not 0 <= self.f_min < self.f_max <= SAMPLE_RATE / 2 or not _LOWEST_FLOOR <= self.floor < 1:
            raise SettingsError(
                "log-mel",
                found=f"from {self.f_min} to {self.f_max} Hz, floor {self.floor}",
                expected=f"0 <= f_min < f_max <= {SAMPLE_RATE // 2} Hz, {_LOWEST_FLOOR:g} <= floor < 1",
                remedy="Change one of them.",
            )


class LogMel(FrontEndModule):
    """Waveforms (batch, samples) in, natural log of mel power (batch, frames, n_mels) out.

    Raises:
        SettingsError: some band is so narrow that no frequency of the transform lies in it.
    """

    sample_rate = SAMPLE_RATE
    trim = True
    spectral = True
    layers = 1
    pooled = False
    network = None
    storage = torch.float32
    traceable_seconds = math.inf
    window: Tensor

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.dim = self.settings.n_mels
        self.register_buffer("window", torch.hann_window(self.settings.window), persistent=False)
        filters = mel_filters(self.settings)
        empty = int((filters.sum(0) == 0).sum())
        if empty:
            found = f"{empty} of {self.dim} bands without a frequency of a {self.settings.n_fft}-sample transform"
            remedy = "Lower n_mels, or raise n_fft."
            raise SettingsError("log-mel", found=found, expected="a frequency in every band", remedy=remedy)
        self._blocks = _blocks(torch.from_numpy(filters))

    @property
    def identity(self) -> dict[str, object]:
        """Everything that decides the values of the output; it keys the cache."""
        settings = self.settings
        hertz = {"f_min": float(settings.f_min), "f_max": float(settings.f_max)}  # 20 and 20.0 are one setting
        return {"frontend": "logmel", "version": 2, **asdict(settings), **hertz}

    @torch.no_grad()
    def analyse(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Analyse one clip or more, of (samples,) each.

        The frames of all clips pass through one buffer: fresh memory for every clip, or for a padded batch of them,
        takes longer than the transform itself.

        Returns:
            (frames, n_mels) of each clip: a frame at every hop, the first centred on the first sample.
        """
        settings = self.settings
        counts = [1 + len(waveform) // settings.hop for waveform in waveforms]
        log = waveforms[0].new_empty(sum(counts), self.dim)
        buffer = waveforms[0].new_zeros(min(len(log), _BUFFER_FRAMES), settings.n_fft)
        margin = (settings.n_fft - settings.window) // 2
        windowed = buffer[:, margin : margin + settings.window]
        before = settings.n_fft // 2 - margin
        done = filled = 0
        for waveform in waveforms:
            # Zeros, not a reflection, stand beyond both ends.
            sound = nn.functional.pad(waveform, (before, settings.window - before))
            frames = sound.unfold(0, settings.window, settings.hop)  # (frames, window), a view
            while len(frames):
                part = frames[: len(buffer) - filled]
                torch.mul(part, self.window, out=windowed[filled : filled + len(part)])
                frames, filled = frames[len(part) :], filled + len(part)
                if filled == len(buffer) or done + filled == len(log):
                    self._log_mel(buffer[:filled], out=log[done : done + filled])
                    done, filled = done + filled, 0
        return list(torch.split(log, counts))

    def _log_mel(self, frames: Tensor, *, out: Tensor) -> None:
        """frames (n, n_fft) -> out (n, n_mels)."""
        # Real and imaginary parts are squared in place and summed by the filters: no pass over memory for that alone.
        squares = torch.view_as_real(torch.fft.rfft(frames)).square_().flatten(1)  # (n, n_fft + 2)
        for bands, values, weights in self._blocks:
            torch.mm(squares[:, values], weights.to(squares.device), out=out[:, bands])
        out.clamp_min_(self.settings.floor).log_()

    def traceable(self) -> nn.Module:
        """Return a module from one clip (1, samples) to the same frames (1, frames, n_mels), without a loop to unroll.

        For export. Its values differ from those of `analyse` by rounding.
        """
        return _Traceable(self)


class _Traceable(nn.Module):
    """`analyse` for one clip, without an FFT."""

    waves: Tensor
    filters: Tensor

    def __init__(self, logmel: LogMel) -> None:
        super().__init__()
        settings = logmel.settings
        self.hop, self.floor = settings.hop, settings.floor
        before = settings.n_fft // 2 - (settings.n_fft - settings.window) // 2
        self.beyond = (before, settings.window - before)
        self.register_buffer("waves", stft_kernels(logmel.window, settings.n_fft))  # (n_fft + 2, 1, window)
        self.register_buffer("filters", torch.zeros(len(self.waves), logmel.dim))
        for bands, values, weights in logmel._blocks:
            self.filters[values, bands] = weights

    def forward(self, waveform: Tensor) -> Tensor:
        """(1, samples) -> (1, frames, n_mels)."""
        parts = nn.functional.conv1d(nn.functional.pad(waveform, self.beyond)[:, None], self.waves, stride=self.hop)
        return (parts.square().mT @ self.filters).clamp_min(self.floor).log()


def mel_filters(settings: Settings) -> NDArray[np.float32]:
    """Return triangular filters of equal area, (n_fft // 2 + 1, n_mels), evenly spaced in mel.

    Slaney's mel is linear below 1 kHz and logarithmic above: "Auditory Toolbox", 1998. The values are librosa's, to the
    bit. Those of torchaudio, computed in single precision, are up to 0.6 % off where a filter is small, and librosa
    takes longer to import than a clip to recognise.
    """
    spacing, corner, step = 200 / 3, 1000.0, np.log(6.4) / 27  # Hz a mel below the corner, in Hz; log Hz a mel above it
    bend = corner / spacing
    ends = [f / spacing if f < corner else bend + np.log(f / corner) / step for f in (settings.f_min, settings.f_max)]
    mels = np.linspace(ends[0], ends[1], settings.n_mels + 2)
    hertz = np.where(mels < bend, mels * spacing, corner * np.exp(step * (mels - bend)))
    low, centre, high = hertz[:-2], hertz[1:-1], hertz[2:]
    frequencies = np.fft.rfftfreq(settings.n_fft, 1 / SAMPLE_RATE)[:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    triangles = np.minimum(rising, falling).clip(0).astype(np.float32)
    scaled: NDArray[np.float32] = (triangles * (2 / (high - low))).astype(np.float32)
    return scaled


def _blocks(filters: Tensor) -> list[tuple[slice, slice, Tensor]]:
    """Cut filters (frequencies, n_mels) into blocks of neighbouring bands, which depend on few frequencies each.

    Returns:
        The bands, the interleaved real and imaginary parts that they depend on, and the weights of those.
    """
    blocks = []
    n_mels = filters.shape[1]
    edges = [round(share * n_mels) for share in _BLOCK_EDGES]
    for first, last in pairwise(edges):
        if first == last:
            continue
        used = filters[:, first:last].sum(1).nonzero()[:, 0]
        low, high = int(used[0]), int(used[-1]) + 1
        weights = filters[low:high, first:last].repeat_interleave(2, dim=0).contiguous()
        blocks.append((slice(first, last), slice(2 * low, 2 * high), weights))
    return blocks


FRONTEND = LogMel
