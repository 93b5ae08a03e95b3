"""Normalisation of features, per clip or per speaker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends._feature_set import Standardization, StoredClips
from ser_fewshot.settings import check_choice

Normalization = Literal["none", "clip", "speaker"]
"""Whose mean and standard deviation each band is standardized by: the clip's own, or those of all the speaker's clips.

Per-speaker statistics use every clip of a speaker without their labels, queries included: say so next to such a number.
"""


def normalize(
    clips: Sequence[Tensor], how: Normalization, *, speakers: Sequence[str | None] | None = None
) -> Sequence[Tensor]:
    """Bring each band to mean 0 and standard deviation 1, over a clip or over all clips of its speaker.

    Args:
        clips: (frames, dim) each; stored ones are normalised when they are read.
        how: see `Normalization`.
        speakers: (n_clips,) whose clip each is; needed for "speaker".

    Raises:
        SettingsError: `how` is unknown, or "speaker" and a clip has no speaker.
    """
    owners = [None] * len(clips) if speakers is None else speakers
    check_normalization(how, owners)
    if how == "none":
        return clips
    by = [Standardization()] * len(clips) if how == "clip" else _of_speakers(clips, owners)
    if isinstance(clips, StoredClips):
        return StoredClips(clips.cache, clips.keys, by)
    return [standardized(clip) for standardized, clip in zip(by, clips, strict=True)]


def check_normalization(how: str, speakers: Sequence[str | None]) -> None:
    """Refuse an unknown normalisation, or one by speakers where one of them is unknown."""
    check_choice("normalisation", how, Normalization)
    known = sum(speaker is not None for speaker in speakers)
    if how == "speaker" and known < len(speakers):
        raise SettingsError(
            "per-speaker normalisation",
            found=f"{known} of {len(speakers)} clips with a known speaker",
            expected="a speaker for every clip",
            remedy="Fill the speaker column, or choose the normalisation 'clip' or 'none'.",
        )


def _of_speakers(clips: Sequence[Tensor], owners: Sequence[str | None]) -> list[Standardization]:
    """Return that of each clip's speaker; the clips of one speaker at a time are in memory."""
    groups: dict[str | None, list[int]] = {}
    for row, speaker in enumerate(owners):
        groups.setdefault(speaker, []).append(row)
    by = {speaker: Standardization.of(torch.cat([clips[row] for row in rows])) for speaker, rows in groups.items()}
    return [by[speaker] for speaker in owners]
