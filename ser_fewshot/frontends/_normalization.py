"""Whose mean and spread each band of a clip is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends._clips import Scale, StoredClips

Normalization = Literal["none", "clip", "speaker"]
"""Whose mean and spread each band is measured against: nobody's, the clip's own, or those of all the speaker's clips.

Per-speaker statistics use every clip of a speaker without their labels, queries included: say so next to such a number.
"""


def normalize(
    clips: Sequence[Tensor], how: Normalization, *, speakers: Sequence[str | None] | None = None
) -> Sequence[Tensor]:
    """Bring each band to mean 0 and standard deviation 1, over a clip or over all clips of its speaker.

    Args:
        clips: (frames, dim) each; those that are stored stay there, and are normalised when they are read.
        how: see `Normalization`.
        speakers: (n_clips,) whose clip each is; needed for "speaker".

    Raises:
        SettingsError: "speaker" is asked for and a clip has no speaker, or nobody knows what is asked for.
    """
    owners = [None] * len(clips) if speakers is None else speakers
    check_normalization(how, owners)
    if how == "none":
        return clips
    scales = [Scale.own()] * len(clips) if how == "clip" else _of_speakers(clips, owners)
    if isinstance(clips, StoredClips):
        return clips.scaled(scales)
    return [scale(clip) for scale, clip in zip(scales, clips, strict=True)]


def check_normalization(how: str, speakers: Sequence[str | None]) -> None:
    """Refuse a normalisation that nobody knows, or one by speakers where one of them is unknown."""
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


def _of_speakers(clips: Sequence[Tensor], owners: Sequence[str | None]) -> list[Scale]:
    """Return the scale of each clip's speaker; the clips of one speaker at a time are in memory."""
    groups: dict[str | None, list[int]] = {}
    for row, speaker in enumerate(owners):
        groups.setdefault(speaker, []).append(row)
    scales = {speaker: Scale.of(torch.cat([clips[row] for row in rows])) for speaker, rows in groups.items()}
    return [scales[speaker] for speaker in owners]
