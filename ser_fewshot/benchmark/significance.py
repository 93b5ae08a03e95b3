"""Test which methods of a column are significantly worse than its best one.

Paired bootstrap over episodes: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 16; all methods
of a column have the same episodes, so whole episodes are resampled for all of them at once. The best method is itself
chosen by the data: each is therefore compared with the best of every resample, not with one fixed method (multiple
comparisons with the best: Hsu, 1984, https://doi.org/10.1214/aos/1176346732). Correction over the methods of a column:
Holm, "A simple sequentially rejective multiple test procedure", 1979, https://www.jstor.org/stable/4615733.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ser_fewshot.benchmark.record import Record
from ser_fewshot.errors import EpisodeError

LEVEL = 0.05
RESAMPLES = 9_999
FEWEST = 20
"""Episodes below which nothing is compared: the bootstrap would underestimate how they vary."""
_BATCH = 1_000  # resamples in memory at a time

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The method with the highest mean, and of every other one the p-value, after Holm's correction, of being worse."""

    best: str
    p: dict[str, float]

    @cached_property
    def alike(self) -> frozenset[str]:
        """The methods that are not significantly worse than the best."""
        return frozenset(method for method, p in self.p.items() if p >= LEVEL)


def verdict(records: Sequence[Record]) -> Verdict | None:
    """Compare the methods of one protocol on one corpus; None where there is nothing to compare, or too few episodes.

    Ceilings, and models that were trained on the corpus, do not take part.

    Raises:
        EpisodeError: the methods were scored on different episodes.
    """
    compared = [record for record in records if is_compared(record)]
    if not compared:
        return None
    episodes = sorted({(record.episodes_sha256, len(record.uar_per_episode)) for record in compared})
    if len(episodes) > 1:
        raise EpisodeError(
            f"{compared[0].protocol}/{compared[0].corpus}",
            found=" and ".join(f"{n} episodes {digest[:12]}" for digest, n in episodes),
            expected="the same for every method",
            remedy="Run the benchmark in one folder, with the same options.",
        )
    if episodes[0][1] < FEWEST:
        return None
    scores = np.column_stack([record.uar_per_episode for record in compared])
    best = int(scores.mean(0).argmax())
    corrected = holm(p_of_being_best(scores))
    p = {record.method: value for record, value in zip(compared, corrected, strict=True)}
    p.pop(compared[best].method)
    return Verdict(best=compared[best].method, p=p)


def is_compared(record: Record) -> bool:
    """Return whether a record takes part in the comparison of its column."""
    return record.done and record.kind != "ceiling" and not record.heard


def p_of_being_best(scores: Array) -> list[float]:
    """(n_episodes, n_methods) scores -> p-value of each method for being as far behind the best if all were equal.

    That of the method with the highest mean is 1, and so are all of a single episode.
    """
    n, n_methods = scores.shape
    if n < 2:
        return [1.0] * n_methods
    means = scores.mean(0)
    behind = means.max() - means
    reached = np.zeros(n_methods, dtype=np.int64)
    counts = _draws(n)
    for start in range(0, RESAMPLES, _BATCH):
        shift = counts[start : start + _BATCH].astype(np.float64) @ (scores - means) / n
        reached += np.count_nonzero(shift.max(1, keepdims=True) - shift >= behind, axis=0)
    return [float(p) for p in (1 + reached) / (RESAMPLES + 1)]


@lru_cache(maxsize=2)
def _draws(n: int) -> NDArray[np.float32]:
    """Return (RESAMPLES, n) how often each of n episodes is drawn: the same for all columns of a run."""
    generator = np.random.default_rng(0)
    drawn = np.empty((RESAMPLES, n), dtype=np.float32)
    for start in range(0, RESAMPLES, _BATCH):
        part = drawn[start : start + _BATCH]
        index = generator.integers(0, n, part.shape)
        index += np.arange(len(part))[:, None] * n
        part[:] = np.bincount(index.ravel(), minlength=part.size).reshape(part.shape)
    drawn.setflags(write=False)
    return drawn


def holm(p: Sequence[float]) -> list[float]:
    """(n,) p-values -> corrected ones, in their order: the smallest times n, the next times n - 1, ..., monotone."""
    corrected = [0.0] * len(p)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected
