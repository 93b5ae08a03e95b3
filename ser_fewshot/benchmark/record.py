"""The record of one cell of a benchmark, a method on a protocol and corpus: all its measures, and how to repeat it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.episodes.spec import LATER
from ser_fewshot.evaluation import Interval
from ser_fewshot.settings import fill

FORMAT = 2
"""Intervals of format 1, that of version 0.1, were those of a normal distribution; now they are Student's t."""

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
        """Return an interval as JSON can hold it, which has no infinity."""
        return cls(mean=values.mean, ci95=values.half_width if math.isfinite(values.half_width) else None)


@dataclass(frozen=True, kw_only=True)
class Portion:
    """The clips of one corpus on one side of a split."""

    corpus: str
    clips: int
    speakers: int
    emotions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Training and test set by corpus; `sha256` is of the ids of all their clips.

    `train` is empty for a method that is not trained.
    """

    name: str
    train: tuple[Portion, ...]
    test: tuple[Portion, ...]
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Number, mean top probability and accuracy of the predictions whose top probability lies in an interval.

    Mean and accuracy are 0 where there is none.
    """

    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Expected calibration error and reliability diagram; Guo et al., 2017, https://arxiv.org/abs/1706.04599.

    Attributes:
        ece: mean gap of confidence and accuracy over the bins, in [0, 1].
        calibrated: whether a temperature was fitted, on meta-validation clips; else it is 1.
        bins: of equal width, from the lowest probability to the highest; version 0.1 had ten of them.
    """

    ece: float
    calibrated: bool
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """Novelty detection in episodes of which each class in turn is left out of the support.

    Attributes:
        episodes: their number.
        calibrated: whether novelty was fitted on meta-validation clips; else it is the distance to the nearest class
            mean over what is usual in the support.
        auroc: area under the ROC curve of the novelty, over all queries.
        fpr95: share of unknown clips accepted by the threshold that accepts 95 % of the known ones.
        oscr: area under the curve below; Dhamija et al., 2018, https://arxiv.org/abs/1811.04110.
        accepted_unknown: x of the curve: share of unknown clips that are accepted, ascending, at most 50 points.
        named_known: y of the curve: share of known clips that are accepted and correctly classified.
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
    """Number of distinct clips, speakers and sentences that two sides share.

    Support and query are compared within each episode, and the counts summed over all of them; training and test once.
    A sentence counts where its corpus names it.

    Attributes:
        promised: the names of those fields that the protocol promises to be zero; none of training and test where the
            method was trained on the test side, so that those counts say nothing about it.
    """

    support_query_clips: int
    support_query_speakers: int
    support_query_sentences: int
    train_test_clips: int
    train_test_speakers: int
    train_test_sentences: int
    promised: tuple[str, ...]

    def applies(self, name: str) -> bool:
        """Return whether the count of that name says something about the method."""
        return not name.startswith("train_test") or "train_test_clips" in self.promised

    @property
    def broken(self) -> tuple[str, ...]:
        """The promises that do not hold."""
        return tuple(name for name in self.promised if getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Terms of use of a training or test corpus; `commercial_use` is None where they do not mention it."""

    corpus: str
    title: str
    language: str
    licence: str
    commercial_use: bool | None
    citation: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """How a record was computed.

    Attributes:
        command: computes this cell alone; CORPORA and OUT stand for folders.
        seed: of the episodes, the split and the training.
        threads: of torch; with the same number, the same kind of processor gives the same bits.
        versions: of this package, of Python and of the libraries that decide values, by name; and the processor.
        minutes_to_train: of the method on this split, shared by its other cells; 0 if it is not trained.
        minutes_to_score: of this cell.
        finished: ISO 8601, UTC.
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
    """One cell; the fields are the keys of a line of `results.jsonl`.

    Attributes:
        key: unique in a run: protocol, corpus and method, with a slash between.
        corpus: the test corpus.
        kind: "learner": meta-trained or untrained, on the shared front-end; "model": a saved model; "baseline": a
            conventional alternative; "ceiling": trained on labels that no few-shot method has.
        status: "failed": an error stopped it; "left out": the corpus cannot give these episodes.
        reason: of a cell that is not done.
        notes: what a reader must know beside the number, such as fewer ways than the protocol has.
        heard: whether the training set of a saved model has clips of the test set, or a corpus of its name.
        spec: fields of `EpisodeSpec`; empty unless done. `words` is the same as text.
        episodes, episodes_sha256: their number, and a digest; equal digests are equal episodes.
        settings: of the method; `training`: of its meta-training, empty if it is not trained.
        chance: UAR of guessing.
        uar, accuracy: over episodes; None unless done.
        plain, gain: UAR on the same queries without the offset of the query speaker, and what the offset adds to it,
            paired over episodes; None where a protocol subtracts no offset, or the method has none.
        uar_per_episode: (episodes,) in [0, 1], rounded to 6 digits.
        labels, confusion: (n_labels,) and (n_labels, n_labels), queries by true class (row) and prediction (column).
        recall: of each label, in [0, 1].
        tallies: by "speaker", "gender" and "language" of the query, by its value: [correct predictions, all].
        diverged: by the index of the episode, why adapting to it failed; it counts as chance.
        reliability: None where predictions have no probabilities. `open_set`: None where there is no novelty.
        split, audit: None unless done.
        licences: of every training and test corpus.
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
    plain: Score | None = None
    gain: Score | None = None
    format: int = FORMAT

    @property
    def done(self) -> bool:
        """Whether it holds a score."""
        return self.status == "done"

    def measured(self) -> dict[str, Any]:
        """Return what a repetition must reproduce: all but `origin` and the wording of `notes`."""
        return {name: value for name, value in asdict(self).items() if name not in ("origin", "notes")}

    def as_json(self) -> str:
        """Return one line of JSON, without its end."""
        return json.dumps(asdict(self), separators=(",", ":"), allow_nan=False)

    def inconsistencies(self) -> Iterator[str]:
        """Yield what contradicts what, in a record of damaged or foreign files whose fields have the right types."""
        if self.key != "/".join(filter(None, (self.protocol, self.corpus, self.method))):
            yield f"the key {self.key!r:.80} of another cell"
        if not all(isinstance(text, str) for text in (*self.origin.versions.values(), *self.diverged.values())):
            yield "versions or reasons that are no text"
        if self.done:
            yield from self._inconsistent_scores()
            yield from self._inconsistent_counts()
        elif self.uar is not None:
            yield f"a score of a cell that is {self.status}"

    def _inconsistent_scores(self) -> Iterator[str]:
        if self.uar is None or self.accuracy is None:
            yield "no score of a cell that is done"
        if not 1 <= self.episodes == len(self.uar_per_episode):
            yield f"{len(self.uar_per_episode)} scores for {self.episodes} episodes"
        means = [score.mean for score in (self.uar, self.accuracy, self.plain) if score is not None]
        shares: list[object] = [*self.uar_per_episode, self.chance, *means, *self.recall.values()]
        if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in shares):
            yield "scores that are not in [0, 1]"
        lacking = {field.name for field in fields(EpisodeSpec)} - LATER - set(self.spec)
        if lacking:
            yield f"a spec without {', '.join(sorted(lacking))}"
        fill(EpisodeSpec, self.spec, where="spec")
        if self.open_set and len(self.open_set.accepted_unknown) != len(self.open_set.named_known):
            yield "a curve of the open set whose two sides differ in length"

    def _inconsistent_counts(self) -> Iterator[str]:
        n_labels = len(set(self.labels))
        if len(self.labels) != n_labels or [len(row) for row in self.confusion] != [n_labels] * n_labels:
            yield f"a confusion that is not {n_labels} by {n_labels}, as its labels are"
        if any(count < 0 for row in self.confusion for count in row):
            yield "a negative count of answers"
        groups: list[Any] = list(self.tallies.values())
        if not all(isinstance(group, dict) and all(map(_is_tally, group.values())) for group in groups):
            yield "tallies that are not right answers of answers"


def _is_tally(value: object) -> bool:
    """Return whether a value is [correct predictions, all predictions]."""
    whole = isinstance(value, list) and len(value) == 2 and all(type(count) is int for count in value)
    return whole and 0 <= value[0] <= value[1]  # type: ignore[index]
