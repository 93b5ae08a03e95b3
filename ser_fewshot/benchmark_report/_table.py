"""A table that is kept twice: its numbers for programs, as CSV, and what people read, for the page and as LaTeX."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ser_fewshot._files import write_atomically

TABLES = "tables"
"""Folder of a run where the tables stand beside the page."""

Tone = Literal["best", "pass", "fail"]
"""The best of its column; a promise that was kept; one that was broken. Its sign stands in the words too."""

ABSENT = "-"
"""What stands in the place of a number that is not there."""


_BOLD: tuple[Tone, ...] = ("best", "fail")
_LONGEST = 40  # rows of a table that LaTeX keeps on one page
_COMMANDS = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde ",
    "^": r"\textasciicircum ",
    "\\": r"\textbackslash ",
    # What its fonts lack.
    "✓": "(kept)",
    "✗": "(BROKEN)",
    "→": r"$\to$",
    "\N{MINUS SIGN}": "$-$",
}


@dataclass(frozen=True, eq=False)
class ReportTable:
    """One table of the report.

    Attributes:
        name: of its files, without an ending.
        caption: what it holds, as one or two sentences.
        numbers: one row a fact, numbers in full.
        shown: what people read; all cells are text.
        tones: by (row, column), what a cell of `shown` is beside its words.
        row_heads: how many of the first columns of `shown` say what a row is.
        folded: whether the page shows it only when asked to.
    """

    name: str
    caption: str
    numbers: pd.DataFrame
    shown: pd.DataFrame
    tones: Mapping[tuple[int, int], Tone] = field(default_factory=dict)
    row_heads: int = 1
    folded: bool = False

    @property
    def rows(self) -> list[list[tuple[str, Tone | None]]]:
        """The cells of `shown`, each with its tone."""
        return [
            [(text, self.tones.get((i, j))) for j, text in enumerate(row)]
            for i, row in enumerate(self.shown.itertuples(index=False, name=None))
        ]

    @property
    def csv(self) -> str:
        """`numbers` as CSV; what is not known is empty."""
        return str(self.numbers.to_csv(index=False, lineterminator="\n"))

    @property
    def latex(self) -> str:
        """`shown` as LaTeX with the rules of booktabs; whatever it holds is text, not a command."""
        shown = self.shown.copy()
        shown.columns = pd.Index(range(len(shown.columns)))  # names may occur twice, positions do not
        names = list(map(str, self.shown.columns))
        styler = shown.style.hide(axis="index").format(_escaped)
        styler = styler.format_index(lambda position: _escaped(names[position]), axis="columns")
        styler = styler.apply(lambda _: self._bold(shown), axis=None)
        return str(
            styler.to_latex(
                hrules=True,
                column_format="l" * self.row_heads + "r" * (len(names) - self.row_heads),
                caption=_escaped(self.caption),
                label=f"tab:{self.name}",
                environment="longtable" if len(shown) > _LONGEST else "table",
            )
        )

    def _bold(self, shown: pd.DataFrame) -> pd.DataFrame:
        marks = pd.DataFrame("", index=shown.index, columns=shown.columns)
        for (row, column), tone in self.tones.items():
            marks.iloc[row, column] = "textbf:--rwrap;" if tone in _BOLD else ""
        return marks


def write_tables(folder: Path, tables: Iterable[ReportTable]) -> None:
    """Write NAME.csv and NAME.tex of every table.

    Raises:
        SettingsError: they cannot be written there.
    """
    for table in tables:
        for ending, content in (("csv", table.csv), ("tex", table.latex)):
            write_atomically(folder / f"{table.name}.{ending}", content.encode(errors="replace"), durable=False)


def frame(rows: Iterable[Sequence[Any] | Mapping[str, Any]], *, columns: Iterable[str]) -> pd.DataFrame:
    """Return rows as a table that has its columns even where there is no row."""
    return pd.DataFrame(list(rows), columns=pd.Index(list(columns), dtype=object))


def number(value: float | None, *, places: int = 1, factor: float = 1.0) -> str:
    """Return a number as people read it: a sign is a minus, not a hyphen."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{factor * value:.{places}f}".replace("-", "\N{MINUS SIGN}")


def percent(mean: float | None, half_width: float | None = None) -> str:
    """Return a share in %, with the half-width of its interval where there is one: "61.2 ± 0.9"."""
    spread = number(half_width, factor=100)
    return number(mean, factor=100) + ("" if spread == ABSENT else f" ± {spread}")


def probability(p: float | None) -> str:
    """Return a p-value: "< 0.001" where it is smaller than anybody needs to know."""
    return "< 0.001" if p is not None and p < 0.001 else number(p, places=3)


def _escaped(text: str) -> str:
    return "".join(_COMMANDS.get(character, character) for character in text)
