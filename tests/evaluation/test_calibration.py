"""Calibration: its temperature and novelty, and that fitting finds the law by which predictions were made."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import corpus
from torch import Tensor

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode
from ser_fewshot.errors import AdaptationError, EpisodeError, SettingsError
from ser_fewshot.evaluation import calibration as module
from ser_fewshot.evaluation.calibration import (
    Calibration,
    fit,
    fit_calibration,
    optimal_temperature,
    validation_predictions,
)
from ser_fewshot.evaluation.novelty import Conditions
from ser_fewshot.evaluation.runner import Predictions, adapted, outcomes
from ser_fewshot.frontends import Features, FeatureSet
from ser_fewshot.learners import Learner, build_learner, names
from ser_fewshot.settings import fill

CALIBRATION = Calibration(
    temperature=(math.log(2), 1.0, -1.0, 0.5, -0.5),
    novelty=(1.0, 0.0, 0.0, 0.0, 0.0, 2.0, -1.0, 0.0, 0.0, 0.0),
    most_ways=4,
    most_shots=2,
)
EPISODE = Episode(0, (), (), ())
SMALL = {"name": "conv", "channels": 4, "blocks": 1, "width": 3}


def test_the_temperature_follows_ways_and_shots_as_far_as_they_were_fitted():
    cells = [(2, 1, 4.0), (4, 1, 8.0), (4, 2, 4.0), (3, 1.5, 4.0), (8, 1, 8.0), (4, 10, 4.0), (50, 100, 4.0)]
    for n_way, k_shot, expected in cells:
        assert CALIBRATION.temperature_at(Conditions(n_way=n_way, k_shot=k_shot)) == pytest.approx(expected)
    alone = Conditions(n_way=2, k_shot=1, spread=1.0, one_speaker=True)
    assert CALIBRATION.temperature_at(alone) == pytest.approx(4.0)


def test_novelty_is_the_logistic_function_of_evidence_ways_and_shots():
    evidence = torch.tensor([[0.5, 2.0], [0.5, 0.0], [-1.0, 2.0]])
    evidence = torch.nn.functional.pad(evidence, (0, 3), value=9.0)  # log-odds 1 + 2a - b: 0, 2, -3
    found = CALIBRATION.novelty_of(evidence, Conditions(n_way=2, k_shot=1))
    assert found.tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(3))])
    calibration = replace(CALIBRATION, novelty=(0.0, 1.0, -1.0, *(0.0,) * 7))
    found = calibration.novelty_of(torch.zeros(1, 5), Conditions(n_way=4, k_shot=2))
    assert found.item() == pytest.approx(2 / 3)  # log-odds log 4 - log 2


def test_a_calibration_comes_back_from_json():
    assert fill(Calibration, json.loads(json.dumps(asdict(CALIBRATION))), where="config") == CALIBRATION


def test_a_damaged_calibration_is_refused(subtests):
    for change in (
        {"temperature": (1.0, 1.0)},
        {"temperature": (1.0, 1.0, 1.0)},
        {"temperature": (21.0, *(0.0,) * 4)},
        {"temperature": (0.0, 0.0, -40.0, 0.0, 0.0)},
        {"temperature": (0.0, 0.0, 0.0, 20.0, 0.0)},
        {"temperature": (math.nan, *(0.0,) * 4)},
        {"novelty": (1.0,) * 5},
        {"novelty": (math.inf, *(0.0,) * 9)},
        {"novelty": (1e7, *(0.0,) * 9)},
        {"most_ways": 1},
        {"most_shots": 0},
        {"most_shots": 1.5},
    ):
        with subtests.test(f"{change}"):
            with pytest.raises(SettingsError) as caught:
                replace(CALIBRATION, **change)
            assert "\n" not in str(caught.value)


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
            noise = torch.randn(4, n, generator=generator)
            evidence = torch.stack([ratio, *noise], 1)
            conditions = Conditions(n_way=n_way, k_shot=k_shot)
            made.append(Predictions(EPISODE, conditions, logits, torch.where(unknown, -1, y), evidence))
    return made


def test_the_best_temperature_makes_confidence_the_smoothed_accuracy():
    logits, doubt = torch.tensor([[6.0, 0.0]]).repeat(4, 1), 1 / 6
    for wrong in (0, 1, 2):
        y = torch.tensor([1] * wrong + [0] * (4 - wrong))
        p = (1 - doubt) * (1 - wrong / 4) + doubt / 2
        expected = math.exp(20) if wrong == 2 else 6 / math.log(p / (1 - p))
        assert optimal_temperature(logits, y) == pytest.approx(expected, rel=1e-4)


def test_the_fitted_temperature_is_near_the_optimum_of_every_cell():
    observations = answers()
    calibration = fit(observations)
    for one in observations:
        best = optimal_temperature(one.logits[one.known], one.y[one.known])
        found = calibration.temperature_at(one.conditions)
        assert found == pytest.approx(best, rel=0.12)
        assert found == pytest.approx(law(one.n_way, one.conditions.k_shot), rel=0.06)
    assert (calibration.most_ways, calibration.most_shots) == (8, 20)


def test_the_fitted_novelty_is_the_log_odds_of_the_two_densities():
    calibration = fit(answers())
    # Two normal distributions of variance 1, two apart: the slope is 2; the logit says nothing, nor do the conditions.
    assert calibration.novelty[1:] == pytest.approx([0, 0, 0, 0, 2, 0, 0, 0, 0], abs=0.15)


def test_the_prior_keeps_the_label_of_the_chosen_share_of_known_clips():
    observations = answers(500)
    for keep in (0.6, 0.95):
        calibration = fit(observations, keep=keep)
        flags = [calibration.unknown(one.logits, one.evidence, one.conditions)[one.known] for one in observations]
        assert (~torch.cat(flags)).double().mean().item() == pytest.approx(keep, abs=0.002)
    for keep in (0.0, 1.0, -1.0, math.nan):
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


def test_every_learner_can_be_calibrated(subtests):
    features = corpus(n_emotions=3, takes=3)
    for name in names():
        with subtests.test(name), torch.no_grad():
            made = build_learner(name, 8, {"encoder": SMALL})
            calibration = fit_calibration(made, features, seed=0, n_episodes=2)
            assert (calibration.most_ways, calibration.most_shots) == (2, 10)
            assert 0 < calibration.temperature_at(Conditions(n_way=2, k_shot=2)) < math.inf


def test_one_class_of_each_episode_is_left_out_in_turn():
    names_ = [f"{label}{number}" for label in "abc" for number in range(2)]
    utterances = tuple(Utterance(name, Path(name), "c", name[0], speaker="s") for name in names_)
    features = FeatureSet(utterances, tuple(torch.full((1, 8), float(number)) for number in range(6)))
    support, query = (("a0",), ("b0",), ("c0",)), (("a1",), ("b1",), ("c1",))
    episodes = [Episode(index, ("a", "b", "c"), support, query) for index in range(3)]
    found = [one.y.tolist() for one in adapted(outcomes(learner(), features, episodes, leave_out=True))]
    assert found == [[-1, 0, 1], [0, -1, 1], [0, 1, -1]]
    (whole, *_) = adapted(outcomes(learner(), features, episodes))
    assert whole.y.tolist() == [0, 1, 2]
    assert (whole.n_way, whole.conditions.k_shot, whole.known.all().item()) == (3, 1, True)


def test_speakers_are_apart_where_that_is_possible_and_else_not(monkeypatch):
    seen = []
    drawn = module.possible_episodes
    monkeypatch.setattr(
        module, "possible_episodes", lambda *given: (seen.append(given[1].query_speaker), drawn(*given))[1]
    )
    validation_predictions(learner(), corpus(n_emotions=3), seed=0, n_episodes=1)
    assert set(seen) == {"disjoint"}
    alone = corpus(n_emotions=3, n_speakers=1, takes=12)
    assert validation_predictions(learner(), alone, seed=0, n_episodes=1)
    assert set(seen) == {"disjoint", "any"}


class Diverging(Learner):
    """Never comes to an end."""

    def adapt(self, support: Features, y: Tensor):
        raise AdaptationError("a", found="nan", expected="a number", remedy="Lower it.")


def test_clips_that_give_no_episode_are_refused():
    for made, features in (
        (learner(), corpus(n_emotions=2)),
        (learner(), corpus(takes=1, n_speakers=2)),
        (Diverging(), corpus()),
    ):
        with pytest.raises(EpisodeError, match="three classes"):
            fit_calibration(made, features, seed=0, n_episodes=2)


def test_a_cell_without_errors_keeps_its_temperature_finite():
    sure = [replace(one, logits=10 * torch.nn.functional.one_hot(one.y.clamp_min(0), one.n_way)) for one in answers(50)]
    calibration = fit(sure)
    assert 0.5 < calibration.temperature_at(Conditions(n_way=2, k_shot=1)) < 5
