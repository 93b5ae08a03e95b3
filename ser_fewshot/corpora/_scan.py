"""Scan one corpus: its clips, what was skipped and why, and how the counts differ from those of its paper."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ser_fewshot import plugins
from ser_fewshot.audio import check_readable
from ser_fewshot.corpora._cells import numbers_among
from ser_fewshot.corpora._coded import read_coded
from ser_fewshot.corpora._copies import distinct, repeated
from ser_fewshot.corpora._corpus import CorpusCard, Scan, Skipped, deviations
from ser_fewshot.corpora._files import foreign, is_foreign
from ser_fewshot.corpora._utterance import Utterance
from ser_fewshot.errors import AudioError, CorpusError, SettingsError
from ser_fewshot.settings import check_is


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
        named = ", ".join(f"{name} ({described.licence})" for name, described in licences.items())
        raise SettingsError(
            "corpora",
            found=f"no licence that allows commercial use: {named or 'no corpus'}",
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
    options = {"audio_root": None if audio_root is None else folder_of(audio_root), "fold": fold}
    given = {name: value for name, value in options.items() if value is not None}
    read = _reader(corpus)
    legal = set(inspect.signature(read).parameters) - {"root"}
    if not legal.issuperset(given):
        raise SettingsError(
            f"corpus {corpus}",
            found=f"the option {', '.join(sorted(set(given) - legal))}",
            expected=", ".join(sorted(legal)) or "no options",
            remedy="Leave it out.",
        )
    items = read(folder_of(root), **given)
    checked = (_checked(item) for item in items) if check_audio else items
    found = scan_of(corpus, checked, content=check_audio)
    doubts = module.doubts(found.utterances) if hasattr(module, "doubts") else ()
    return replace(found, deviations=deviations(found.utterances, module.CARD), doubts=(*doubts, *found.doubts))


def _reader(corpus: str) -> Callable[..., Iterator[Utterance | Skipped]]:
    """Return the function `read` of a corpus or format; one that only names its files needs none."""
    module = plugins.load("corpora", corpus)

    def by_file_names(root: Path) -> Iterator[Utterance | Skipped]:
        return read_coded(root, module.NAMES, corpus=corpus, card=module.CARD)

    read: Callable[..., Iterator[Utterance | Skipped]] = getattr(module, "read", by_file_names)
    return read


def from_dataset(dataset: Any, folder: Path | str, *, corpus: str = "dataset") -> Scan:
    """Return the clips of a `datasets.Dataset` in memory, or of a `DatasetDict`, whose parts are the splits.

    Args:
        dataset: with a column of type Audio, and one called emotion or label; see `hf_dataset`.
        folder: where clips that stand inside the tables are written to.
        corpus: what it is called, unless a column says so.

    Raises:
        CorpusError: datasets is not installed, or the columns are others.
    """
    reader, target = plugins.load("corpora", "hf_dataset"), folder_of(folder)
    parts = dataset if isinstance(dataset, Mapping) else {"": dataset}
    return scan_of(
        corpus, map(_checked, reader.of_parts(parts, corpus=corpus, root=target, folder=target)), content=True
    )


def folder_of(path: Path | str) -> Path:
    """Return an absolute path, with ~ expanded.

    Raises:
        CorpusError: it is no path, or empty, which would silently mean the current folder.
    """
    check_is(path, str | os.PathLike, name="path", remedy="Give a path here, as text.", error=CorpusError)
    if not str(path).strip():
        raise CorpusError("root", found="an empty path", expected="a path", remedy="Give the folder of the corpus.")
    return Path(path).expanduser().absolute()


def scan_of(corpus: str, items: Iterable[Utterance | Skipped], *, content: bool) -> Scan:
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
