"""Corpora and formats: one file each, read in their native folders and file names.

A corpus is a module of this folder with a `CARD` and a function `read(root)` that yields clips, and everything that it
could not read as `Skipped`. Adding one means adding a file.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ser_fewshot import plugins
from ser_fewshot._settings import check_is
from ser_fewshot.audio import check_readable
from ser_fewshot.corpora import _manifest
from ser_fewshot.corpora._audformat_out import write_audformat
from ser_fewshot.corpora._copies import distinct, repeated
from ser_fewshot.corpora._corpus import CorpusCard, Scan, Skipped, deviations
from ser_fewshot.corpora._files import find_clips, foreign, is_foreign, require_folder
from ser_fewshot.corpora._hf_dataset_out import to_dataset
from ser_fewshot.corpora._labels import numbers_among
from ser_fewshot.corpora._recognise import looks_like
from ser_fewshot.corpora._utterance import (
    ALIASES,
    Gender,
    LabelKind,
    Utterance,
    canonical_emotion,
    checked_utterances,
)
from ser_fewshot.corpora.folder import doubts as doubts_of_folders
from ser_fewshot.errors import AudioError, CorpusError, SettingsError

__all__ = [
    "ALIASES",
    "CorpusCard",
    "Gender",
    "LabelKind",
    "Scan",
    "Skipped",
    "Utterance",
    "canonical_emotion",
    "card",
    "checked_utterances",
    "from_dataset",
    "looks_like",
    "named_folders",
    "names",
    "permissive",
    "read_manifest",
    "scan",
    "scan_all",
    "to_dataset",
    "write_audformat",
    "write_manifest",
]

_MARKS = {"audformat_db": ("db.yaml",), "hf_dataset": ("dataset_dict.json", "dataset_info.json")}
"""Files by which a format is known."""


def names() -> list[str]:
    """Return the corpora and formats that can be scanned, sorted."""
    return plugins.names("corpora")


def card(corpus: str) -> CorpusCard:
    """Return what the publishers of a corpus say about it.

    Raises:
        SettingsError: no corpus or format has that name.
    """
    described: CorpusCard = plugins.load("corpora", corpus).CARD
    return described


def permissive(corpora: Iterable[str]) -> list[str]:
    """Return those corpora whose licence allows commercial use; one that does not settle it does not allow it.

    Raises:
        SettingsError: it is none of them, or no corpus or format has one of the names.
    """
    licences = {name: card(name) for name in corpora}
    allowed = [name for name, described in licences.items() if described.commercial_use]
    if not allowed:
        told = ", ".join(f"{name} ({described.licence})" for name, described in licences.items())
        raise SettingsError(
            "corpora",
            found=f"no licence that allows commercial use: {told or 'no corpus'}",
            expected=f"one of {', '.join(name for name in names() if card(name).commercial_use)}",
            remedy="Add such a corpus, or keep to research.",
        )
    return allowed


def scan(
    corpus: str,
    root: Path | str,
    *,
    check_audio: bool = True,
    audio_root: Path | str | None = None,
    fold: int | None = None,
) -> Scan:
    """Return the clips of a corpus below a folder, what was skipped and why, and how the counts differ from the paper.

    Args:
        corpus: a name from `names()`.
        root: the unpacked corpus; for the format "table" the table.
        check_audio: read the header of every file; unreadable files are skipped.
        audio_root: the folder that relative files are relative to ("table" and "emobox"), or that clips which stand
            inside tables are unpacked to ("hf_dataset").
        fold: "emobox" only: the fold to read.

    Raises:
        SettingsError: no corpus has that name, or it has no such option.
        CorpusError: the root is missing or is not this corpus; the error says what is expected and what is there.
    """
    if corpus not in names() and str(root) in names():
        raise SettingsError(
            "scan",
            found=f"{str(corpus)!r:.80} as the name of a corpus, and {str(root)!r} as its folder",
            expected="the name of the corpus first, then its folder",
            remedy="Swap the two.",
        )
    module = plugins.load("corpora", corpus)
    options = {"audio_root": None if audio_root is None else _folder(audio_root), "fold": fold}
    given = {name: value for name, value in options.items() if value is not None}
    legal = set(inspect.signature(module.read).parameters) - {"root"}
    if not legal.issuperset(given):
        raise SettingsError(
            f"corpus {corpus}",
            found=f"the option {', '.join(sorted(set(given) - legal))}",
            expected=", ".join(sorted(legal)) or "no options",
            remedy="Leave it out.",
        )
    items = module.read(_folder(root), **given)
    checked = (_checked(item) for item in items) if check_audio else items
    found = _scan_of(corpus, checked, content=check_audio)
    doubts = module.doubts(found.utterances) if hasattr(module, "doubts") else ()
    return replace(found, deviations=deviations(found.utterances, module.CARD), doubts=(*doubts, *found.doubts))


def scan_all(folder: Path | str, *, others: bool = True) -> tuple[Scan, ...]:
    """Return a scan of every corpus below a folder, one folder each.

    A folder that is called as `names()` or the title of a card has it, whatever the case and the hyphens ("CREMA-D"),
    is read as that corpus. Any other with clips is read as what it looks like: a database of audformat, a data set of
    the `datasets` library, the corpus whose file names most of its files have, or a folder per emotion, of which one at
    least must be known; one that is none of them is skipped, and its scan says so. Folders of one corpus, such as
    Actor_01 to Actor_24, are one scan.

    Args:
        folder: that holds the corpora.
        others: whether to read folders under other names.

    Raises:
        CorpusError: there is no such folder or no corpus in it, or a folder does not hold the one it is named as.
    """
    root = _folder(folder)
    require_folder(root, subject="corpora", layout="a folder for each corpus")
    named = named_folders(root)
    scans = [scan(name, path) for path, name in named.items()]
    if others:
        rest = sorted(path for path in root.iterdir() if path.is_dir() and path not in named)
        scans += [found for path in rest if (found := _as_it_looks(path))]
    scans = _joined(scans)
    if not any(found.utterances for found in scans):
        skipped = next((found.skipped[0].reason for found in scans if found.skipped), "")
        raise CorpusError(
            str(root),
            found="no folder that is named as a corpus" + (f"; {skipped}" if skipped else ""),
            expected=f"some of {', '.join(names())}, or a folder with a folder per emotion",
            remedy="Give the folder that holds the corpora, and name each as it is listed.",
        )
    return tuple(scans)


def named_folders(folder: Path) -> dict[Path, str]:
    """Return the folders below another that are called as a corpus, sorted, each with the name of the corpus."""
    known = {_plain(title): name for name in names() for title in (name, card(name).title)}
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return {path: known[_plain(path.name)] for path in folders if _plain(path.name) in known}


def _plain(name: str) -> str:
    """Return a name without case, hyphens and the like."""
    return "".join(character for character in name.lower() if character.isalnum())


def _formats(path: Path) -> list[str]:
    """Return the formats whose files lie in a folder."""
    return [name for name, marks in _MARKS.items() if any((path / mark).exists() for mark in marks)]


def _as_it_looks(path: Path) -> Scan | None:
    """Return the scan of a folder whose name says nothing; None where no clip is in it."""
    files = find_clips(path)
    formats, corpus = _formats(path), looks_like((*files.clips, *files.foreign))
    if not (formats or files.clips or files.foreign):
        return None
    if not (formats or files.clips or corpus):
        return Scan(path.name, (), tuple(map(foreign, files.foreign)))
    try:
        found = scan(formats[0] if formats else corpus or "folder", path)
    except CorpusError as error:
        return _refused(path, error.found)
    if formats or corpus:
        return found if corpus and not formats else replace(found, corpus=path.name)
    unknown = doubts_of_folders(found.utterances)
    return _refused(path, unknown[0]) if unknown else replace(found, corpus=path.name)


def _refused(path: Path, found: str) -> Scan:
    told = f"layout: {found}; name the folder as a corpus that is known, or list its clips in a manifest"
    return Scan(path.name, (), (Skipped(path, told),))


def _joined(scans: Iterable[Scan]) -> list[Scan]:
    """Return one scan for each corpus, whose copies in several folders count once."""
    parts: dict[str, list[Scan]] = {}
    for found in scans:
        parts.setdefault(found.corpus, []).append(found)
    return [_one(corpus, members) if len(members) > 1 else members[0] for corpus, members in parts.items()]


def _one(corpus: str, parts: Iterable[Scan]) -> Scan:
    found = _scan_of(corpus, chain.from_iterable((*part.utterances, *part.skipped) for part in parts), content=True)
    return replace(found, deviations=deviations(found.utterances, card(corpus)) if corpus in names() else ())


def from_dataset(dataset: Any, folder: Path | str, *, corpus: str = "dataset") -> Scan:
    """Return the clips of a `datasets.Dataset` in memory, or of a `DatasetDict`, whose parts are the splits.

    Args:
        dataset: with a column of type Audio, and one called emotion or label; see `hf_dataset`.
        folder: where clips that stand inside the tables are written to.
        corpus: what it is called, unless a column says so.

    Raises:
        CorpusError: datasets is not installed, or the columns are others.
    """
    reader, target = plugins.load("corpora", "hf_dataset"), _folder(folder)
    parts = dataset if isinstance(dataset, Mapping) else {"": dataset}
    return _scan_of(
        corpus, map(_checked, reader.of_parts(parts, corpus=corpus, root=target, folder=target)), content=True
    )


def read_manifest(path: Path | str) -> Scan:
    """Return the clips of a manifest, or of any table with the columns `file, emotion, speaker`, in their order.

    Nothing is asked of the audio files: they may have moved away since.

    Raises:
        CorpusError: the file is missing, not UTF-8, not CSV, or lacks a required column.
    """
    manifest = _folder(path)
    return _scan_of(manifest.stem, _manifest.read(manifest), content=False)


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write clips to a CSV file that `read_manifest` and the format "table" read; a crash leaves no half of it.

    Clips below the folder of the manifest are written as relative paths, others as absolute ones.

    Raises:
        CorpusError: an id occurs twice, a field is an empty text, a name is not valid Unicode, or the file cannot be
            written.
    """
    _manifest.write(_folder(path), checked_utterances(utterances))


