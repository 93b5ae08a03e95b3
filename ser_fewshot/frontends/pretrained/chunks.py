"""Cutting long clips into overlapping pieces, and pieces of like length into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LEAST_FILLED = 0.75  # the shortest piece of a batch, as a share of the longest: the rest is padding


@dataclass(frozen=True)
class Piece:
    """Part of a clip, in frames.

    Attributes:
        clip: the clip's number.
        start, stop: what is analysed; a stop at the clip's end means all that is left of its signal.
        first, last: which of the clip's frames are kept; the others only give context.
        whole: whether the piece reaches the clip's end.
    """

    clip: int
    start: int
    stop: int
    first: int
    last: int
    whole: bool

    def __len__(self) -> int:
        return self.stop - self.start


def cut(clip: int, n_frames: int, *, longest: int, overlap: int) -> Iterator[Piece]:
    """Yield the pieces of a clip, of `longest` frames each: one where it is no longer than that.

    Neighbours share `overlap` frames, of which each keeps the half farther from its own edge. The last piece is as long
    as the others and shares more.
    """
    start = first = 0
    while first < n_frames:
        start = max(0, min(start, n_frames - longest))
        stop = min(start + longest, n_frames)
        last = n_frames if stop == n_frames else stop - overlap // 2
        yield Piece(clip, start, stop, first, last, whole=stop == n_frames)
        start, first = stop - overlap, last


def batches(pieces: Sequence[Piece], *, most_frames: int) -> Iterator[list[Piece]]:
    """Group pieces of like length; a batch, padding included, has at most `most_frames` frames or is one piece."""
    batch: list[Piece] = []
    for piece in sorted(pieces, key=len, reverse=True):
        longest = len(batch[0]) if batch else 0
        if batch and ((len(batch) + 1) * longest > most_frames or len(piece) < _LEAST_FILLED * longest):
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch
