"""Assign speakers or sentences to the support or the query side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Sides = NDArray[np.bool_]


def codes_of(values: Sequence[str | None]) -> Rows:
    """Return a number for each value, from 0 in sorted order; -1 where there is none."""
    number = {value: code for code, value in enumerate(sorted({value for value in values if value is not None}))}
    return np.array([-1 if value is None else number[value] for value in values], dtype=np.int64)


def random_sides(rng: np.random.Generator, n_codes: int) -> Sides:
    """(2, n_codes + 1) whether each code may be support, and query; the last stands for -1 and may be either."""
    # The share of the support side is random too, so that uneven specs and few speakers find their partition.
    support = rng.random(n_codes + 1) < rng.random()
    sides = np.stack([support, ~support])
    sides[:, -1] = True
    return sides


def divisible(sizes: NDArray[np.int64], total: int, k_shot: int, n_query: int) -> bool:
    """Whether groups of `sizes` clips can be divided into a side of k_shot clips and one of n_query.

    Of the `total` of clips, which must suffice for both, those in no group may go to either side.
    """
    grouped = int(sizes.sum())
    least, most = max(k_shot - (total - grouped), 0), min(grouped, total - n_query)
    reachable = np.zeros(grouped + 1, dtype=bool)  # sums of some of the sizes
    reachable[0] = True
    for size in sizes:
        if reachable[least : most + 1].any():
            break
        reachable[size:] |= reachable[:-size].copy()
    return bool(reachable[least : most + 1].any())


def one_query_speaker(
    rng: np.random.Generator, counts: Rows, *, k_shot: int, n_query: int, one_support: bool
) -> Sides | None:
    """Draw the speaker of all queries and, with `one_support`, another of the whole support.

    `counts` are the clips (n_way, n_speakers). Without `one_support`, all other speakers may speak the support.

    Returns:
        Sides as `random_sides` has them; None where no speaker has enough clips of every class.
    """
    n_speakers = counts.shape[1]
    may_query = np.flatnonzero((counts >= n_query).all(0))
    if not len(may_query):
        return None
    speaker = rng.choice(may_query)
    support, query = np.ones(n_speakers + 1, dtype=bool), np.zeros(n_speakers + 1, dtype=bool)
    query[speaker], support[[speaker, -1]] = True, False
    if one_support:
        may_support = np.setdiff1d(np.flatnonzero((counts >= k_shot).all(0)), [speaker])
        if not len(may_support):
            return None
        support[:] = False
        support[rng.choice(may_support)] = True
    return np.stack([support, query])
