"""What the page is made of: sections of blocks, each a few words, figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark_report._grid import Protocol
from ser_fewshot.benchmark_report._table import ABSENT, ReportTable, frame

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Figure:
    """A drawing, and what it is called; the names of what it shows stand in the legend of its block."""

    caption: str
    drawing: Markup


@dataclass(frozen=True, eq=False)
class Block:
    """What belongs together, folded until it is asked for unless it is `open`.

    Attributes:
        title: what it is about.
        notes: sentences before the figures.
        legend: names of what the figures show, with the marks that the page gives them.
        figures, tables: in their order.
        open: whether it can be seen at once.
    """

    title: str
    notes: tuple[str, ...] = ()
    legend: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[ReportTable, ...] = ()
    open: bool = False


@dataclass(frozen=True, eq=False)
class Section:
    """A heading of the page, what it asks, and the answers."""

    name: str
    title: str
    lead: str
    blocks: tuple[Block, ...]

    @property
    def tables(self) -> tuple[ReportTable, ...]:
        """All of its tables."""
        return tuple(table for block in self.blocks for table in block.tables)


def by_corpus(
    protocol: Protocol,
    *,
    name: str,
    caption: str,
    facts: Callable[[Record], Row | None],
    words: Callable[[Row], str],
    methods: Sequence[str] | None = None,
) -> ReportTable | None:
    """Return a table with a row a method and a column a corpus, or None where there is nothing to tell.

    Args:
        protocol: whose records.
        name: of its files; that of the protocol is added.
        caption: what it holds.
        facts: the numbers of a record, the same names for all; None where there are none.
        words: how a cell says them.
        methods: the rows; all by default.
    """
    told = {
        (record.method, record.corpus): {**identity(record), **row}
        for method in methods or protocol.methods
        for corpus in protocol.corpora
        if (record := protocol.at(method, corpus)) is not None and (row := facts(record)) is not None
    }
    if not told:
        return None
    asked = list(dict.fromkeys(method for method, _ in told))
    cells = [[told.get((method, corpus)) for corpus in protocol.corpora] for method in asked]
    shown = [
        [label_of(protocol, method), *(ABSENT if row is None else words(row) for row in line)]
        for method, line in zip(asked, cells, strict=True)
    ]
    return ReportTable(
        f"{name}_{protocol.slug}",
        caption,
        frame(told.values(), columns=next(iter(told.values()))),
        frame(shown, columns=["method", *protocol.corpora]),
    )


def identity(record: Record) -> Row:
    """Return what says which cell a row of numbers is of."""
    return {"protocol": record.protocol, "corpus": record.corpus, "method": record.method, "kind": record.kind}


def label_of(protocol: Protocol, method: str) -> str:
    """Return the name of a method, and what it is where it is no learner of the package."""
    kind = protocol.kinds[method]
    return method if kind == "learner" else f"{method} ({kind})"


def present(tables: Iterable[ReportTable | None]) -> tuple[ReportTable, ...]:
    """Return the tables that there are."""
    return tuple(table for table in tables if table is not None)
