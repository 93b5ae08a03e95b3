"""Significance against the best method: by hand, against a paired t-test, and by its rate of false positives."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from ser_fewshot.benchmark.significance import FEWEST, LEVEL, holm, p_of_being_best, verdict
from ser_fewshot.errors import EpisodeError

from .records import record


def test_holm_gives_what_a_hand_gives():
    # Sorted: 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1, which must not fall below the one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_method_is_no_different_from_itself_nor_is_a_single_episode_significant():
    scores = np.random.default_rng(0).uniform(size=50)
    assert p_of_being_best(np.column_stack([scores, scores])) == [1.0, 1.0]
    assert p_of_being_best(np.array([[0.9, 0.4]])) == [1.0, 1.0]


def test_too_few_episodes_are_not_compared():
    for n, compared in ((FEWEST - 1, False), (FEWEST, True)):
        column = [record("ridge", scores=([0.9, 0.8] * n)[:n]), record("maml", scores=(0.2,) * n)]
        assert (verdict(column) is not None) == compared


@pytest.mark.parametrize("gap", [0.0, 0.03])
def test_of_two_methods_the_p_value_is_near_that_of_a_paired_t_test(gap):
    rng = np.random.default_rng(1)
    first = rng.normal(0.6, 0.1, 400)
    second = first - gap - rng.normal(0, 0.15, 400)
    scores = np.column_stack([first, second])
    found = min(holm(p_of_being_best(scores)))
    assert found == pytest.approx(ttest_1samp(first - second, 0).pvalue, abs=0.02)
    assert found == min(holm(p_of_being_best(scores)))


def test_equal_methods_are_seldom_significant_and_one_far_behind_is():
    rng = np.random.default_rng(3)
    columns = [rng.normal(size=(60, 1)) + rng.normal(size=(60, 12)) for _ in range(60)]
    wrong = sum(min(holm(p_of_being_best(scores))) < LEVEL for scores in columns)
    assert wrong <= 6  # 3 are expected; pairs with the best that was picked first give 10
    scores = rng.normal(0.6, 0.1, (300, 1)) + rng.normal(0, 0.1, (300, 12))
    scores[:, 5] -= 0.05
    assert [place for place, p in enumerate(holm(p_of_being_best(scores))) if p < LEVEL] == [5]


def test_ceilings_and_models_trained_on_the_corpus_are_not_compared():
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


def test_methods_scored_on_other_episodes_are_refused():
    with pytest.raises(EpisodeError, match="the same for every method"):
        verdict([record(), record(method="other", episodes_sha256="f" * 64)])
    with pytest.raises(EpisodeError, match="the same for every method"):
        verdict([record(), record(method="other", scores=(0.5, 0.6))])  # of equal digest, by a damaged file