def _folder(path: Path | str) -> Path:
    """Return an absolute path, with ~ expanded.

    Raises:
        CorpusError: it is no path, or empty, which would silently mean the current folder.
    """
    check_is(path, str | os.PathLike, name="path", remedy="Give a path here, as text.", error=CorpusError)
    if not str(path).strip():
        raise CorpusError("root", found="an empty path", expected="a path", remedy="Give the folder of the corpus.")
    return Path(path).expanduser().absolute()


def _scan_of(corpus: str, items: Iterable[Utterance | Skipped], *, content: bool) -> Scan:
    """Return what a reader gave, each clip once, by its id; `content` compares what is in the files too."""
    given = list(items)
    unique, copies = distinct(item for item in given if isinstance(item, Utterance))
    skipped = (*(item for item in given if isinstance(item, Skipped)), *copies)
    return Scan(corpus, unique, skipped, doubts=(*numbers_among(unique), *repeated(unique, content=content)))


def _checked(item: Utterance | Skipped) -> Utterance | Skipped:
    """Return a clip, or why its file cannot be read."""
    if isinstance(item, Skipped):
        return item
    try:
        check_readable(item.path)
    except AudioError as error:
        exists = is_foreign(item.path) and item.path.exists()
        return foreign(item.path) if exists else Skipped(item.path, f"unreadable: {error.found}")
    return item
