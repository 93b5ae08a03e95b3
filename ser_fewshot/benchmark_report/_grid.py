"""The records of a run by protocol: which corpora stand side by side, and which method comes first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from ser_fewshot.benchmark.protocols import PROTOCOLS
from ser_fewshot.benchmark.records import Kind, Record
from ser_fewshot.benchmark.significance import is_compared

DRAWN = 6
"""Methods in a figure: more lines than these cannot be told apart."""
_SHOTS = re.compile(r"-?\d+-shot")
_NO_WORD = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, eq=False)
class Protocol:
    """What was finished of one protocol.

    Attributes:
        name: of the protocol.
        words: the kind of its episodes.
        corpora: tested on, sorted.
        methods: the most widely tested first, and of those the one with the highest UAR, on average over corpora.
        records: those of `methods` on `corpora`, without those that failed or were left out.
    """

    name: str
    words: str
    corpora: tuple[str, ...]
    methods: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def heading(self) -> str:
        """What it asks, and its name."""
        title = next((known.title for known in PROTOCOLS if known.name == self.name), "")
        return f"{title} ({self.name})" if title else self.name

    @property
    def slug(self) -> str:
        """The name as a part of a file's name."""
        return slug(self.name)

    @property
    def family(self) -> str:
        """The name without the number of shots: what a curve over shots is drawn of."""
        return _SHOTS.sub("", self.name).strip("- ") or self.name

    def at(self, method: str, corpus: str) -> Record | None:
        """The record of a method on a corpus, if it is there."""
        return self._cells.get((method, corpus))

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Record]:
        return {(record.method, record.corpus): record for record in reversed(self.records)}

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """What each method is."""
        return {record.method: record.kind for record in reversed(self.records)}

    @cached_property
    def _apart(self) -> frozenset[str]:
        """The methods that do not take part in the comparison, on a corpus or more."""
        return frozenset(record.method for record in self.records if not is_compared(record))

    def on(self, corpus: str) -> tuple[Record, ...]:
        """The records of a corpus, in the order of `methods`."""
        return tuple(record for method in self.methods if (record := self.at(method, corpus)) is not None)

    def best(self, n: int = DRAWN) -> tuple[str, ...]:
        """The first methods of those that took part in the comparison; of all where none did."""
        return tuple(method for method in self.methods if method not in self._apart)[:n] or self.methods[:n]


def protocols(records: Iterable[Record]) -> tuple[Protocol, ...]:
    """Return the protocols of a run of which at least one cell is done, sorted by name and number of shots."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        if record.uar is not None:
            by_name.setdefault(record.protocol, []).append(record)
    return tuple(_protocol(name, by_name[name]) for name in sorted(by_name, key=_natural))


def slug(text: str) -> str:
    """Return a text as a part of a file's name: small letters, digits and underscores."""
    return _NO_WORD.sub("_", text.lower()).strip("_") or "unnamed"


def percent_of(record: Record) -> float:
    """Return the UAR in %; 0 of a record that has none."""
    return 100 * record.uar.mean if record.uar else 0.0


def _protocol(name: str, records: Sequence[Record]) -> Protocol:
    scores: dict[str, list[float]] = {}
    for record in records:
        scores.setdefault(record.method, []).append(percent_of(record))
    methods = sorted(scores, key=lambda method: (-len(scores[method]), -fmean(scores[method]), method))
    words = sorted({record.words for record in records})
    corpora = sorted({record.corpus for record in records})
    return Protocol(name, "; or ".join(words), tuple(corpora), tuple(methods), tuple(records))


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort numbers inside of names by their size."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
