"""The finished records of one protocol, with its methods ranked by mean UAR."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.significance import is_compared
from ser_fewshot.benchmark.tables import Table, tables_of

MAX_DRAWN = 6
"""Methods in a chart: more lines than these cannot be told apart."""


class ProtocolResults(Table):
    """The records of one protocol by method and corpus, and the best method of each corpus."""

    @property
    def methods(self) -> list[str]:
        """The methods tested on the most corpora first, and of these the one with the highest mean UAR."""
        scores: dict[str, list[float]] = {}
        for (method, _), record in self.cells.items():
            scores.setdefault(method, []).append(uar(record))
        return sorted(scores, key=lambda method: (-len(scores[method]), -fmean(scores[method]), method))

    @property
    def heading(self) -> str:
        """The title of the protocol, and its name."""
        return self.protocol if self.title == self.protocol else f"{self.title} ({self.protocol})"

    @property
    def records(self) -> list[Record]:
        """All records, by corpus, the best method first."""
        return [record for corpus in self.corpora for record in self.column(corpus)]

    def row(self, method: str) -> list[Record]:
        """Return the records of one method, by corpus."""
        return [self.cells[method, corpus] for corpus in self.corpora if (method, corpus) in self.cells]

    def mean(self, method: str) -> float | None:
        """Return the mean UAR in % over all corpora; None for a method that was not tested on all of them."""
        found = self.row(method)
        return fmean(map(uar, found)) if len(found) == len(self.corpora) else None

    def compared(self, method: str) -> bool:
        """Return whether a method was tested, and is compared with the others on every corpus."""
        found = self.row(method)
        return bool(found) and all(map(is_compared, found))

    def best(self, n: int = MAX_DRAWN) -> list[str]:
        """Return the first n methods of those that are compared; of all where none is."""
        return (list(filter(self.compared, self.methods)) or self.methods)[:n]

    def label(self, method: str) -> str:
        """Return the name of a method, with its kind where it is no learner of the package."""
        kind = self.row(method)[0].kind
        return method if kind == "learner" else f"{method} ({kind})"


def results_of(records: Sequence[Record]) -> list[ProtocolResults]:
    """Return the results of every protocol with a finished record."""
    return [ProtocolResults(**vars(table)) for table in tables_of(records)]


def uar(record: Record) -> float:
    """Return the UAR in %; 0 of a record that has none."""
    return 100 * record.uar.mean if record.uar else 0.0


def half_width(record: Record) -> float:
    """Return the half-width in % of the confidence interval of the UAR; 0 where it is unknown."""
    return 100 * (record.uar.ci95 or 0.0) if record.uar else 0.0
