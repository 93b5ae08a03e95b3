"""Tables of clips: the manifest that everything else reads and writes, and the reader for the tables of users.

One row a clip, UTF-8, the columns of `COLUMNS` in any order; `file`, `emotion` and `speaker` are required, others are
ignored. An empty cell means that it is not known, and so do "nan", "N/A", "None" and the like as emotion or speaker. A
file is given relative to the table's folder if it lies below it, else absolutely, so that a manifest can be read from
anywhere and moved together with its clips.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PureWindowsPath

from ser_fewshot.corpora._cells import LabelError, emotion_of, stated
from ser_fewshot.corpora._corpus import Skipped
from ser_fewshot.corpora._files import is_text
from ser_fewshot.corpora._utterance import Seconds, Utterance, canonical_gender
from ser_fewshot.errors import CorpusError, SettingsError
from ser_fewshot.storage.files import write_atomically
from ser_fewshot.storage.paths import remedy_for, url_in, what_is

REQUIRED = ("file", "emotion", "speaker")
COLUMNS = ("id", *REQUIRED, "corpus", "language", "gender", "text", "start", "end", "split")
SPLITS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "evaluation": "valid",
    "test": "test",
    "testing": "test",
}
"""What the parts of a published partition are called, and what we call them."""

_DELIMITERS = ",;\t|"


class _RowError(Exception):
    """One row cannot be read; the message says why."""


def write(path: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest; a crash leaves the old file or the new one, never half of it.

    Raises:
        CorpusError: an id occurs twice, a field is an empty text, a name is not valid Unicode, or the file cannot be
            written.
    """
    folder = path.absolute().parent
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    known: set[str] = set()
    for clip in utterances:
        _require_writable(path, clip, known)
        known.add(clip.id)
        file = clip.path.absolute()
        cells = {name: getattr(clip, name) for name in COLUMNS if name != "file"}
        cells["file"] = (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()
        writer.writerow(["" if cells[name] is None else cells[name] for name in COLUMNS])
    try:
        write_atomically(path, buffer.getvalue())
    except SettingsError as error:
        raise CorpusError(str(path), found=error.found, expected=error.expected, remedy=error.remedy) from error


def _require_writable(path: Path, clip: Utterance, known: set[str]) -> None:
    texts = {name: getattr(clip, name) for name in COLUMNS if isinstance(getattr(clip, name, None), str)}
    texts["file"] = str(clip.path)
    if clip.id in known:
        found, remedy = f"the id {clip.id!r} twice", "Give every clip an id of its own."
    elif "" in texts.values():
        found, remedy = f"an empty {min(name for name in texts if not texts[name])} of {clip.id!r}", "Use None instead."
    elif unstated := [name for name in ("emotion", "speaker") if name in texts and stated(texts[name]) is None]:
        found, remedy = f"the {unstated[0]} {texts[unstated[0]]!r} of {clip.id!r}, which reads as none", "Use None."
    elif not all(map(is_text, texts.values())):
        found, remedy = f"a name that is not valid Unicode: {clip.id!a}", "Rename the file."
    else:
        return
    raise CorpusError(str(path), found=found, expected="unique ids and texts that are not empty", remedy=remedy)


def read(table: Path, *, audio_root: Path | None = None) -> Iterator[Utterance | Skipped]:
    """Yield the rows of a table, in their order; rows that cannot be read as skipped.

    In tables of users white space is taken from the ends of cells, backslashes in paths for slashes, and rows with a
    number as emotion are skipped. A table that has exactly our columns in our order is one of ours and is read as it
    was written.

    Args:
        table: a CSV file; comma, semicolon, tab and bar are recognised as delimiters.
        audio_root: what relative files are relative to, by default the table's folder.

    Raises:
        CorpusError: it is no file, not UTF-8, not CSV, or lacks a required column.
    """
    text = _text(table)
    header, delimiter = _header(table, text)
    ours = tuple(header) == COLUMNS
    base = (table.parent if audio_root is None else audio_root).absolute()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        next(rows)
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            try:
                row = _row(header, cells if ours else [cell.strip() for cell in cells])
                yield _utterance(row, base, ours=ours, corpus=table.stem)
            except _RowError as fault:
                yield Skipped(table, f"row: line {rows.line_num} {fault}")
            except LabelError as fault:
                yield Skipped(table, f"{fault}; line {rows.line_num}")
    except csv.Error as error:
        raise CorpusError(
            str(table),
            found=f"{error} at line {rows.line_num}",
            expected="a CSV table",
            remedy="Look for a quotation mark that is not closed, or save the table again.",
        ) from error


def _text(table: Path) -> str:
    expected = f"a CSV table in UTF-8 with the columns {', '.join(REQUIRED)}"
    kind = what_is(table)
    if kind not in ("a text file", "an empty file", "a file of another kind"):
        remedy = "Correct the path."
        if kind in ("a folder", "a sound file"):
            remedy = "Write the manifest of a folder first: ser-fewshot scan folder DIR --out clips.csv"
        raise CorpusError(url_in(table) or str(table), found=kind, expected=expected, remedy=remedy_for(table, remedy))
    try:
        return table.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        remedy = 'Save it as "CSV UTF-8".' if isinstance(error, UnicodeDecodeError) else "Check its permissions."
        raise CorpusError(str(table), found=f"unreadable bytes: {error}", expected=expected, remedy=remedy) from error


def _header(table: Path, text: str) -> tuple[list[str], str]:
    """Return the names of the columns, in lower case, and the delimiter that shows the most of them."""
    line = io.StringIO(text, newline="").readline().strip()
    headers = {mark: [name.strip().strip('"').strip().lower() for name in line.split(mark)] for mark in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda mark: len(set(headers[mark]) & set(COLUMNS)))
    header = headers[delimiter]
    twice = [name for name, count in Counter(header).items() if name in COLUMNS and count > 1]
    missing = [name for name in REQUIRED if name not in header]
    if missing or twice:
        what = f"no column {', '.join(missing)}" if missing else f"two columns {', '.join(twice)}"
        raise CorpusError(
            str(table),
            found=f"{what} among: {', '.join(header) or 'nothing'}" if line else "an empty file",
            expected=f"the columns {', '.join(REQUIRED)}, optionally {', '.join(sorted({*COLUMNS} - {*REQUIRED}))}",
            remedy="Rename the columns in the first line; an unknown speaker or emotion is an empty cell."
            if line
            else "Write the manifest of a folder: ser-fewshot scan folder DIR --out clips.csv",
        )
    return header, delimiter


def _row(header: list[str], cells: list[str]) -> dict[str, str | None]:
    if len(cells) != len(header):
        raise _RowError(f"has {len(cells)} fields where the header has {len(header)}")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _utterance(row: Mapping[str, str | None], base: Path, *, ours: bool, corpus: str) -> Utterance:
    file = row["file"]
    if file is None:
        raise _RowError("names no file")
    if not ours and "\\" in file and not (base / file).exists():
        file = PureWindowsPath(file).as_posix()
    start, end = _seconds(row, "start"), _seconds(row, "end")
    if not 0 <= (start or 0.0) < (math.inf if end is None else end):
        raise _RowError(f"has the segment from {start} to {end} s")
    own_corpus = row.get("corpus") or corpus
    split = row.get("split")
    return Utterance(
        id=row.get("id") or f"{own_corpus}/{file}{segment_suffix(start, end)}",
        path=base / file,
        corpus=own_corpus,
        emotion=emotion_of(row["emotion"], numbers=ours),
        speaker=stated(row["speaker"]),
        language=row.get("language"),
        gender=canonical_gender(row.get("gender")),
        text=row.get("text"),
        start=start,
        end=end,
        split=None if split is None else SPLITS.get(split.lower(), split),
    )


def segment_suffix(start: Seconds | None, end: Seconds | None) -> str:
    """Return what tells two clips of one file apart, for their ids: "#1.5-3"; nothing for a whole file."""
    if start is None and end is None:
        return ""
    return f"#{start or 0.0:.12g}-{'' if end is None else format(end, '.12g')}"


def _seconds(row: Mapping[str, str | None], name: str) -> Seconds | None:
    """Return a time in s; a decimal comma is one."""
    cell = row.get(name)
    if cell is None:
        return None
    try:
        seconds = float(cell.replace(",", "."))
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise _RowError(f"has {name} = {cell!r}, which is no number of seconds")
    return seconds
