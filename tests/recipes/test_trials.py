"""Measures of a trial by hand: UAR under degraded conditions, by gender, calibration and open set."""

from __future__ import annotations

from dataclasses import replace
from math import exp
from pathlib import Path

import _trials
import pytest
import torch
from _trials import Trial, by_gender, gap, measured, under_conditions
from synthetic import CALIBRATION
from torch import Tensor

from ser_fewshot.corpora import Gender, Utterance
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import Features, FeatureSet
from ser_fewshot.learners import Classifier, Learner

SPEC = EpisodeSpec(n_way=2, k_shot=1, n_query=2)


class Nearest(Learner):
    """Nearest support clip, on a line."""

    def adapt(self, support: Features, y: Tensor) -> Classifier:
        return lambda query: -(query.x - support.x.T[:, y.argsort()]).abs()


def clip(name: str, at: float, gender: Gender | None) -> tuple[Utterance, Tensor]:
    return Utterance(name, Path("x.wav"), "c", "e", speaker=name, gender=gender), torch.tensor([at])


def features(*clips: tuple[Utterance, Tensor]) -> FeatureSet:
    return FeatureSet(tuple(item for item, _ in clips), tuple(at for _, at in clips))


CLIPS = features(
    clip("low", 0.0, None),
    clip("high", 1.0, None),
    clip("low woman", 0.1, "female"),
    clip("low man", 0.9, "male"),  # taken for high
    clip("high woman", 0.8, "female"),
    clip("high man", 0.7, "male"),
)
QUERY = (("low woman", "low man"), ("high woman", "high man"))


def episodes(n: int, query: tuple[tuple[str, ...], ...] = QUERY) -> list[Episode]:
    return [Episode(index, ("a", "b"), (("low",), ("high",)), query) for index in range(n)]


def trial(
    listed: list[Episode], degraded: dict[str, FeatureSet] | None = None, spec: EpisodeSpec = SPEC, clips=CLIPS
) -> Trial:
    learner = Nearest()
    return Trial(learner, clips, degraded or {}, listed, spec, evaluate(learner, clips, listed, spec=spec))


def test_the_queries_are_degraded_and_the_support_is_not():
    # The support's own degraded clips would turn both classes around.
    noisy = features(
        clip("low", 1.0, None),
        clip("high", 0.0, None),
        clip("low woman", 0.1, "female"),
        clip("low man", 0.9, "male"),
        clip("high woman", 0.2, "female"),  # now taken for low
        clip("high man", 0.7, "male"),
    )
    row = under_conditions(trial(episodes(3), {"noise": noisy, "nothing": CLIPS}))
    # Recorded: one of two and two of two are right; in noise, one of two and one of two.
    assert row["noise"] == {"uar": {"mean": 0.5, "ci95": 0.0}, "loss": {"mean": 0.25, "ci95": 0.0}}
    assert row["nothing"] == {"uar": {"mean": 0.75, "ci95": 0.0}, "loss": {"mean": 0.0, "ci95": 0.0}}


def test_the_loss_is_paired_over_episodes():
    easy = episodes(1, (("low woman",), ("high woman",)))
    hard = [Episode(1, ("a", "b"), (("low",), ("high",)), (("low man",), ("high man",)))]
    noisy = features(*((item, at) for item, at in zip(CLIPS.utterances, CLIPS.clips, strict=True)))
    worse = FeatureSet(
        noisy.utterances,
        tuple(at if "low" in item.id else at - 0.6 for item, at in zip(noisy.utterances, noisy.clips, strict=True)),
    )
    row = under_conditions(trial(easy + hard, {"noise": worse}, EpisodeSpec(n_way=2, k_shot=1, n_query=1)))
    # 1.0 and 0.5 become 0.5 and 0.0: each loses 0.5, so the interval of the loss has no width though UAR's has.
    assert row["noise"]["loss"] == {"mean": 0.5, "ci95": 0.0}
    assert row["noise"]["uar"]["ci95"] == pytest.approx(12.706205 * 0.25)


