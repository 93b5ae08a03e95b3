"""Measures of predictions by hand: accuracy by group, ECE, open set, leakage audit and licences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from manifests import grid

from ser_fewshot.benchmark import measures
from ser_fewshot.benchmark.protocols import PROTOCOLS, Case
from ser_fewshot.episodes import Episode, EpisodeSpec
from ser_fewshot.evaluation.novelty import N_EVIDENCE, Conditions
from ser_fewshot.evaluation.open_set import oscr
from ser_fewshot.evaluation.runner import Diverged, Predictions, evaluation_of

CONDITIONS = Conditions(n_way=2, k_shot=1)
EPISODE = Episode(0, ("anger", "fear"), (("a1",), ("f1",)), (("a2", "a3"), ("f2", "f3")))
CLIPS = {
    name: dataclasses.replace(
        grid(emotions=1, speakers=1, texts=1, takes=1)[0],
        id=name,
        speaker=speaker,
        gender=gender,
        language="deu",
        text=name,
    )
    for name, speaker, gender in (
        ("a1", "s", "female"),
        ("f1", "s", "female"),
        ("a2", "t", "male"),
        ("a3", "t", "male"),
        ("f2", "u", "female"),
        ("f3", "u", None),
    )
}


def sure(*right: float) -> Predictions:
    """Predictions for EPISODE with these probabilities of the true class."""
    truth = [0, 0, 1, 1]
    rows = [[p, 1 - p] if label == 0 else [1 - p, p] for p, label in zip(right, truth, strict=True)]
    return Predictions(EPISODE, CONDITIONS, torch.tensor(rows).log(), torch.tensor(truth), torch.empty(0, N_EVIDENCE))


def test_correct_predictions_are_counted_by_speaker_gender_and_language():
    found = measures.tallies([sure(0.9, 0.2, 0.7, 0.6)], CLIPS)
    assert found["speaker"] == {"c/t": [1, 2], "c/u": [2, 2]}
    assert found["gender"] == {"female": [1, 1], "male": [1, 2]}
    assert found["language"] == {"deu": [3, 4]}


def test_the_calibration_error_is_that_by_hand():
    found = measures.reliability([sure(0.95, 0.15, 0.65, 0.65)], None)
    # Tops: 0.95 right, 0.85 wrong, 0.65 and 0.65 right: gaps 0.05, 0.85 and, of the last bin, 0.35, by their answers.
    assert found.ece == pytest.approx((0.05 + 0.85 + 2 * 0.35) / 4, rel=1e-4)
    assert [one.count for one in found.bins] == [0] * 9 + [2, 0, 0, 1, 0, 1]
    assert not found.calibrated


def test_an_episode_that_diverged_is_chance_and_counts_nowhere_else():
    assert measures.tallies([], CLIPS) == {"speaker": {}, "gender": {}, "language": {}}
    assert measures.reliability([], None) is None
    spec = EpisodeSpec(n_way=2, k_shot=1, n_query=2)
    found = evaluation_of([Diverged(EPISODE, "it ran away")], [EPISODE], spec)
    assert (found.uar.tolist(), found.diverged) == ([0.5], {0: "it ran away"})


def novel() -> Predictions:
    """Two known queries, one of them wrong, and two unknown ones."""
    logits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    evidence = torch.tensor([[0.1, 0.0], [0.3, 0.0], [0.2, 0.0], [0.4, 0.0]])
    return Predictions(EPISODE, CONDITIONS, logits, torch.tensor([0, 1, -1, -1]), evidence)


def test_the_open_set_measures_are_those_by_hand():
    found = measures.open_set([novel()], None)
    assert found.auroc == pytest.approx(3 / 4)  # of four pairs, one is the wrong way round
    assert found.fpr95 == pytest.approx(1 / 2)  # the threshold that keeps both known ones lets one unknown pass
    assert found.oscr == pytest.approx(1 / 2)  # half are rightly named, and none of the unknown is nearer
    assert found.accepted_unknown == (0.0, 0.5, 1.0, 1.0)
    assert found.named_known == (0.0, 0.5, 0.5, 0.5)
    assert measures.open_set([], None) is None


def test_the_curve_of_the_open_set_is_short_rises_and_holds_the_area():
    rng = np.random.default_rng(0)
    known, unknown, right = rng.normal(0, 1, 4000), rng.normal(1, 1, 3000), rng.uniform(size=4000) < 0.8
    x, y = measures._curve(known, right, unknown)
    assert len(x) == len(y) <= measures.CURVE_POINTS
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(oscr(known, right, unknown), abs=0.01)


def case(**changes):
    protocol = next(one for one in PROTOCOLS if one.name == "cross-corpus-1-shot")
    values = {"protocol": protocol, "corpus": "c", "spec": protocol.spec, "train": (), "test": tuple(CLIPS.values())}
    return Case(**{**values, **changes})


def test_leakage_is_counted_and_broken_promises_are_named():
    other = dataclasses.replace(CLIPS["a1"], id="o", corpus="o")
    clean = measures.audit(case(train=(other,)), [EPISODE], trained=True)
    assert clean.broken == ()
    assert "support_query_speakers" in clean.promised
    leaking = {**CLIPS, "a2": dataclasses.replace(CLIPS["a2"], speaker="s", text="a1")}
    found = measures.audit(case(train=(CLIPS["a1"],), test=tuple(leaking.values())), [EPISODE, EPISODE], trained=True)
    assert (found.support_query_speakers, found.support_query_sentences) == (2, 2)  # once an episode
    assert (found.train_test_clips, found.train_test_speakers) == (1, 1)
    assert set(found.broken) == {"support_query_speakers", "train_test_clips", "train_test_speakers"}


def test_a_method_trained_on_the_test_side_has_no_promise_about_training():
    found = measures.audit(case(), [EPISODE], trained=False, independent=False)
    assert found.promised == ("support_query_clips", "support_query_speakers")
    assert not found.applies("train_test_speakers")
    assert found.applies("support_query_speakers")


def test_a_corpus_without_a_plug_in_has_an_unknown_licence():
    own, known = measures.licences(["my own", "emodb"])[::-1]
    assert own.licence == "unknown"
    assert own.commercial_use is None
    assert known.title == "Emo-DB"
