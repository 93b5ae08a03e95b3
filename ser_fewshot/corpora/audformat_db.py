"""An audformat database: a folder with `db.yaml` and tables, the format of the audEERING corpora.

https://audeering.github.io/audformat. Licence: that of the data, `license` in db.yaml. Needs the extra
`ser-fewshot[audformat]`.

Every column "emotion", or column of the scheme "emotion", is read, in filewise and in segmented tables; speaker,
gender, language and transcription come from any table, scheme or miscellaneous table; the split from the table's split.

audformat would load tables from pickle files and the header with a loader that can call any code; here tables are read
from CSV and Parquet only, and a header that is more than plain YAML is refused.
"""

from __future__ import annotations

import csv
import importlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ser_fewshot.corpora._cells import LabelError, emotion_of, stated
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._files import require_folder
from ser_fewshot.corpora._manifest import SPLITS, segment_suffix
from ser_fewshot.corpora._utterance import ALIASES, Utterance, canonical_emotion, canonical_gender
from ser_fewshot.errors import CorpusError
from ser_fewshot.optional import not_installed

if TYPE_CHECKING:
    import audformat

CARD = CorpusCard.of_format(
    "audformat database",
    url="https://audeering.github.io/audformat",
    layout="db.yaml with db.emotion.csv or db.emotion.parquet",
    traps=(
        "Tables that exist as pickle only are not read.",
        "A file that two raters label differently has no emotion that could be read: the database is refused.",
        "audformat drops a label in silence that its scheme does not list; here such a row is skipped with its label.",
    ),
)

_SCHEMES = ("speaker", "gender", "language", "transcription")
OUR_ID, OUR_CORPUS = "ser_fewshot.id", "ser_fewshot.corpus"
"""Schemes of a database that was made of our utterances, which keep what audformat has no place for."""
_NAMES = ("emotion", "category", "name", "label")
"""What a scheme whose labels are described by several words may call the name of the emotion."""


def read(root: Path) -> Iterator[Utterance | Skipped]:
    """Yield the clips of a database.

    Raises:
        CorpusError: audformat is not installed, the folder is no database, or it has no emotions, or numbers instead.
    """
    require_folder(root, subject=CARD.title, layout=CARD.layout)
    library = package()
    _require_plain_header(root / "db.yaml")
    with tempfile.TemporaryDirectory() as copy:
        for path in sorted(root.glob("db.*")):
            if path.suffix in {".yaml", ".csv", ".parquet"}:
                shutil.copy(path, copy)
        try:
            database = library.Database.load(copy)
            rows = database.get("emotion", (*_SCHEMES, OUR_ID, OUR_CORPUS)).reset_index().to_dict("records")
            whole = {name: _of_files(database, name) for name in _SCHEMES}
            splits, words, unlisted = _splits(database), _words(database), _unlisted(database, Path(copy))
        except Exception as error:
            raise _bad(root, f"{type(error).__name__}: {error}") from error
    if numbers := _numbers(database):
        found = f"values of type {numbers} as emotions, where the names of classes are expected"
        raise _bad(root, found, remedy="Give the scheme labels that name the emotions")
    if not rows:
        raise _bad(root, f"no emotion in the tables {', '.join(database.tables) or '(none)'}")
    language = database.languages[0] if len(database.languages) == 1 else None
    for row in rows:
        file = str(row["file"])
        cells = {name: _text(row[name]) or whole[name].get(file) for name in _SCHEMES}
        cells["language"] = cells["language"] or language
        word = _text(row["emotion"])
        try:
            emotion = emotion_of(words.get(word or "", word))
        except LabelError as fault:
            yield Skipped(root / file, str(fault))
            continue
        if emotion is None and (label := unlisted.get(_place(file, row.get("start"), row.get("end")))):
            yield Skipped(root / file, f"label: {label!r} is not a label of its scheme")
        else:
            yield _utterance(root, database.name, row, cells, emotion=emotion, split=splits.get(file))


def package() -> ModuleType:
    """Return the library, or raise a CorpusError that names the extra."""
    try:
        return importlib.import_module("audformat")
    except ImportError as error:
        raise not_installed(error, extra="audformat", subject=CARD.title, error=CorpusError) from error


def _bad(root: Path, found: str, *, remedy: str = "Load it with audformat and save it again") -> CorpusError:
    return CorpusError(
        f"{CARD.title} {root}",
        found=found,
        expected="a scheme or column emotion in a table stored as CSV or Parquet",
        remedy=f"{remedy}, or list the clips in a CSV table.",
    )


