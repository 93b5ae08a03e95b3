"""Parting utterances before anything is learned: by class, by speaker, by corpus, and, conventionally, by clip."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ser_fewshot.corpora import Utterance, checked_utterances
from ser_fewshot.errors import EpisodeError

Parts = tuple[tuple[Utterance, ...], tuple[Utterance, ...]]

_LISTED = 20


def split_by_class(utterances: Sequence[Utterance], held_out: Collection[str]) -> Parts:
    """Return (meta-train, meta-test) whose emotions are disjoint: those held out are met at meta-test only.

    A clip without an emotion is in neither: it might be one of those held out.

    Raises:
        EpisodeError: a class to hold out does not occur, or nothing is left to train on.
    """
    clips = checked_utterances(utterances)
    return _split(clips, [utterance.emotion for utterance in clips], held_out, kind="emotion")


def split_by_corpus(utterances: Sequence[Utterance], held_out: Collection[str]) -> Parts:
    """Return (meta-train, meta-test) whose corpora are disjoint.

    Raises:
        EpisodeError: a corpus to hold out does not occur, or nothing is left to train on.
    """
    clips = checked_utterances(utterances)
    return _split(clips, [utterance.corpus for utterance in clips], held_out, kind="corpus")


def split_by_speaker_name(utterances: Sequence[Utterance], held_out: Collection[str]) -> Parts:
    """Return (meta-train, meta-test) whose speakers are disjoint: those named are met at meta-test only.

    A speaker is named as in the manifest, or, where several corpora have one of that name, as "corpus/name". A clip
    without a speaker is in neither part: it might be by one of those held out.

    Raises:
        EpisodeError: a speaker to hold out does not occur, or in several corpora; or nothing is left to train on.
    """
    clips = checked_utterances(utterances)
    speakers = {clip.speaker_key: clip.speaker for clip in clips if clip.speaker_key is not None}
    keys: set[str] = set()
    for name in {held_out} if isinstance(held_out, str) else held_out:
        found = sorted(key for key, speaker in speakers.items() if name in (key, speaker))
        if len(found) > 1 and name not in found:
            raise EpisodeError(
                "split by speaker",
                found=f"{name} in several corpora",
                expected="one speaker",
                remedy=f"Name the corpus too: {' or '.join(found)}.",
            )
        keys |= {name} if name in found else set(found) or {name}
    return _split(clips, [clip.speaker_key for clip in clips], keys, kind="speaker")


def split_every_class(utterances: Sequence[Utterance], *, test_fraction: float, seed: int) -> Parts:
    """Return (train, test) with the same fraction of the clips of every emotion of every corpus held out.

    The conventional split: classes and speakers stand on both sides, so its number says how well known emotions of
    known voices are recognised, and nothing about a new one. At least one clip of each class is on either side; a clip
    without an emotion is on neither. Depends on the set of clips, not on their order.

    Raises:
        EpisodeError: the fraction is not between 0 and 1, the seed is negative, there are no clips with an emotion, or
            an emotion has a single one.
    """
    _check_fraction("split of every class", test_fraction, seed)
    rng = np.random.default_rng(seed)
    classes: dict[tuple[str, str], list[str]] = {}
    for utterance in utterances:
        if utterance.emotion is not None:
            classes.setdefault((utterance.corpus, utterance.emotion), []).append(utterance.id)
    held_out: list[str] = []
    for (corpus, emotion), ids in sorted(classes.items()):
        if len(ids) < 2:
            raise EpisodeError(
                f"{corpus}/{emotion}",
                found="1 clip",
                expected="at least 2 to part",
                remedy="Leave this class out of the split.",
            )
        held_out += [str(name) for name in rng.permutation(sorted(ids))[: _share(test_fraction, len(ids))]]
    return _split(utterances, [None if clip.emotion is None else clip.id for clip in utterances], held_out, kind="clip")


def split_by_speaker(utterances: Sequence[Utterance], *, test_fraction: float, seed: int) -> Parts:
    """Return (meta-train, meta-test) whose speakers are disjoint, the same fraction of each corpus's speakers held out.

    At least one speaker of each corpus is in either part. Depends on the set of clips, not on their order.

    Raises:
        EpisodeError: the fraction is not between 0 and 1, the seed is negative, there are no clips, a clip has no
            speaker, or a corpus has a single one.
    """
    _check_fraction("split by speaker", test_fraction, seed)
    rng = np.random.default_rng(seed)
    held_out: list[str] = []
    for corpus, names in sorted(_speakers(utterances).items()):
        if len(names) < 2:
            raise EpisodeError(
                corpus, found="1 speaker", expected="at least 2 to part", remedy="Leave this corpus out of the split."
            )
        held_out += [str(name) for name in rng.permutation(sorted(names))[: _share(test_fraction, len(names))]]
    return _split(utterances, [utterance.speaker_key for utterance in utterances], held_out, kind="speaker")


def _check_fraction(where: str, test_fraction: float, seed: int) -> None:
    if not 0 < test_fraction < 1 or seed < 0:
        raise EpisodeError(
            where,
            found=f"test_fraction {test_fraction}, seed {seed}",
            expected="a fraction between 0 and 1, a seed of at least 0",
            remedy="Try 0.2 and 0.",
        )


def _share(fraction: float, n: int) -> int:
    """Return the fraction of n, but neither none of them nor all."""
    return min(max(round(fraction * n), 1), n - 1)


def _speakers(utterances: Sequence[Utterance]) -> dict[str, set[str]]:
    """Return the speakers of each corpus; every clip must have one."""
    speakers: dict[str, set[str]] = {}
    for utterance in checked_utterances(utterances):
        if utterance.speaker_key is None:
            raise EpisodeError(
                utterance.id,
                found="no speaker",
                expected="a speaker for every clip of a speaker-independent split",
                remedy="Fill the speaker column, or split by corpus or class.",
            )
        speakers.setdefault(utterance.corpus, set()).add(utterance.speaker_key)
    return speakers


def _split(
    utterances: Sequence[Utterance], keys: Sequence[str | None], held_out: Collection[str], *, kind: str
) -> Parts:
    known = {key for key in keys if key is not None}
    wanted = {held_out} if isinstance(held_out, str) else set(held_out)  # a text is a name, not a list of letters
    missing = wanted - known
    if missing or not wanted or known <= wanted:
        raise EpisodeError(
            f"split by {kind}",
            found=f"{_some(missing or wanted)} to hold out",
            expected=f"some, not all, of {_some(known)}",
            remedy="Name one that occurs, and leave one to train on.",
        )
    pairs = list(zip(utterances, keys, strict=True))
    train = tuple(utterance for utterance, key in pairs if key is not None and key not in wanted)
    test = tuple(utterance for utterance, key in pairs if key in wanted)
    return train, test


def _some(names: Collection[str]) -> str:
    listed = ", ".join(sorted(names)[:_LISTED])
    return f"{listed} and {len(names) - _LISTED} more" if len(names) > _LISTED else listed or "nothing"
