"""The finished records of one protocol as a table: methods by corpora, ranked by mean UAR, with their significance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from ser_fewshot.benchmark.protocols import PROTOCOLS
from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.significance import Verdict, is_compared, verdict

BEST, ALIKE, TRAINED_ON = "best", "not significantly worse", "heard in training"  # as CSV tables have them
MAX_DRAWN = 6
"""Methods in a chart: more lines than these cannot be told apart."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ProtocolResults:
    """The records of one protocol that hold a score, by method and corpus, and the verdict of each corpus."""

    protocol: str
    title: str
    cells: dict[tuple[str, str], Record]
    verdicts: dict[str, Verdict | None]

    @classmethod
    def of(cls, protocol: str, title: str, records: Sequence[Record]) -> ProtocolResults:
        """Return the results in the records of a protocol."""
        cells = {(record.method, record.corpus): record for record in records if record.done}
        by_corpus: dict[str, list[Record]] = defaultdict(list)
        for record in cells.values():
            by_corpus[record.corpus].append(record)
        verdicts = {corpus: verdict(column) for corpus, column in sorted(by_corpus.items())}
        return cls(protocol=protocol, title=title, cells=cells, verdicts=verdicts)

    @property
    def corpora(self) -> list[str]:
        """The columns."""
        return list(self.verdicts)

    @cached_property
    def methods(self) -> list[str]:
        """The methods tested on the most corpora first, and of these the one with the highest mean UAR."""
        scores: dict[str, list[float]] = defaultdict(list)
        for (method, _), record in self.cells.items():
            scores[method].append(uar(record))
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

    def column(self, corpus: str) -> list[Record]:
        """Return the records of one corpus, the best method first."""
        return [self.cells[name, corpus] for name in self.methods if (name, corpus) in self.cells]

    def mark(self, method: str, corpus: str) -> str:
        """Return BEST, ALIKE or TRAINED_ON; "" for any other cell."""
        found, record = self.verdicts[corpus], self.cells[method, corpus]
        if record.heard:
            return TRAINED_ON
        if found is None or record.kind == "ceiling":
            return ""
        return BEST if method == found.best else ALIKE if method in found.alike else ""

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
    """Return the results of every protocol with a finished record, in the order of the protocols."""
    titles = {protocol.name: protocol.title for protocol in PROTOCOLS}
    by_name: dict[str, list[Record]] = {name: [] for name in titles}
    for record in records:
        by_name.setdefault(record.protocol, []).append(record)
    found = [ProtocolResults.of(name, titles.get(name, name), own) for name, own in by_name.items()]
    return [results for results in found if results.cells]


def uar(record: Record) -> float:
    """Return the UAR in %; 0 of a record that has none."""
    return 100 * record.uar.mean if record.uar else 0.0


def half_width(record: Record) -> float:
    """Return the half-width in % of the confidence interval of the UAR; 0 where it is unknown."""
    return 100 * (record.uar.ci95 or 0.0) if record.uar else 0.0