def _require_plain_header(header: Path) -> None:
    if not header.is_file():
        raise CorpusError(
            CARD.title,
            found=f"no db.yaml in {header.parent}",
            expected=CARD.layout,
            remedy="Give the folder that holds db.yaml.",
        )
    yaml = importlib.import_module("yaml")
    try:
        yaml.safe_load(header.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CorpusError(
            str(header), found=str(error), expected="plain YAML", remedy="Get the database from a source you trust."
        ) from error


def _of_files(database: audformat.Database, scheme: str) -> Mapping[str, str]:
    """Return what filewise tables say of a scheme: it holds for all segments of a file."""
    rows = database.get(scheme).reset_index().to_dict("records")
    return {
        str(row["file"]): text
        for row in rows
        if _seconds(row.get("start")) is None and _seconds(row.get("end")) is None and (text := _text(row[scheme]))
    }


def _splits(database: audformat.Database) -> Mapping[str, str]:
    """Return the split of each file that stands in a table with one."""
    splits = {}
    for name in database.tables:
        table = database[name]
        if table.split_id is not None:
            kind = str(database.splits[table.split_id].type)
            splits.update(dict.fromkeys(map(str, table.files), SPLITS.get(kind, table.split_id)))
    return splits


def _columns(database: audformat.Database) -> Iterator[tuple[str, str, audformat.Scheme | None]]:
    """Yield table, column and scheme of every column that holds emotions."""
    for table in database.tables:
        for name, column in database[table].columns.items():
            if "emotion" in (name, column.scheme_id):
                yield table, name, None if column.scheme_id is None else database.schemes[column.scheme_id]


def _numbers(database: audformat.Database) -> str:
    """Return the type of emotions that are values, such as arousal, rather than classes; empty for classes."""
    kinds = [scheme.dtype for *_, scheme in _columns(database) if scheme is not None and scheme.labels is None]
    return next((str(kind) for kind in kinds if kind not in ("str", "object")), "")


def _words(database: audformat.Database) -> Mapping[str, str]:
    """Return the name of the emotion of each label that its scheme describes by several words."""
    words = {}
    for *_, scheme in _columns(database):
        labels = scheme.labels if scheme is not None and isinstance(scheme.labels, dict) else {}
        for label, words_of in labels.items():
            named = [words_of[name] for name in _NAMES if words_of.get(name)] if isinstance(words_of, dict) else []
            if named and canonical_emotion(str(label)) not in ALIASES:
                words[str(label)] = str(named[0])
    return words


def _unlisted(database: audformat.Database, folder: Path) -> Mapping[tuple[object, ...], str]:
    """Return the labels in stored tables that their scheme does not list, by their place: audformat drops them."""
    unlisted = {}
    for table, column, _ in _columns(database):
        loaded = database[table].df[column]
        places = database[table].index
        for place, cell, raw in zip(places, loaded, _raw(folder / f"db.{table}", column), strict=True):
            if _text(cell) is None and stated(raw):
                unlisted[_place(*([place] if isinstance(place, str) else place))] = str(raw)
    return unlisted


def _raw(table: Path, column: str) -> list[str | None]:
    """Return a column as it is stored."""
    path = table.with_name(f"{table.name}.csv")
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            return [row[column] for row in csv.DictReader(file)]
    pandas = importlib.import_module("pandas")
    return list(map(_text, pandas.read_parquet(table.with_name(f"{table.name}.parquet"), columns=[column])[column]))


def _place(file: str, start: object = None, end: object = None) -> tuple[object, ...]:
    """Return a row of a table by its file and its segment in s."""
    return file, _seconds(start), _seconds(end)


def _utterance(
    root: Path,
    corpus: str,
    row: Mapping[str, Any],
    cells: Mapping[str, str | None],
    *,
    emotion: str | None,
    split: str | None,
) -> Utterance:
    file = str(row["file"])
    start, end = _seconds(row.get("start")), _seconds(row.get("end"))
    corpus = _text(row[OUR_CORPUS]) or corpus
    return Utterance(
        id=_text(row[OUR_ID]) or f"{corpus}/{file}{segment_suffix(start, end)}",
        path=root / file,
        corpus=corpus,
        emotion=emotion,
        speaker=stated(cells["speaker"]),
        language=cells["language"],
        gender=canonical_gender(cells["gender"]),
        text=cells["transcription"],
        start=start,
        end=end,
        split=split,
    )


def _text(cell: object) -> str | None:
    """Return a cell as text, None where it is missing, for which pandas has several values."""
    missing = cell is None or str(cell) in {"nan", "NaT", "<NA>", ""}
    return None if missing else str(cell)


def _seconds(cell: object) -> float | None:
    """Return a pandas time in s; None for none, and for 0, where a clip begins that is a whole file."""
    return (cell.total_seconds() or None) if isinstance(cell, timedelta) else None