def test_women_and_men_are_scored_on_their_own_queries_where_every_class_has_them():
    row = by_gender(trial(episodes(40)))
    assert row is not None
    assert row["uar"]["female"] == {"mean": 1.0, "ci95": 0.0, "episodes": 40}
    assert row["uar"]["male"] == {"mean": 0.5, "ci95": 0.0, "episodes": 40}
    assert (row["gap"], row["paired_episodes"]) == ({"mean": 0.5, "ci95": 0.0}, 40)
    women_alone = episodes(35, (("low woman",), ("high woman",)))
    one_sided = episodes(75, (("low man",), ("high woman",)))[70:]
    row = by_gender(trial(women_alone + episodes(70)[35:] + one_sided))
    assert row is not None
    assert (row["uar"]["female"]["episodes"], row["uar"]["male"]["episodes"], row["paired_episodes"]) == (70, 35, 35)


def test_gender_is_not_measured_of_too_few_episodes_or_of_speakers_as_classes():
    assert by_gender(trial(episodes(_trials.FEWEST))) is not None
    assert by_gender(trial(episodes(_trials.FEWEST - 1))) is None
    speakers = EpisodeSpec(n_way=2, k_shot=1, n_query=2, label="speaker", query_speaker="same")
    assert by_gender(trial(episodes(40), spec=speakers)) is None


def test_the_gap_is_paired_where_episodes_are_shared_and_else_is_not():
    first = {index: 0.5 + 0.01 * (index % 2) for index in range(40)}
    shared = gap(first, {index: value - 0.2 for index, value in first.items()})
    assert (shared.mean, shared.half_width) == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-12))
    apart = gap(first, {index + 40: value - 0.2 for index, value in first.items()})
    # Both have the standard deviation 0.005 * sqrt(40 / 39), and 2.0227 is the quantile of t; their squares add up.
    assert apart.half_width == pytest.approx(2.022691 * 0.005 * (2 / 39) ** 0.5)
    assert apart.mean == pytest.approx(0.2)


def test_a_result_holds_the_score_and_every_measure(monkeypatch):
    monkeypatch.setitem(_trials.MEASURES, "episodes_too", lambda trial: len(trial.episodes))
    row = measured(trial(episodes(40), {"noise": CLIPS}))
    assert row["uar"] == {"mean": 0.75, "ci95": 0.0}
    assert row["chance"] == 0.5
    assert row["recall"] == {"a": 0.5, "b": 1.0}
    assert row.keys() >= _trials.MEASURES.keys()
    assert row["episodes_too"] == 40
    assert "uar_per_episode" not in row


def test_a_calibrated_model_says_what_its_confidence_is_worth():
    points = {"a": 0.0, "b": 1.0, "c": 5.0}
    own = features(*(clip(f"{name}{take}", at + 0.1 * take, None) for name, at in points.items() for take in (0, 1)))
    support = tuple((f"{name}0",) for name in points)
    listed = [Episode(index, tuple(points), support, tuple((f"{name}1",) for name in points)) for index in range(6)]
    spec = EpisodeSpec(n_way=3, k_shot=1, n_query=1)
    plain = trial(listed, spec=spec, clips=own)
    assert (measured(plain)["reliability"], measured(plain)["open_set"]) == (None, None)
    row = measured(replace(plain, calibration=CALIBRATION))
    # All answers are right, so ECE is how far their mean probability is from 1: logits are minus the distances.
    tops = [1 / (1 + exp(0.1 - 0.9) + exp(0.1 - 4.9)), 1 / (1 + exp(0.1 - 1.1) + exp(0.1 - 3.9))]
    tops.append(1 / (1 + exp(0.1 - 5.1) + exp(0.1 - 4.1)))
    assert row["reliability"]["before"]["ece"] == pytest.approx(1 - sum(tops) / 3, rel=1e-4)
    assert (row["open_set"]["episodes"], row["open_set"]["spec"]["n_way"]) == (6, 3)
    two = trial(episodes(3))
    assert measured(replace(two, calibration=CALIBRATION))["open_set"] is None
