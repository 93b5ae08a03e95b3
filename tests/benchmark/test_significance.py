"""Which methods are worse than the best: by hand, and by what must hold of any bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ser_fewshot.benchmark.significance import holm, paired_p, verdict
from ser_fewshot.errors import EpisodeError

from .rooms import record


def test_holm_gives_what_a_hand_gives():
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which must not fall below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_method_is_no_different_from_itself():
    scores = np.random.default_rng(0).uniform(size=50)
    assert paired_p(scores, scores) == 1.0
    assert paired_p(scores[:1], scores[:1] - 0.5) == 1.0  # a single episode says nothing


@pytest.mark.parametrize("gap", [0.0, 0.015, 0.03])
def test_the_probability_is_near_that_of_a_paired_t_test(gap):
    rng = np.random.default_rng(1)
    first = rng.normal(0.6, 0.1, 400)
    second = first - gap - rng.normal(0, 0.15, 400)
    assert paired_p(first, second) == pytest.approx(ttest_1samp(first - second, 0).pvalue, abs=0.02)
    assert paired_p(first, second) == paired_p(first, second)


def test_a_verdict_is_over_the_methods_that_may_be_compared():
    rng = np.random.default_rng(2)
    good = rng.normal(0.7, 0.05, 200)
    scores = {
        "best": good,
        "like": good + rng.normal(-0.001, 0.05, 200),
        "worse": good - 0.1 + rng.normal(0, 0.05, 200),
    }
    rows = [record(method=name, scores=tuple(values)) for name, values in scores.items()]
    rows.append(record(method="probe", kind="ceiling", scores=tuple(good + 0.2)))
    rows.append(record(method="default-model", kind="model", heard=True, scores=tuple(good + 0.1)))
    found = verdict(rows)
    assert found.best == max(scores, key=lambda name: scores[name].mean())
    assert set(found.p) | {found.best} == set(scores)
    assert "worse" not in found.alike
    assert len(found.alike) == 1
    assert verdict(rows[3:]) is None


def test_methods_that_were_asked_other_episodes_are_not_compared():
    with pytest.raises(EpisodeError, match="the same for every method"):
        verdict([record(), record(method="other", episodes_sha256="f" * 64)])
