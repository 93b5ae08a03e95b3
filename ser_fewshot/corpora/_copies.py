"""Duplicate clips: of copies one is kept, contradictory labels are skipped, other repeats are warned of.

Two entries of one id are copies if their labels agree; where they do not, nobody can know which is right, and both are
skipped. One recording under two ids, in one file or in files of the same content, is kept, since publishers count both
(RAVDESS and ASED have such pairs), but named in a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from ser_fewshot.corpora._corpus import Skipped
from ser_fewshot.corpora._files import LOSSY
from ser_fewshot.corpora._utterance import Utterance

T = TypeVar("T")

_SAMPLE = 4_096  # bytes in the middle of a file, which tell nearly all files of one size apart


def distinct(clips: Iterable[Utterance]) -> tuple[tuple[Utterance, ...], tuple[Skipped, ...]]:
    """Return each id once, and what was skipped: further copies, and clips with labels that contradict each other.

    Of a lossless and a lossy copy the lossless one is kept.
    """
    kept: list[Utterance] = []
    skipped: list[Skipped] = []
    for group in _groups(clips, lambda clip: clip.id):
        if clash := _contradiction(group):
            reason = f"conflict: {group[0].id} is labelled {clash}; keep one of them"
            skipped += [Skipped(clip.path, reason) for clip in group]
            continue
        best = min(group, key=lambda clip: (clip.path.suffix.lower() in LOSSY, clip.emotion is None))
        kept.append(best)
        copies = [clip for clip in group if clip is not best]
        skipped += [Skipped(clip.path, f"second copy: {best.id} is read from {best.path}") for clip in copies]
    return tuple(kept), tuple(skipped)


def repeated(clips: Sequence[Utterance], *, content: bool) -> tuple[str, ...]:
    """Return a sentence about recordings under several labels, and one about those that are there twice otherwise.

    Args:
        clips: whose ids differ.
        content: whether to compare what is in the files, not only their paths.
    """
    sounds = sounds_of(clips, content=content)
    groups = _groups(clips, lambda clip: sounds[clip.id])
    torn = [group for group in groups if _contradiction(group)]
    same = [group for group in groups if len(group) > 1 and not _contradiction(group)]
    found = []
    if torn:
        found.append(
            f"{len(torn)} recordings stand under several labels, the first labelled {_contradiction(torn[0])} in "
            f"{_files(torn[0])}: remove those that are wrong"
        )
    if same:
        found.append(f"{len(same)} recordings are there more than once, the first in {_files(same[0])}")
    return tuple(found)


def _groups(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Return the items of each key, in the order in which the keys come first."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _contradiction(clips: Sequence[Utterance]) -> str:
    """Return the emotions, or else the speakers, that clips disagree about, in words; nothing where they agree."""
    emotions = sorted({clip.emotion for clip in clips if clip.emotion is not None})
    speakers = sorted({clip.speaker for clip in clips if clip.speaker is not None})
    if len(emotions) > 1:
        return " and ".join(emotions)
    return f"as spoken by {' and '.join(speakers)}" if len(speakers) > 1 else ""


def _files(clips: Sequence[Utterance]) -> str:
    return " and ".join(dict.fromkeys(str(clip.path) for clip in clips))


def sounds_of(clips: Sequence[Utterance], *, content: bool = True) -> dict[str, Hashable]:
    """Return a key of what each clip holds, by its id: equal for the same part of one file, or of copies of it.

    Without `content`, files are compared by their paths alone.
    """
    digests = _digests({clip.path for clip in clips}) if content else {}
    return {clip.id: (digests.get(clip.path, clip.path), clip.start, clip.end) for clip in clips}


def _digests(paths: Iterable[Path]) -> dict[Path, bytes]:
    """Return a digest of each file to which another of them may be equal.

    Only files of one size are read, and as a whole only where their middles are the same too.
    """
    candidates = _partnered(_partnered(sorted(paths), _size), _middle)
    return {path: digest for path in candidates if (digest := _digest(path))}


def _partnered(paths: Iterable[Path], key: Callable[[Path], Hashable]) -> Iterator[Path]:
    """Yield the paths that share their key with another; None is no key."""
    for group in _groups(paths, key):
        if len(group) > 1 and key(group[0]) is not None:
            yield from group


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _middle(path: Path) -> tuple[int, bytes] | None:
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            file.seek(size // 2)
            return size, file.read(_SAMPLE)
    except OSError:
        return None


def _digest(path: Path) -> bytes | None:
    """Return a digest of a file, None of one that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
