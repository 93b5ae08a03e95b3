"""Features of several clips: padded frames with their lengths, or one embedding a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Features:
    """Features of several clips, padded at the end to the longest.

    Attributes:
        x: (batch, frames, dim), zero beyond each clip's length; or (batch, width) once a learner has pooled each clip
            into one embedding.
        lengths: (batch,) frames of each clip, int64; ones when pooled.
    """

    x: Tensor
    lengths: Tensor

    @property
    def pooled(self) -> bool:
        """Whether time is already gone: one embedding a clip."""
        return self.x.ndim == 2

    @property
    def mask(self) -> Tensor:
        """(batch, frames) True where a frame belongs to its clip."""
        return torch.arange(self.x.shape[1], device=self.x.device) < self.lengths[:, None]

    def __len__(self) -> int:
        return len(self.x)

    def select(self, rows: Tensor) -> Features:
        """Return the clips of `rows` (n,), without the padding that only the others needed."""
        lengths = self.lengths[rows]
        x = self.x[rows]
        return Features(x if self.pooled else x[:, : int(lengths.max())], lengths)

    def to(self, device: torch.device | str) -> Features:
        """Return the same features on another device."""
        return Features(self.x.to(device), self.lengths.to(device))


def stack(clips: Sequence[Tensor]) -> Features:
    """Pad clips of (frames, dim) each to one batch; clips of (width,) each become pooled features.

    Raises:
        ValueError: there is no clip, and so no width.
    """
    if not clips:
        raise ValueError("no clips to stack")
    if clips[0].ndim == 1:
        return Features(torch.stack(list(clips)), torch.ones(len(clips), dtype=torch.int64))
    lengths = torch.tensor([len(clip) for clip in clips])
    return Features(torch.nn.utils.rnn.pad_sequence(list(clips), batch_first=True), lengths)


class FrontEndModule(nn.Module):
    """A front-end whose `analyse` is called with padded clips too."""

    def analyse(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """(samples,) each -> (frames, dim) each."""
        raise NotImplementedError

    def forward(self, waveform: Tensor, lengths: Tensor) -> Features:
        """(batch, samples) at 16 kHz and (batch,) samples of each -> features; what lies beyond a length is ignored."""
        return stack(self.analyse([row[:length] for row, length in zip(waveform, lengths.tolist(), strict=True)]))


def halved(values: Tensor) -> Tensor:
    """Return values in half precision where that loses nothing, else as they are."""
    if values.dtype != torch.float32:
        return values
    half = values.half()
    return half if torch.equal(half.float(), values) else values
