"""The tables of a run as Markdown: one a protocol, methods by corpora."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ser_fewshot.benchmark.protocols import PROTOCOLS
from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.significance import FEWEST, LEVEL, RESAMPLES, Verdict, verdict

BEST, ALIKE, HEARD = "best", "not significantly worse", "heard in training"
_SIGNS = {BEST: "**{}**", ALIKE: "{} †", HEARD: "{} ‡", "": "{}"}
_KINDS = ("learner", "model", "baseline", "ceiling")
_ABSENT = "-"


@dataclass(frozen=True, eq=False, kw_only=True)
class Table:
    """One protocol: methods by corpora.

    Attributes:
        protocol, title: which.
        cells: the records that are done, by method and corpus.
        verdicts: by corpus.
    """

    protocol: str
    title: str
    cells: dict[tuple[str, str], Record]
    verdicts: dict[str, Verdict | None]

    @classmethod
    def of(cls, protocol: str, title: str, records: Sequence[Record]) -> Table:
        """Return the table of the records of a protocol."""
        cells = {(record.method, record.corpus): record for record in records if record.done}
        by_corpus: dict[str, list[Record]] = {}
        for record in cells.values():
            by_corpus.setdefault(record.corpus, []).append(record)
        verdicts = {corpus: verdict(column) for corpus, column in sorted(by_corpus.items())}
        return cls(protocol=protocol, title=title, cells=cells, verdicts=verdicts)

    @property
    def corpora(self) -> list[str]:
        """The columns."""
        return list(self.verdicts)

    @cached_property
    def methods(self) -> list[str]:
        """The rows: learners, models, baselines, ceilings, each in the order of their names."""
        kinds = {method: _KINDS.index(record.kind) for (method, _), record in self.cells.items()}
        return sorted(kinds, key=lambda method: (kinds[method], method))

    def mark(self, method: str, corpus: str) -> str:
        """Return what sets a cell apart."""
        found, record = self.verdicts[corpus], self.cells[method, corpus]
        if record.heard:
            return HEARD
        if found is None or record.kind == "ceiling":
            return ""
        return BEST if method == found.best else ALIKE if method in found.alike else ""

    def text(self, method: str, corpus: str) -> str:
        """Return a cell: mean and half-width of the interval in %, with its mark."""
        record = self.cells.get((method, corpus))
        if record is None or record.uar is None:
            return _ABSENT
        half = "" if record.uar.ci95 is None else f" ± {100 * record.uar.ci95:.1f}"
        return _SIGNS[self.mark(method, corpus)].format(f"{100 * record.uar.mean:.1f}{half}")

    def rows(self) -> list[list[str]]:
        """Return the table as it is printed, with its heading, and chance below."""
        rows = [[name, *(self.text(name, corpus) for corpus in self.corpora)] for name in self.methods]
        chance = [f"{100 * self.column(corpus)[0].chance:.1f}" for corpus in self.corpora]
        return [["method", *self.corpora], *rows, ["chance", *chance]]

    def column(self, corpus: str) -> list[Record]:
        """Return the records of a corpus, in the order of the rows."""
        return [self.cells[name, corpus] for name in self.methods if (name, corpus) in self.cells]


def tables_of(records: Sequence[Record]) -> list[Table]:
    """Return the table of every protocol that has a cell, in the order of the protocols."""
    known = {protocol.name: protocol.title for protocol in PROTOCOLS}
    by_name: dict[str, list[Record]] = {name: [] for name in known}
    for record in records:
        by_name.setdefault(record.protocol, []).append(record)
    found = [Table.of(name, known.get(name, name), own) for name, own in by_name.items()]
    return [table for table in found if table.cells]


def as_markdown(table: Table) -> str:
    """Return a table with its heading, its episodes and what was changed for a corpus."""
    head, *rows = table.rows()
    lines = [_row(head), _row(["---"] * len(head)), *map(_row, rows)]
    asked = {corpus: table.column(corpus)[0] for corpus in table.corpora}
    notes = [
        plain(f"- {corpus}: {record.words}; episodes `{record.episodes_sha256[:12]}`")
        for corpus, record in asked.items()
    ]
    notes += _notes(table)
    return f"## {table.title}\n\n`{table.protocol}`\n\n" + "\n".join([*lines, "", *notes]) + "\n"


def _notes(table: Table) -> list[str]:
    """Return what the records of a table say beside their numbers, each once, with whom it is about."""
    said: dict[str, list[str]] = {}
    for (method, corpus), record in sorted(table.cells.items()):
        for note in record.notes:
            said.setdefault(note, []).append(f"{method} on {corpus}")
    return [plain(f"- {note}: {_some(who)}") for note, who in said.items()]


def _some(names: Sequence[str], *, listed: int = 4) -> str:
    rest = f" and {len(names) - listed} more" if len(names) > listed else ""
    return ", ".join(names[:listed]) + rest


def legend() -> str:
    """Return what the marks of all tables mean."""
    return (
        "UAR in %, mean ± 95 % CI over episodes; every method of a column is asked the same ones. Bold: the best of a "
        "column. †: not significantly worse than it (comparison with the best by paired bootstrap over episodes, "
        f"{RESAMPLES} resamples, Holm's correction over the methods of the column, level {LEVEL:g}): the interval and "
        "the sign are about episodes alone, for every method is trained with one seed. Fewer than "
        f"{FEWEST} episodes are not compared. Intervals are Student's t. ‡: its training set has clips of the corpus, "
        "or a corpus of its name, so it is not compared. The linear probe, where it stands, has seen labels that no "
        "other method sees: a ceiling. With speakers as classes, what describes a clip by fixed values is whitened "
        "over training speakers; ComParE's 6,373 values are too many for that."
    )


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(plain(cell).replace("|", r"\|") for cell in cells) + " |"


def plain(text: str) -> str:
    """Return a text that may hold names of strangers on one line, without tags, as Markdown shows it."""
    return " ".join(text.split()).replace("<", "&lt;")
