"""Clips that are there twice: of copies one is kept, contradictions are skipped, and one sound in two files is named.

Two entries of one id, or of one part of one file, are copies if their labels agree; where they do not, nobody can know
which is right, and both are skipped. Two files of the same content are kept, since publishers count both (RAVDESS and
ASED have such pairs), but named in a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path

from ser_fewshot.corpora._corpus import Skipped
from ser_fewshot.corpora._files import LOSSY
from ser_fewshot.corpora._utterance import Utterance

_SAMPLE = 4_096  # bytes in the middle of a file, which tell nearly all files of one size apart


def distinct(clips: Iterable[Utterance]) -> tuple[tuple[Utterance, ...], tuple[Skipped, ...]]:
    """Return each clip once, and what was skipped: further copies, and clips with labels that contradict each other.

    Of a lossless and a lossy copy the lossless one is kept.
    """
    kept, skipped = tuple(clips), []
    for key in (_id, _part):
        kept, more = _once(kept, key)
        skipped += more
    return kept, tuple(skipped)


def same_sound(clips: Sequence[Utterance]) -> tuple[str, ...]:
    """Return a sentence about files of the same content under several labels, and one about other copies."""
    groups = [group for group in _groups(clips, _content(clips)) if len({clip.path for clip in group}) > 1]
    torn = [group for group in groups if _contradiction(group)]
    same = [group for group in groups if not _contradiction(group)]
    found = []
    if torn:
        found.append(
            f"{len(torn)} recordings stand under several labels, the first as {_contradiction(torn[0])} in "
            f"{_files(torn[0])}: remove those that are wrong"
        )
    if same:
        found.append(f"{len(same)} recordings are there twice, as files of other names: the first in {_files(same[0])}")
    return tuple(found)


def _id(clip: Utterance) -> Hashable:
    return clip.id


def _part(clip: Utterance) -> Hashable:
    return clip.path, clip.start, clip.end


def _groups(clips: Iterable[Utterance], key: Callable[[Utterance], Hashable]) -> list[list[Utterance]]:
    """Return the clips of each key, in the order in which the keys come first; without those of the key None."""
    groups: dict[Hashable, list[Utterance]] = {}
    for clip in clips:
        groups.setdefault(key(clip), []).append(clip)
    return [group for value, group in groups.items() if value is not None]


def _once(
    clips: Sequence[Utterance], key: Callable[[Utterance], Hashable]
) -> tuple[tuple[Utterance, ...], list[Skipped]]:
    kept: list[Utterance] = []
    skipped: list[Skipped] = []
    for group in _groups(clips, key):
        if clash := _contradiction(group):
            skipped += [
                Skipped(clip.path, f"conflict: {clip.id} is labelled {clash}; keep one of them") for clip in group
            ]
            continue
        best = min(group, key=lambda clip: (clip.path.suffix.lower() in LOSSY, clip.emotion is None))
        kept.append(best)
        copies = [clip for clip in group if clip is not best]
        skipped += [Skipped(clip.path, f"second copy: {best.id} is read from {best.path}") for clip in copies]
    return tuple(kept), skipped


def _contradiction(clips: Sequence[Utterance]) -> str:
    """Return the emotions, or else the speakers, that clips disagree about, in words; nothing where they agree."""
    emotions = sorted({clip.emotion for clip in clips if clip.emotion is not None})
    speakers = sorted({clip.speaker for clip in clips if clip.speaker is not None})
    if len(emotions) > 1:
        return " and ".join(emotions)
    return f"as spoken by {' and '.join(speakers)}" if len(speakers) > 1 else ""


def _files(clips: Sequence[Utterance]) -> str:
    return " and ".join(dict.fromkeys(str(clip.path) for clip in clips))


def _content(clips: Sequence[Utterance]) -> Callable[[Utterance], Hashable]:
    """Return a key that is the same for the same part of files of one content; None for a clip without a partner.

    Only files of one size are read, and as a whole only where their middles are the same too.
    """
    paths = sorted({clip.path for clip in clips})
    candidates = set(_partnered(_partnered(paths, _size), _middle))
    digests = {path: digest for path in candidates if (digest := _digest(path))}

    def key(clip: Utterance) -> Hashable:
        digest = digests.get(clip.path)
        return None if digest is None else (digest, clip.start, clip.end)

    return key


def _partnered(paths: Iterable[Path], key: Callable[[Path], Hashable]) -> Iterator[Path]:
    """Yield the paths that share their key with another."""
    groups: dict[Hashable, list[Path]] = {}
    for path in paths:
        groups.setdefault(key(path), []).append(path)
    for value, group in groups.items():
        if value is not None and len(group) > 1:
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
