"""Measures of confidence: worked by hand, equal to their plain definition, and right about what is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import corpus
from torch import Tensor

from ser_fewshot.corpora import Utterance, scan
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.episodes.splits import split_by_speaker
from ser_fewshot.errors import AdaptationError, EpisodeError
from ser_fewshot.evaluation.calibration import Calibration, fit_calibration
from ser_fewshot.evaluation.open_set import Rejection, false_positive_rate, oscr, pooled
from ser_fewshot.evaluation.reliability import ReliabilityBins, reliability
from ser_fewshot.evaluation.runner import adapted, outcomes
from ser_fewshot.frontends import Features, FeatureSet, extract, stack
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.models import ModelConfig, build_model

BY_LOGIT = Calibration(
    temperature=(float(np.log(2)), *(0.0,) * 4),
    novelty=(*(0.0,) * 6, -1.0, 0.0, 0.0, 0.0),  # log-odds: the largest logit, negative
    most_ways=8,
    most_shots=20,
)


class Told(Learner):
    """Answers with the first values of each query as its logits: tests write there what is to be answered."""

    def adapt(self, support: Features, y: Tensor) -> Callable[[Features], Tensor]:
        del support
        return lambda query: query.x[:, 0, : len(set(y.tolist()))]


def told(*logits: tuple[float, ...]) -> FeatureSet:
    """Three support clips, s0 to s2, and queries q0, q1, ... of which a learner will say what is given."""
    named = {**{f"s{number}": (float(number),) * 3 for number in range(3)}}
    named |= {f"q{number}": (*values, 0.0, 0.0)[:3] for number, values in enumerate(logits)}
    utterances = tuple(Utterance(name, Path(name), "c", "e", speaker="s") for name in named)
    return FeatureSet(utterances, tuple(torch.tensor([values]) for values in named.values()))


def episodes(*queries: tuple[str, str, str]) -> list[Episode]:
    support = (("s0",), ("s1",), ("s2",))
    return [
        Episode(index, ("a", "b", "c"), support, tuple((name,) for name in names))
        for index, names in enumerate(queries)
    ]


def test_the_calibration_error_worked_out_by_hand():
    bins = ReliabilityBins.of(np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True]))
    # 0.55 is in the ninth of 15 bins, up to 0.6; there 0.45 too modest, in the last 0.45 too sure.
    assert np.flatnonzero(bins.count).tolist() == [8, 14]
    assert bins.count[[8, 14]].tolist() == [2, 2]
    assert bins.confidence[[8, 14]].tolist() == pytest.approx([0.55, 0.95])
    assert bins.accuracy[[8, 14]].tolist() == [1.0, 0.5]
    assert bins.ece == pytest.approx(0.45)


def test_the_calibration_error_weighs_bins_which_are_open_below_and_closed_above():
    bins = ReliabilityBins.of(np.array([1.0, 1.0, 1.0, 0.5]), np.array([True, True, True, False]))
    assert bins.ece == pytest.approx(0.25 * 0.5)
    for probability, number in ((0.0, 0), (0.2, 2), (0.2000001, 3), (1.0, 14)):
        assert ReliabilityBins.of(np.array([probability]), np.array([True])).count.argmax() == number


def test_answers_as_probable_as_they_are_right_have_no_calibration_error():
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.3, 1, 200_000)
    assert ReliabilityBins.of(probability, rng.random(200_000) < probability).ece < 0.005
    assert ReliabilityBins.of(probability, rng.random(200_000) < probability - 0.2).ece == pytest.approx(0.2, abs=0.01)


def test_the_false_positive_rate_is_at_the_threshold_that_keeps_95_of_100():
    known = np.arange(1, 21) / 100  # the 19th of 20 is 0.19
    unknown = np.array([0.05, 0.19, 0.195, 0.5])
    assert false_positive_rate(known, unknown) == pytest.approx(2 / 4)
    assert false_positive_rate(known, unknown, recall=0.25) == pytest.approx(1 / 4)
    assert false_positive_rate(known, known + 1) == 0


def test_oscr_worked_out_by_hand():
    # Two of three are rightly named; of their four pairs with unknown clips three are in order: 2/3 of 3/4.
    found = oscr(np.array([0.1, 0.2, 0.3]), np.array([True, False, True]), np.array([0.15, 0.4]))
    assert found == pytest.approx(0.5)
    assert oscr(np.array([0.1]), np.array([False]), np.array([0.2])) == 0


def test_oscr_is_the_area_under_the_curve_of_the_paper():
    rng = np.random.default_rng(0)
    for _ in range(20):
        known, unknown = rng.integers(0, 8, 40) / 8, rng.integers(2, 10, 30) / 8  # with ties
        right = rng.random(40) < 0.7
        thresholds = [-1, *np.unique([*known, *unknown])]
        named = [np.mean(right & (known <= threshold)) for threshold in thresholds]
        accepted = [np.mean(unknown <= threshold) for threshold in thresholds]
        assert oscr(known, right, unknown) == pytest.approx(np.trapezoid(named, accepted))


def test_reliability_before_and_after_worked_out_by_hand():
    odds = float(np.log(4))  # of a logit of log 16, halved: 4 to 1 and 1
    features = told((2 * odds, 0), (0, 2 * odds), (0, 0, 2 * odds), (2 * odds, 0))
    asked = episodes(("q0", "q1", "q2"), ("q0", "q1", "q3"))  # five of six are right
    found = adapted(outcomes(Told(), features, asked))
    after = reliability(found, BY_LOGIT)
    assert reliability(found, None).ece == pytest.approx(16 / 18 - 5 / 6, rel=1e-4)
    assert after.ece == pytest.approx(5 / 6 - 4 / 6, rel=1e-4)
    assert after.count.sum() == 6
    read = json.loads(json.dumps(after.as_dict(), allow_nan=False))
    assert (read["ece"], len(read["count"])) == (after.ece, 15)


def test_open_set_worked_out_by_hand():
    # Largest logits: q0 3 and right, q1 1 and wrong, q2 -1 (called unknown), q3 2.
    features = told((3.0, 0.0), (1.0, 0.0), (-1.0, -2.0), (2.0, 0.0))
    asked = episodes(("q2", "q0", "q1"), ("q0", "q3", "q2"))  # of the first "a" is left out, of the second "b"
    first, second = found = adapted(outcomes(Told(), features, asked, leave_out=True))
    # First: unknown -1 is flagged, known 3 (right) and 1 (wrong, it is "c") are kept.
    # Second: unknown 2 is not; known 3 (right) is kept, known -1 (wrong) is flagged.
    assert [BY_LOGIT.unknown(one.logits, one.evidence, one.conditions).tolist() for one in (first, second)] == [
        [True, False, False],
        [False, False, True],
    ]
    # Pooled: known 3, 1, 3, -1 against unknown -1 and 2.
    pairs = [(known > unknown) + (known == unknown) / 2 for known in (3, 1, 3, -1) for unknown in (-1, 2)]
    measured = Rejection.of(*pooled(found, BY_LOGIT))
    assert measured.auroc == pytest.approx(np.mean(pairs))
    assert measured.fpr95 == 1  # to keep -1, all are accepted
    assert measured.oscr == pytest.approx(2 / 4 * 1)  # the two that are right are above both


def test_a_fitted_calibration_lowers_the_error_of_one_that_is_far_too_sure():
    made = build_learner("ridge", 8, {"encoder": {"name": "mean"}, "sharpness": 300.0})
    calibration = fit_calibration(made, corpus(seed=1), seed=0, n_episodes=10)
    features, spec = corpus(seed=2), EpisodeSpec(n_way=3, k_shot=2, n_query=4)
    asked = EpisodeSampler(features.utterances, spec).draw_many(60)
    found = adapted(outcomes(made, features, asked))
    assert reliability(found, calibration).ece < 0.1 < reliability(found, None).ece
    assert_unknown_clips_are_flagged(made, features, asked, calibration)


def assert_unknown_clips_are_flagged(
    made: Learner, features: FeatureSet, asked: Sequence[Episode], calibration: Calibration
) -> None:
    """More clips of known classes are kept than of unknown ones, and most of them."""
    found = adapted(outcomes(made, features, asked, leave_out=True))
    assert Rejection.of(*pooled(found, calibration)).auroc > 0.6
    flags = torch.cat([calibration.unknown(one.logits, one.evidence, one.conditions) for one in found])
    known = torch.cat([one.known for one in found])
    kept = 1 - flags[known].double().mean()
    assert kept > 0.5
    assert flags[~known].double().mean() > 1 - kept


def test_novelty_of_clips_without_information_is_chance():
    features, spec = corpus(), EpisodeSpec(n_way=3, k_shot=2, n_query=4)
    generator = torch.Generator().manual_seed(0)
    noise = replace(features, clips=tuple(torch.randn(10, 8, generator=generator) for _ in features.clips))
    made = build_learner("ridge", 8, {"encoder": {"name": "mean"}})
    asked = EpisodeSampler(features.utterances, spec).draw_many(200)
    calibration = fit_calibration(made, corpus(seed=1), seed=0, n_episodes=5)
    found = adapted(outcomes(made, noise, asked, leave_out=True))
    assert abs(Rejection.of(*pooled(found, calibration)).auroc - 0.5) < 0.05


class Diverging(Learner):
    """Never comes to an end."""

    def adapt(self, support: Features, y: Tensor) -> Callable[[Features], Tensor]:
        raise AdaptationError("a", found="nan", expected="a number", remedy="Lower it.")


def test_no_episode_that_can_be_adapted_to_is_refused():
    found = adapted(outcomes(Diverging(), told((1.0, 0.0)), episodes(("q0", "q0", "q0"))))
    for measure in (reliability, pooled):
        with pytest.raises(EpisodeError, match="no episode"):
            measure(found, BY_LOGIT)


@pytest.mark.corpus
def test_a_real_corpus_is_calibrated_and_unknown_emotions_are_told_better_than_by_chance(corpora_root):
    """By speakers that the calibration was not fitted on."""
    utterances = scan("emodb", corpora_root / "emodb", check_audio=False).utterances
    model = build_model(ModelConfig(learner="ridge", settings={"encoder": {"name": "statistics"}}))
    parts = split_by_speaker(utterances, test_fraction=0.5, seed=0)
    fitted, asked = (extract(model.frontend, part) for part in parts)
    model.learner.fit_scale(stack(list(fitted.clips)))
    calibration = fit_calibration(model.learner, fitted, seed=0, n_episodes=15)
    spec = EpisodeSpec(n_way=4, k_shot=5, n_query=5)
    drawn = EpisodeSampler(asked.utterances, spec).draw_many(100)
    assert reliability(adapted(outcomes(model.learner, asked, drawn)), calibration).ece < 0.1
    assert_unknown_clips_are_flagged(model.learner, asked, drawn, calibration)
