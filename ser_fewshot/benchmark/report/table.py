"""A table of the report: its values as CSV, and its text for the page and as LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.report.charts import Figure
from ser_fewshot.benchmark.results import ProtocolResults
from ser_fewshot.storage.files import write_atomically

TABLES = "tables"
"""The folder of the tables, beside the page."""
ABSENT = "-"
"""Stands for a value that is missing."""

Row = dict[str, Any]
Tones = dict[tuple[int, int], Literal["best", "pass", "fail"]]
"""By (row, column): the best of a column; a promise of a protocol that is kept; one that is broken."""

_LONG = 40  # rows, above which a LaTeX table may run over several pages
_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        **{"~": r"\textasciitilde ", "^": r"\textasciicircum ", "\\": r"\textbackslash "},
        # What the fonts of pdfTeX lack.
        **{"✓": "(kept)", "✗": "(BROKEN)", "→": r"$\to$", "\N{MINUS SIGN}": "$-$"},
    }
)


@dataclass(frozen=True, eq=False)
class ReportTable:
    """One table.

    Attributes:
        name: of its files, without a suffix.
        data: for the CSV file, one fact per row, values in full.
        shown: for the page and LaTeX; all cells are text.
        tones: marks of cells of `shown`.
        text_columns: number of the first columns of `shown` that are text.
        folded: whether the page shows it only on request.
    """

    name: str
    caption: str
    data: pd.DataFrame
    shown: pd.DataFrame
    tones: Tones = field(default_factory=dict)
    text_columns: int = 1
    folded: bool = False

    @property
    def csv(self) -> str:
        """`data` as CSV; a missing value is empty."""
        return str(self.data.to_csv(index=False, lineterminator="\n"))

    @property
    def latex(self) -> str:
        """`shown` as LaTeX with the rules of booktabs; commands in it are escaped."""
        # A Styler refuses two columns of one name, such as two corpora could have: a hidden level numbers them.
        columns = pd.MultiIndex.from_arrays([range(self.shown.shape[1]), self.shown.columns])
        bold = pd.DataFrame("", index=self.shown.index, columns=columns)
        for place, tone in self.tones.items():
            bold.iloc[place] = "" if tone == "pass" else "textbf:--rwrap;"
        styler = self.shown.set_axis(columns, axis="columns").style.apply(lambda _: bold, axis=None)
        styler = styler.format(_escaped).format_index(_escaped, axis="columns", level=1)
        text = (
            styler.hide(axis="index")
            .hide(axis="columns", level=0)
            .to_latex(
                hrules=True,
                column_format="l" * self.text_columns + "r" * (len(columns) - self.text_columns),
                caption=_escaped(self.caption),
                label=f"tab:{self.name}",
                environment="longtable" if len(bold) > _LONG else "table",
            )
        )
        return str(text)


@dataclass(frozen=True, eq=False)
class Block:
    """A foldable part of a section: notes, figures with a legend of methods or corpora, tables, clips to play."""

    title: str
    notes: Sequence[str] = ()
    legend: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[ReportTable] = ()
    clips: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def by_corpus(
    results: ProtocolResults, name: str, caption: str, rows: Sequence[Row], text: Callable[[Row], str], **options: Any
) -> list[ReportTable]:
    """Return a table with a line per method and a column per corpus, or no table where there are no rows.

    `rows` has one per record, with its `identity`, and `text` returns the cell of a row.
    """
    cells = {(row["method"], row["corpus"]): text(row) for row in rows}
    methods = [method for method in results.methods if any(method == row["method"] for row in rows)]
    shown = crossed(results, cells, methods, results.corpora)
    table = ReportTable(*titled(results, name, caption), pd.DataFrame(rows), shown, **options)
    return [table] if rows else []


def titled(results: ProtocolResults, name: str, caption: str) -> tuple[str, str]:
    """Return the name and the caption of a table of one protocol."""
    return f"{name}_{slug(results.protocol)}", f"{results.protocol}: {caption}"


def crossed(
    results: ProtocolResults, cells: Mapping[tuple[str, str], str], methods: Sequence[str], columns: Sequence[str]
) -> pd.DataFrame:
    """Return cells by (method, column) as a table with a line per method."""
    lines = [[results.label(name), *(cells.get((name, column), ABSENT) for column in columns)] for name in methods]
    return pd.DataFrame(lines, columns=["method", *columns])


def identity(record: Record) -> Row:
    """Return the columns that say which record a row of values is from."""
    return {name: getattr(record, name) for name in ("protocol", "corpus", "method", "kind")}


def write_tables(folder: Path, tables: Iterable[ReportTable]) -> None:
    """Write NAME.csv and NAME.tex of every table.

    Raises:
        SettingsError: they cannot be written there.
    """
    for table in tables:
        for suffix, content in (("csv", table.csv), ("tex", table.latex)):
            write_atomically(folder / f"{table.name}.{suffix}", content.encode(errors="replace"), durable=False)


def number(value: float | None, *, places: int = 1, factor: float = 1.0) -> str:
    """Return a number as text, with a minus sign instead of a hyphen; ABSENT for one that is missing or infinite."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{factor * value:.{places}f}".replace("-", "\N{MINUS SIGN}")


def percent(mean: float | None, half_width: float | None = None) -> str:
    """Return a share in [0, 1] in %, with the half-width of its interval where there is one: "61.2 ± 0.9"."""
    spread = number(half_width, factor=100)
    return number(mean, factor=100) + ("" if spread == ABSENT else f" ± {spread}")


def slug(text: str) -> str:
    """Return a text as part of a file name: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "unnamed"


def _escaped(text: str) -> str:
    return text.translate(_LATEX)
