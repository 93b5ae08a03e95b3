"""Splits of utterances into meta-train and meta-test: by class, speaker or corpus, and, conventionally, by clip."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from ser_fewshot.corpora import Utterance, checked_utterances
from ser_fewshot.errors import EpisodeError

Parts = tuple[tuple[Utterance, ...], tuple[Utterance, ...]]

_LISTED = 20


def split_by_class(utterances: Sequence[Utterance], held_out: Collection[str]) -> Parts:
    """Return (meta-train, meta-test) with disjoint emotions: those held out are in meta-test only.

    A clip without an emotion is in neither: it might be one of those held out.

    Raises:
        EpisodeError: a class to hold out does not occur, or nothing is left to train on.
    """
    clips = checked_utterances(utterances)
    return _split(clips, [utterance.emotion for utterance in clips], held_out, kind="emotion")


def split_by_corpus(utterances: Sequence[Utterance], held_out: Collection[str]) -> Parts:
    """Return (meta-train, meta-test) with disjoint corpora.

    Raises:
        EpisodeError: a corpus to hold out does not occur, or nothing is left to train on.
    """
    clips = checked_utterances(utterances)
    return _split(clips, [utterance.corpus for utterance in clips], held_out, kind="corpus")


def split_by_speaker_name(utterances: Sequence[Utterance], held_out: Collection[str]) -> Parts:
    """Return (meta-train, meta-test) with disjoint speakers: those named are in meta-test only.

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

    The conventional split: classes and speakers are on both sides, so its score is for known emotions of known voices.
    At least one clip of each class is on either side; a clip without an emotion is on neither. Depends on the set of
    clips, not on their order.

    Raises:
        EpisodeError: the fraction is not between 0 and 1, the seed is negative, there are no clips with an emotion, or
            an emotion has a single one.
    """
    classes: dict[tuple[str, str], list[str]] = {}
    for clip in utterances:
        if clip.emotion is not None:
            classes.setdefault((clip.corpus, clip.emotion), []).append(clip.id)
    ordered = [("/".join(key), ids) for key, ids in sorted(classes.items())]
    held_out = _draw(ordered, "clip", where="split of every class", test_fraction=test_fraction, seed=seed)
    return _split(utterances, [None if clip.emotion is None else clip.id for clip in utterances], held_out, kind="clip")


def split_by_speaker(utterances: Sequence[Utterance], *, test_fraction: float, seed: int) -> Parts:
    """Return (meta-train, meta-test) with disjoint speakers, the same fraction of the speakers of each corpus held out.

    At least one speaker of each corpus is in either part. Depends on the set of clips, not on their order.

    Raises:
        EpisodeError: the fraction is not between 0 and 1, the seed is negative, there are no clips, a clip has no
            speaker, or a corpus has a single one.
    """
    speakers: dict[str, set[str]] = {}
    for clip in checked_utterances(utterances):
        if clip.speaker_key is None:
            raise EpisodeError(
                clip.id,
                found="no speaker",
                expected="a speaker for every clip of a speaker-independent split",
                remedy="Fill the speaker column, or split by corpus or class.",
            )
        speakers.setdefault(clip.corpus, set()).add(clip.speaker_key)
    held_out = _draw(
        sorted(speakers.items()), "speaker", where="split by speaker", test_fraction=test_fraction, seed=seed
    )
    return _split(utterances, [clip.speaker_key for clip in utterances], held_out, kind="speaker")


def _draw(
    groups: Iterable[tuple[str, Collection[str]]], member: str, *, where: str, test_fraction: float, seed: int
) -> list[str]:
    """Draw the same fraction of each named group's members, but neither none of them nor all."""
    if not 0 < test_fraction < 1 or seed < 0:
        raise EpisodeError(
            where,
            found=f"test_fraction {test_fraction}, seed {seed}",
            expected="a fraction between 0 and 1, a seed of at least 0",
            remedy="Try 0.2 and 0.",
        )
    rng = np.random.default_rng(seed)
    drawn: list[str] = []
    for name, members in groups:
        if len(members) < 2:
            remedy = f"Leave this {'class' if member == 'clip' else 'corpus'} out of the split."
            raise EpisodeError(name, found=f"1 {member}", expected="at least 2 to part", remedy=remedy)
        share = min(max(round(test_fraction * len(members)), 1), len(members) - 1)
        drawn += [str(one) for one in rng.permutation(sorted(members))[:share]]
    return drawn


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
