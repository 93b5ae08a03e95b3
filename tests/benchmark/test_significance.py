"""Which methods are worse than the best: by hand, and by what must hold of any bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ser_fewshot.benchmark.significance import FEWEST, LEVEL, holm, p_of_being_best, verdict
from ser_fewshot.errors import EpisodeError

from .rooms import record


def test_holm_gives_what_a_hand_gives():
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which must not fall below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_method_is_no_different_from_itself():
    scores = np.random.default_rng(0).uniform(size=50)
    assert p_of_being_best(np.column_stack([scores, scores])) == [1.0, 1.0]
    assert p_of_being_best(np.array([[0.9, 0.4]])) == [1.0, 1.0]  # a single episode says nothing


@pytest.mark.parametrize(("n", "compared"), [(FEWEST - 1, False), (FEWEST, True)])
def test_of_a_handful_of_episodes_nothing_is_said(n, compared):
    column = [
        record(method="ridge", scores=(0.9, 0.8) * (n // 2) + (0.9,) * (n % 2)),
        record(method="maml", scores=(0.2,) * n),
    ]
    assert (verdict(column) is not None) == compared


@pytest.mark.parametrize("gap", [0.0, 0.015, 0.03])
def test_of_two_methods_the_probability_is_near_that_of_a_paired_t_test(gap):
    rng = np.random.default_rng(1)
    first = rng.normal(0.6, 0.1, 400)
    second = first - gap - rng.normal(0, 0.15, 400)
    scores = np.column_stack([first, second])
    found = min(holm(p_of_being_best(scores)))
    assert found == pytest.approx(ttest_1samp(first - second, 0).pvalue, abs=0.02)
    assert found == min(holm(p_of_being_best(scores)))


@pytest.mark.parametrize("n_methods", [2, 12])
def test_methods_that_are_all_alike_are_seldom_told_apart(n_methods):
    rng = np.random.default_rng(3)
    columns = [rng.normal(size=(60, 1)) + rng.normal(size=(60, n_methods)) for _ in range(120)]
    wrong = sum(min(holm(p_of_being_best(scores))) < LEVEL for scores in columns)
    assert wrong <= 12  # 6 are expected; pairs with the best that was picked first give 20 of twelve methods


def test_a_method_that_is_far_behind_is_told_though_there_are_many_others():
    rng = np.random.default_rng(4)
    scores = rng.normal(0.6, 0.1, (300, 1)) + rng.normal(0, 0.1, (300, 12))
    scores[:, 5] -= 0.05
    found = holm(p_of_being_best(scores))
    assert [place for place, p in enumerate(found) if p < LEVEL] == [5]


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
    with pytest.raises(EpisodeError, match="the same for every method"):
        verdict([record(), record(method="other", scores=(0.5, 0.6))])  # of equal hash, by a damaged file
