"""A table of clips: a CSV file with the columns `file, emotion, speaker`, the format for data of one's own.

Optional columns are `id, corpus, language, gender, text, start, end, split`; start and end in s cut clips out of longer
recordings. Comma, semicolon, tab and bar are recognised as delimiters. Relative files are relative to the table's
folder or to `audio_root`. Licence: that of the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ser_fewshot.corpora import _manifest
from ser_fewshot.corpora._corpus import CorpusCard, Skipped
from ser_fewshot.corpora._utterance import Utterance
from ser_fewshot.errors import CorpusError

CARD = CorpusCard.of_format(
    "Table of clips",
    url="https://docs.python.org/3/library/csv.html",
    layout="table.csv with the columns file, emotion, speaker",
    traps=(
        "Without speakers no split can keep them apart, and results will flatter.",
        "Two speakers of one name are one person unless the column corpus tells them apart.",
    ),
)


def read(root: Path, *, audio_root: Path | None = None) -> Iterator[Utterance | Skipped]:
    """Yield the rows of a table, given as a file or as a folder that holds just one.

    Raises:
        CorpusError: there is no table, or several, or its columns are not as expected.
    """
    return _manifest.read(_only_table(root) if root.is_dir() else root, audio_root=audio_root)


def _only_table(folder: Path) -> Path:
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".csv", ".tsv"} and path.is_file())
    if len(tables) != 1:
        raise CorpusError(
            CARD.title,
            found=f"{len(tables)} CSV files in {folder}: {', '.join(path.name for path in tables) or 'none'}",
            expected="one table",
            remedy="Give the path of the table itself.",
        )
    return tables[0]
