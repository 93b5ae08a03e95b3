"""What one cell of a benchmark leaves behind: everything that is needed to repeat it, and everything it measured.

A cell is one method on one protocol on one corpus. `results.jsonl` holds one record a line, sorted by key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ser_fewshot.evaluation import Interval
from ser_fewshot.storage.files import write_atomically

FORMAT = 2
"""Intervals of format 1, that of version 0.1, were those of a normal distribution; now they are Student's t."""
RESULTS = "results.jsonl"

Kind = Literal["learner", "model", "baseline", "ceiling"]
Status = Literal["done", "failed", "left out"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A mean over episodes and the half-width of its 95 % confidence interval, both in [0, 1].

    The half-width of a single episode is unknown: None.
    """

    mean: float
    ci95: float | None

    @classmethod
    def of(cls, values: Interval) -> Score:
        """Return the same as it is written to JSON, which has no infinity."""
        return cls(mean=values.mean, ci95=values.half_width if math.isfinite(values.half_width) else None)


@dataclass(frozen=True, kw_only=True)
class Portion:
    """How much of one corpus lies on one side of a split."""

    corpus: str
    clips: int
    speakers: int
    emotions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """What could be learned from, and what was tested on.

    Attributes:
        name: which, such as "without emodb".
        train, test: a portion a corpus; `train` is empty for what learns nothing.
        sha256: of the ids of the clips on both sides.
    """

    name: str
    train: tuple[Portion, ...]
    test: tuple[Portion, ...]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Answers whose top probability lies in one of several equal widths of [0, 1].

    Attributes:
        count: how many.
        confidence: their mean top probability; 0 where there is none.
        accuracy: the share of them that is right; 0 where there is none.
    """

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Whether answers are right as often as their probability says.

    Attributes:
        ece: expected calibration error, in [0, 1]: the mean gap of confidence and accuracy over the bins; Guo et al.,
            2017, https://arxiv.org/abs/1706.04599.
        calibrated: whether a temperature was fitted, on meta-validation clips; else it is 1.
        bins: of equal width, from the lowest probability to the highest; version 0.1 had ten of them.
    """

    ece: float
    calibrated: bool
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """How well clips of a class that is not enrolled are told from those that are.

    Attributes:
        episodes: how many were asked, each with one of its classes left out of the support, in turn.
        calibrated: whether novelty was fitted on meta-validation clips; else it is the distance to the nearest class
            mean over what is usual in the support.
        auroc: area under the ROC curve of the novelty, over all queries.
        fpr95: share of unknown clips accepted by the threshold that accepts 95 % of the known ones.
        oscr: area under the curve below; Dhamija et al., 2018, https://arxiv.org/abs/1811.04110.
        accepted_unknown: x of the curve: share of unknown clips that are accepted, ascending, at most 50 points.
        named_known: y of the curve: share of known clips that are accepted and rightly named.
    """

    episodes: int
    calibrated: bool
    auroc: float
    fpr95: float
    oscr: float
    accepted_unknown: tuple[float, ...]
    named_known: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What two sides share that a reader would think apart: counts of distinct clips, speakers and sentences.

    Support and query are compared within each episode, and the counts summed over all of them; training and test once.
    A sentence counts where its corpus names it.

    Attributes:
        promised: the names of those fields that the protocol promises to be zero; none of training and test where the
            method learned from the test side, of which the counts of those two then say nothing.
    """

    support_query_clips: int
    support_query_speakers: int
    support_query_sentences: int
    train_test_clips: int
    train_test_speakers: int
    train_test_sentences: int
    promised: tuple[str, ...]

    def tells(self, name: str) -> bool:
        """Return whether the count of that name says something about the method."""
        return not name.startswith("train_test") or "train_test_clips" in self.promised

    @property
    def broken(self) -> tuple[str, ...]:
        """The promises that do not hold."""
        return tuple(name for name in self.promised if getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Licence:
    """On what terms a corpus that took part may be used; `commercial_use` is None where it does not say."""

    corpus: str
    title: str
    language: str
    licence: str
    commercial_use: bool | None
    citation: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a record comes from.

    Attributes:
        command: repeats this cell alone; CORPORA and OUT stand for folders.
        seed: of the episodes, the split and the training.
        device: what the learner ran on.
        threads: of torch; with the same number, the same kind of processor gives the same bits.
        versions: of this package, of Python and of the libraries that decide values, by name; and the processor.
        minutes_to_train: of the method on this split, whose other cells it serves too; 0 for what learns nothing.
        minutes_to_score: of this cell.
        finished: when, ISO 8601, UTC.
    """

    command: str
    seed: int
    device: str
    threads: int
    versions: dict[str, str]
    minutes_to_train: float
    minutes_to_score: float
    finished: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One cell.

    Attributes:
        key: unique in a run: protocol, corpus and method, with a slash between.
        protocol: its name, such as "cross-corpus-5-shot".
        corpus: what was tested on.
        method: its name, such as "protonet".
        kind: "learner": meta-trained or untrained, on the shared front-end; "model": a saved model; "baseline": what
            users would otherwise pick; "ceiling": saw labels that no few-shot method sees.
        status: "failed": an error stopped it; "left out": the corpus cannot give these episodes.
        reason: of a cell that is not done.
        notes: what a reader must know beside the number, such as fewer ways than the protocol has.
        heard: whether the training set of a finished model has clips of the test side, or a corpus of its name.
        origin: how to repeat it.
        spec: of the episodes, the fields of `EpisodeSpec`; empty unless done. `words` says the same to people.
        episodes, episodes_sha256: how many, and which; equal hashes, equal tasks.
        split: None unless done.
        settings: what the method was told; `training`: how it was trained, empty for what learns nothing.
        chance: UAR of guessing.
        uar, accuracy: over episodes; None unless done.
        uar_per_episode: (episodes,) in [0, 1], rounded to 6 digits.
        labels, confusion: (n_labels,) and (n_labels, n_labels), queries by true class (row) and answer (column).
        recall: of each label, in [0, 1].
        tallies: by "speaker", "gender" and "language" of the query clip, by its value: [right answers, answers].
        diverged: by the index of the episode, why adapting to it failed; it counts as chance.
        reliability: None where answers have no probabilities. `open_set`: None where there is no novelty.
        audit: None unless done.
        licences: of every corpus that was learned from or tested on.
    """

    key: str
    protocol: str
    corpus: str
    method: str
    kind: Kind
    status: Status
    origin: Origin
    reason: str = ""
    notes: tuple[str, ...] = ()
    heard: bool = False
    spec: dict[str, Any] = field(default_factory=dict)
    words: str = ""
    episodes: int = 0
    episodes_sha256: str = ""
    split: Split | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    chance: float = 0.0
    uar: Score | None = None
    accuracy: Score | None = None
    uar_per_episode: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    recall: dict[str, float] = field(default_factory=dict)
    tallies: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    diverged: dict[str, str] = field(default_factory=dict)
    reliability: Reliability | None = None
    open_set: OpenSet | None = None
    audit: Audit | None = None
    licences: tuple[Licence, ...] = ()
    format: int = FORMAT

    @property
    def done(self) -> bool:
        """Whether it holds a score."""
        return self.status == "done"

    def measured(self) -> dict[str, Any]:
        """Return what a repetition must give: all but times, versions and the command, and the words of notes.

        See `ser_fewshot.benchmark.repeat` for how exactly.
        """
        return {name: value for name, value in asdict(self).items() if name not in ("origin", "notes")}

    def as_json(self) -> str:
        """Return one line of JSON, without its end."""
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False)


def write_results(path: Path, records: Iterable[Record]) -> None:
    """Write records, sorted by key, so that the same cells give the same file.

    Raises:
        SettingsError: it cannot be written.
    """
    ordered = sorted(records, key=lambda record: record.key)
    write_atomically(path, "".join(f"{record.as_json()}\n" for record in ordered))
