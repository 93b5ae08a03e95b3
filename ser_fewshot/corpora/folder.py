"""A folder per emotion, the simplest layout for data of one's own: `angry/a.wav` or `angry/maria/a.wav`.

Below the root stands a folder per emotion, in it the clips, or a folder per speaker with the clips. The folders train,
valid (validation, dev) and test may stand above them: `train/angry/a.wav`. A folder that is named after an intensity
(weak, strong, level_1) is that of no speaker. Any word may name a class; `doubts` says so where not one is a known
emotion. Licence: that of the data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ser_fewshot.corpora._coded import looks_like
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._files import find_clips, foreign, require_folder
from ser_fewshot.corpora._manifest import SPLITS
from ser_fewshot.corpora._utterance import ALIASES, Utterance, canonical_emotion
from ser_fewshot.errors import CorpusError

CARD = CorpusCard.of_format(
    "Folder per emotion",
    url="https://huggingface.co/docs/datasets/audio_load",
    layout="angry/maria/a.wav, the folder of the speaker may be missing",
    traps=(
        "Without folders per speaker the speakers are unknown: no split can keep them apart, and results will flatter.",
        "A folder of the root that is no emotion (recordings, old) becomes one.",
    ),
)

_INTENSITY = re.compile(r"weak|strong|low|mild|medium|normal|high|intense|faible|fort|level[ _-]?\d+", re.IGNORECASE)
_NAMED = 5  # folders in a sentence


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips below a folder whose folders are named after emotions.

    Raises:
        CorpusError: it is no folder, holds no clip in a folder, or its emotions stand one level further down.
    """
    require_folder(root, subject=CARD.title, layout=CARD.layout)
    found = find_clips(root)
    if found.foreign and not found.clips:
        suffix = found.foreign[0].suffix.lower()
        raise CorpusError(
            CARD.title,
            found=f"{len(found.foreign)} files below {root}, all in formats that cannot be read, such as {suffix}",
            expected=CARD.layout,
            remedy="Convert them to WAV or FLAC.",
        )
    places = {path: _place(path.relative_to(root)) for path in found.clips}
    _check_layout(root, [place for place in places.values() if place.emotion is not None], n_clips=len(places))
    yield from found.skipped
    yield from map(foreign, found.foreign)
    for path, place in places.items():
        if place.emotion is None:
            yield Skipped(path, f"place: not like {CARD.layout}")
        else:
            yield Utterance(
                id=f"{root.name}/{path.relative_to(root).as_posix()}",
                path=path,
                corpus=root.name,
                emotion=place.emotion,
                speaker=place.speaker,
                split=place.split,
            )


def doubts(clips: Sequence[Utterance]) -> tuple[str, ...]:
    """Return a sentence if not one folder is named after a known emotion: they may be those of speakers."""
    emotions = sorted({str(clip.emotion) for clip in clips})
    if not emotions or {*emotions} & {*ALIASES}:
        return ()
    named = ", ".join(emotions[:_NAMED]) + (" ..." if len(emotions) > _NAMED else "")
    corpus = looks_like([clip.path for clip in clips])
    hint = f"; the files are named as those of {corpus}: 'scan {corpus}' reads them" if corpus else ""
    return (f"not one of the folders is a known emotion: {named}{hint}",)


@dataclass(frozen=True)
class _Place:
    """What the folders above a clip say; no emotion where they are too few or too many."""

    emotion: str | None
    speaker: str | None
    split: str | None


def _place(path: PurePath) -> _Place:
    """Read the folders of a path below the root: [split/]emotion[/speaker]."""
    folders = path.parts[:-1]
    split = SPLITS.get(folders[0].lower()) if len(folders) > 1 else None
    emotion, *below = folders[1:] if split else (folders or ("",))
    return _Place(
        emotion=(canonical_emotion(emotion) or None) if len(below) < 2 else None,
        speaker=below[0] if below and not _INTENSITY.fullmatch(below[0]) else None,
        split=split,
    )


def _check_layout(root: Path, places: list[_Place], *, n_clips: int) -> None:
    """Refuse a root without folders, and one whose folders are speakers or a corpus rather than emotions."""
    if not places:
        raise CorpusError(
            CARD.title,
            found=f"{n_clips} clips in {root}, none of them in the folder of an emotion",
            expected=CARD.layout,
            remedy="Make a folder for each emotion, named after it, and put its clips there."
            if n_clips
            else "Give a folder with a folder for each emotion, in which clips such as WAV or FLAC files lie.",
        )
    emotions = {place.emotion for place in places}
    inner = {canonical_emotion(place.speaker or "") for place in places}
    known = bool(emotions & {*ALIASES})
    swapped = bool(emotions) and not known and inner <= {*ALIASES}
    if known or (len(emotions) > 1 and not swapped):
        return
    outer = ", ".join(sorted(str(emotion) for emotion in emotions)[:5])
    raise CorpusError(
        CARD.title,
        found=f"clips in folders of {root} that are no emotions: {outer}",
        expected=CARD.layout,
        remedy="Put the folders of the speakers into those of the emotions, or list the clips in a table."
        if swapped and len(emotions) > 1
        else "Give the folder that holds the folders of the emotions.",
    )
