"""Scan every corpus in a folder: known by its name, its format or its file names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ser_fewshot.corpora._coded import looks_like
from ser_fewshot.corpora._corpus import Scan, Skipped, deviations
from ser_fewshot.corpora._files import find_clips, foreign, require_folder
from ser_fewshot.corpora._scan import card, folder_of, names, scan, scan_of
from ser_fewshot.corpora._utterance import Utterance
from ser_fewshot.corpora.folder import doubts as doubts_of_folders
from ser_fewshot.errors import CorpusError

_MARKS = {"audformat_db": ("db.yaml",), "hf_dataset": ("dataset_dict.json", "dataset_info.json")}
"""Files by which a format is known."""


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
    root = folder_of(folder)
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


def _as_it_looks(path: Path) -> Scan | None:
    """Return the scan of a folder whose name says nothing; None where no clip is in it."""
    files = find_clips(path)
    formats = [name for name, marks in _MARKS.items() if any((path / mark).exists() for mark in marks)]
    corpus = looks_like((*files.clips, *files.foreign))
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
    reason = f"layout: {found}; name the folder as a corpus that is known, or list its clips in a manifest"
    return Scan(path.name, (), (Skipped(path, reason),))


def _joined(scans: Iterable[Scan]) -> list[Scan]:
    """Return one scan for each corpus, whose copies in several folders count once."""
    parts: dict[str, list[Scan]] = {}
    for found in scans:
        parts.setdefault(found.corpus, []).append(found)
    joined = []
    for corpus, members in parts.items():
        found = members[0]
        if len(members) > 1:
            items: list[Utterance | Skipped] = []
            for part in members:
                items += [*part.utterances, *part.skipped]
            found = scan_of(corpus, items, content=True)
            differing = deviations(found.utterances, card(corpus)) if corpus in names() else ()
            found = replace(found, deviations=differing)
        joined.append(found)
    return joined
