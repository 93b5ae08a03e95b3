"""Utterances as an audformat database, which `audformat_db` reads back as they were.

https://audeering.github.io/audformat
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ser_fewshot import plugins
from ser_fewshot.corpora._corpus import CorpusCard
from ser_fewshot.corpora._utterance import Utterance
from ser_fewshot.corpora.audformat_db import OUR_CORPUS, OUR_ID, package
from ser_fewshot.errors import CorpusError
from ser_fewshot.storage.files import write_atomically

if TYPE_CHECKING:
    import audformat
    import pandas

_COLUMNS = {
    "speaker": "speaker",
    "gender": "gender",
    "language": "language",
    "transcription": "text",
    OUR_ID: "id",
    OUR_CORPUS: "corpus",
}
"""Scheme -> what it holds of an utterance."""
_SPLIT_TYPES = {"train": "train", "valid": "dev", "test": "test"}


def write_audformat(folder: Path, utterances: Sequence[Utterance], *, copy: bool = False) -> None:
    """Write a database: a header, and a table of emotions for each split.

    Args:
        folder: must be new or hold nothing but clips of these utterances.
        utterances: at least one of them with an emotion.
        copy: copy the clips into the folder, so that the database can be handed on; without, those below the folder
            are named relative to it, and others by their absolute path.

    Raises:
        CorpusError: audformat is not installed, there is a database already, no clip has an emotion, a file is in
            several splits or twice in one, or something cannot be written.
    """
    library = package()
    _check(folder, utterances)
    try:
        files = _files(folder.absolute(), utterances, copy=copy)
        with tempfile.TemporaryDirectory() as draft:
            _database(library, utterances, files).save(draft, storage_format="csv")
            # The header comes last: a database without one is none.
            for path in sorted(Path(draft).glob("db*"), key=lambda path: path.suffix == ".yaml"):
                write_atomically(folder / path.name, path.read_bytes())
    except (OSError, ValueError) as error:
        raise _refused(folder, f"{type(error).__name__}: {error!s:.200}", "clips that a database can hold") from error


def _check(folder: Path, utterances: Sequence[Utterance]) -> None:
    if any(folder.glob("db*")):
        raise _refused(folder, "a database already", "a folder without one")
    if all(clip.emotion is None for clip in utterances):
        raise _refused(folder, "no clip with an emotion", "at least one")
    splits: dict[Path, str | None] = {}
    torn = [clip.path for clip in utterances if splits.setdefault(clip.path, clip.split) != clip.split]
    if torn:
        raise _refused(folder, f"parts of {torn[0]} in several splits", "a file in one split, as audformat has it")


def _refused(folder: Path, found: str, expected: str) -> CorpusError:
    return CorpusError(f"audformat database {folder}", found=found, expected=expected, remedy="Correct this first.")


def _files(folder: Path, utterances: Sequence[Utterance], *, copy: bool) -> dict[Path, str]:
    """Return what the database calls each file."""
    names: dict[Path, str] = {}
    for clip in utterances:
        path = clip.path.absolute()
        if clip.path in names:
            continue
        if copy and not path.is_relative_to(folder):
            target = folder / "audio" / f"{len(names):06d}_{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            path = target
        names[clip.path] = (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
    return names


def _database(library: ModuleType, utterances: Sequence[Utterance], files: Mapping[Path, str]) -> audformat.Database:
    corpora = sorted({clip.corpus for clip in utterances})
    cards: list[CorpusCard] = [
        plugins.load("corpora", name).CARD for name in corpora if name in plugins.names("corpora")
    ]
    settled = cards if len(cards) == len(corpora) else []
    database: audformat.Database = library.Database(
        "_".join(corpora),
        source="; ".join(card.url for card in cards),
        usage="research" if any(card.commercial_use is False for card in settled) else "other",
        license="; ".join(dict.fromkeys(card.licence for card in settled)) or "not stated",
    )
    emotions = sorted({clip.emotion for clip in utterances if clip.emotion is not None})
    database.schemes["emotion"] = library.Scheme(labels=emotions)
    for scheme in _COLUMNS:
        database.schemes[scheme] = library.Scheme("str")
    for split in sorted({clip.split for clip in utterances}, key=str):
        clips = [clip for clip in utterances if clip.split == split]
        if split is not None:
            database.splits[split] = library.Split(_SPLIT_TYPES.get(split, "other"))
        name = "emotion" if split is None else f"emotion.{split}"
        database[name] = library.Table(_index(library, clips, files), split_id=split)
        for scheme, of_clip in {"emotion": "emotion", **_COLUMNS}.items():
            database[name][scheme] = library.Column(scheme_id=scheme)
            database[name][scheme].set([getattr(clip, of_clip) for clip in clips])
    return database


def _index(library: ModuleType, clips: Sequence[Utterance], files: Mapping[Path, str]) -> pandas.Index:
    names = [files[clip.path] for clip in clips]
    if any(clip.start is not None or clip.end is not None for clip in clips):
        starts, ends = [clip.start or 0.0 for clip in clips], [clip.end for clip in clips]
        return library.segmented_index(names, starts, ends)
    return library.filewise_index(names)
