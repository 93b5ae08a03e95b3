"""Which methods of a column are worse than the best one, and which may be so by chance.

Paired bootstrap over episodes: Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 16; all methods
of a column are asked the same episodes, so their differences are drawn again, episode by episode. Correction over the
methods of a column: Holm, "A simple sequentially rejective multiple test procedure", 1979,
https://www.jstor.org/stable/4615733.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from ser_fewshot.benchmark.records import Record
from ser_fewshot.errors import EpisodeError

LEVEL = 0.05
RESAMPLES = 9_999
_BATCH = 1_000  # resamples in memory at a time

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a column says.

    Attributes:
        best: the method with the highest mean of those that are compared.
        p: of every other one, that its difference to the best is chance, after Holm's correction.
    """

    best: str
    p: dict[str, float]

    @property
    def alike(self) -> tuple[str, ...]:
        """The methods that are not significantly worse than the best."""
        return tuple(method for method, p in self.p.items() if p >= LEVEL)


def verdict(records: Sequence[Record]) -> Verdict | None:
    """Compare the methods of one protocol on one corpus; None where there is nothing to compare.

    Ceilings, which saw labels that others did not, and models whose training heard the corpus do not take part.

    Raises:
        EpisodeError: they were not asked the same episodes.
    """
    compared = [record for record in records if is_compared(record)]
    if not compared:
        return None
    hashes = sorted({record.episodes_sha256 for record in compared})
    if len(hashes) > 1:
        raise EpisodeError(
            f"{compared[0].protocol}/{compared[0].corpus}",
            found=f"episodes {' and '.join(digest[:12] for digest in hashes)}",
            expected="the same for every method",
            remedy="Run the benchmark in one folder, with the same options.",
        )
    scores = {record.method: np.array(record.uar_per_episode) for record in compared}
    best = max(scores, key=lambda method: float(scores[method].mean()))
    others = [method for method in scores if method != best]
    corrected = holm([paired_p(scores[best], scores[method]) for method in others])
    return Verdict(best=best, p=dict(zip(others, corrected, strict=True)))


def is_compared(record: Record) -> bool:
    """Return whether a record takes part in the comparison of its column."""
    return record.done and record.kind != "ceiling" and not record.heard


def paired_p(first: Array, second: Array, *, seed: int = 0) -> float:
    """(n_episodes,) scores of two methods -> two-sided probability of such a difference by chance."""
    difference = first - second
    if len(difference) < 2:
        return 1.0
    drawn = bootstrap(
        (difference,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=_BATCH,
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).bootstrap_distribution
    tail = min(int(np.count_nonzero(drawn <= 0)), int(np.count_nonzero(drawn >= 0)))
    return float(min(1.0, 2 * (tail + 1) / (RESAMPLES + 1)))


def holm(p: Sequence[float]) -> list[float]:
    """(n,) probabilities -> the same after Holm's correction, in their order.

    The smallest is multiplied by n, the next by n - 1, and so on; none becomes smaller than one before it.
    """
    corrected = [0.0] * len(p)
    largest = 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda index: p[index])):
        largest = max(largest, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = largest
    return corrected
