"""Fitting: the law that made the answers is found again, and any learner can be calibrated."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import corpus
from torch import Tensor

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode
from ser_fewshot.errors import AdaptationError, EpisodeError, SettingsError
from ser_fewshot.evaluation import calibration as calibrating
from ser_fewshot.evaluation.calibration import (
    fit,
    fit_calibration,
    optimal_temperature,
    validation_predictions,
)
from ser_fewshot.evaluation.runner import Predictions, predictions
from ser_fewshot.frontends import Features, FeatureSet
from ser_fewshot.learners import Learner, build_learner, names

EPISODE = Episode(0, (), (), ())
SMALL = {"name": "conv", "channels": 4, "blocks": 1, "width": 3}


def learner(name: str = "ridge", **settings: object) -> Learner:
    made = build_learner(name, 8, {"encoder": {"name": "mean"}, **settings})
    return made


def law(n_way: int, k_shot: float) -> float:
    """A temperature of the form that is fitted."""
    return float(np.exp(0.7 - 0.5 * np.log(n_way) + 0.3 * np.log(k_shot)))


def answers(n: int = 3000) -> list[Predictions]:
    """Answers whose probabilities are right at `law`'s temperature, and unknown clips two units further away."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for n_way in (2, 3, 5, 8):
        for k_shot in (1.0, 5.0, 20.0):
            logits = 3 * torch.randn(n, n_way, generator=generator)
            y = torch.multinomial((logits / law(n_way, k_shot)).softmax(1), 1, generator=generator).squeeze(1)
            unknown = torch.rand(n, generator=generator) < 0.25
            ratio = torch.randn(n, generator=generator) + 2 * unknown
            evidence = torch.stack([ratio, torch.randn(n, generator=generator)], 1)
            made.append(Predictions(EPISODE, k_shot, logits, torch.where(unknown, -1, y), evidence))
    return made


@pytest.mark.parametrize(("wrong", "share"), [(1, 0.75), (2, 0.5 + 1e-9), (0, 1.0)])
def test_the_best_temperature_makes_confidence_the_smoothed_accuracy(wrong, share):
    logits = torch.tensor([[6.0, 0.0]]).repeat(4, 1)
    y = torch.tensor([1] * wrong + [0] * (4 - wrong))
    doubt = 1 / 6
    p = (1 - doubt) * share + doubt / 2
    expected = 6 / math.log(p / (1 - p))
    assert optimal_temperature(logits, y) == pytest.approx(expected if wrong != 2 else math.exp(20), rel=1e-4)


def test_the_fitted_temperature_is_near_the_optimum_of_every_cell():
    observations = answers()
    calibration = fit(observations)
    for one in observations:
        best = optimal_temperature(one.logits[one.known], one.y[one.known])
        found = calibration.temperature_at(one.n_way, one.k_shot)
        assert found == pytest.approx(best, rel=0.12)
        assert found == pytest.approx(law(one.n_way, one.k_shot), rel=0.06)
    assert (calibration.most_ways, calibration.most_shots) == (8, 20)


def test_the_fitted_novelty_is_the_log_odds_of_the_two_densities():
    calibration = fit(answers())
    # Two normal distributions of variance 1, two apart: log-odds 2a - 2; the logit says nothing, nor do the conditions.
    expected = [-2, 0, 0, 2, 0]
    assert calibration.novelty == pytest.approx(expected, abs=0.15)
    # 90 % of known clips lie below 1.2816, where the log-odds are 0.563.
    assert calibration.threshold == pytest.approx(1 / (1 + math.exp(-0.563)), abs=0.02)


@pytest.mark.parametrize("keep", [0.6, 0.95])
def test_the_threshold_keeps_the_share_of_known_clips_that_is_asked_for(keep):
    observations = answers(500)
    calibration = fit(observations, keep=keep)
    kept = torch.cat(
        [
            calibration.novelty_of(one.evidence[one.known], n_way=one.n_way, k_shot=one.k_shot) < calibration.threshold
            for one in observations
        ]
    )
    assert kept.double().mean().item() == pytest.approx(keep, abs=0.002)


@pytest.mark.parametrize("keep", [0.0, 1.0, -1.0, math.nan])
def test_what_is_no_share_is_refused(keep):
    with pytest.raises(SettingsError, match="share"):
        fit(answers(20), keep=keep)


def test_a_calibration_is_the_same_for_the_same_seed_and_changes_nothing_else():
    made, generator = learner(), torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    first, second = (fit_calibration(made.train(), corpus(), seed=3, n_episodes=4) for _ in range(2))
    assert first == second
    assert first != fit_calibration(made, corpus(), seed=4, n_episodes=4)
    assert made.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("name", names())
def test_every_learner_can_be_calibrated(name):
    made = build_learner(name, 8, {"encoder": SMALL})
    with torch.no_grad():
        calibration = fit_calibration(made, corpus(n_emotions=3, takes=3), seed=0, n_episodes=3)
    assert (calibration.most_ways, calibration.most_shots) == (2, 10)
    assert 0 < calibration.temperature_at(2, 2) < math.inf


def test_one_class_of_each_episode_is_left_out_in_turn():
    names_ = [f"{label}{number}" for label in "abc" for number in range(2)]
    utterances = tuple(Utterance(name, Path(name), "c", name[0], speaker="s") for name in names_)
    features = FeatureSet(utterances, tuple(torch.full((1, 8), float(number)) for number in range(6)))
    support, query = (("a0",), ("b0",), ("c0",)), (("a1",), ("b1",), ("c1",))
    episodes = [Episode(index, ("a", "b", "c"), support, query) for index in range(3)]
    found = [one.y.tolist() for one in predictions(learner(), features, episodes, leave_out=True)]
    assert found == [[-1, 0, 1], [0, -1, 1], [0, 1, -1]]
    (whole, *_) = predictions(learner(), features, episodes)
    assert whole.y.tolist() == [0, 1, 2]
    assert (whole.n_way, whole.k_shot, whole.known.all().item()) == (3, 1, True)


def test_speakers_are_apart_where_that_is_possible_and_else_not(monkeypatch):
    seen = []
    drawn = calibrating.drawable
    monkeypatch.setattr(calibrating, "drawable", lambda *given: (seen.append(given[1].query_speaker), drawn(*given))[1])
    validation_predictions(learner(), corpus(n_emotions=3), seed=0, n_episodes=1)
    assert set(seen) == {"disjoint"}
    alone = corpus(n_emotions=3, n_speakers=1, takes=12)
    assert validation_predictions(learner(), alone, seed=0, n_episodes=1)
    assert set(seen) == {"disjoint", "any"}


class Diverging(Learner):
    """Never comes to an end."""

    def adapt(self, support: Features, y: Tensor):
        raise AdaptationError("a", found="nan", expected="a number", remedy="Lower it.")


@pytest.mark.parametrize(
    ("made", "features"),
    [(learner(), corpus(n_emotions=2)), (learner(), corpus(takes=1, n_speakers=2)), (Diverging(), corpus())],
    ids=["two classes", "few clips", "diverging"],
)
def test_clips_that_give_no_episode_are_refused(made, features):
    with pytest.raises(EpisodeError, match="three classes"):
        fit_calibration(made, features, seed=0, n_episodes=2)


def test_a_cell_without_errors_keeps_its_temperature_finite():
    sure = [replace(one, logits=10 * torch.nn.functional.one_hot(one.y.clamp_min(0), one.n_way)) for one in answers(50)]
    calibration = fit(sure)
    assert 0.5 < calibration.temperature_at(2, 1) < 5
