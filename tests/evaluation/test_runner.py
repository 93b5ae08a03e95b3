"""The harness: known answers give known scores, and what could not be scored honestly is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score
from synthetic import corpus
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import AdaptationError, CheckpointError, EpisodeError
from ser_fewshot.evaluation import Evaluation, compare, evaluate, interval
from ser_fewshot.evaluation.runner import adapted, outcomes
from ser_fewshot.frontends import Features, FeatureSet
from ser_fewshot.learners import Learner, build_learner

SPEC = EpisodeSpec(n_way=3, k_shot=2, n_query=4)


class Told(Learner):
    """Answers with the first frame of each query as its logits: tests write there what is to be answered."""

    def adapt(self, support: Features, y: Tensor) -> Callable[[Features], Tensor]:
        del support
        return lambda query: query.x[:, 0, : len(set(y.tolist()))]


def told(answers: dict[str, int], *, n_way: int = 3) -> FeatureSet:
    """Clips by what class number the learner above will answer for each."""
    utterances = tuple(Utterance(name, Path(name), "c", "e", speaker="s") for name in answers)
    return FeatureSet(utterances, tuple(torch.eye(n_way)[number][None] for number in answers.values()))


def nearest() -> Learner:
    return build_learner("nearest", 8, {"encoder": {"name": "mean"}})


def hand_made() -> tuple[FeatureSet, tuple[Episode, ...]]:
    """Two episodes with queries of unequal number: 1 of 1, 2 of 3, 0 of 2 right; then 1 of 1, 1 of 1, 1 of 1."""
    answers = {"s0": 0, "s1": 0, "s2": 0, "a": 0, "b": 1, "c": 1, "d": 0, "e": 0, "f": 1, "g": 0, "h": 1, "i": 2}
    support = (("s0",), ("s1",), ("s2",))
    episodes = (
        Episode(0, ("joy", "fear", "anger"), support, (("a",), ("b", "c", "d"), ("e", "f"))),
        Episode(1, ("anger", "joy", "calm"), support, (("g",), ("h",), ("i",))),
    )
    return told(answers), episodes


def drawn(n: int, *, features: FeatureSet | None = None) -> tuple[FeatureSet, tuple[Episode, ...]]:
    features = features or corpus()
    return features, EpisodeSampler(features.utterances, SPEC, seed=1).draw_many(n)


def evaluated(uar: list[float], *, sha: str = "abc") -> Evaluation:
    scores = np.array(uar)
    return Evaluation(SPEC, sha, ("x", "y", "z"), scores, scores, np.ones((3, 3), dtype=np.int64))


class Diverging(Told):
    """Diverges on every support whose first class is answered by the number 2."""

    def adapt(self, support: Features, y: Tensor) -> Callable[[Features], Tensor]:
        if int(support.x[0, 0].argmax()) == 2:
            raise AdaptationError(
                "adaptation",
                found="a loss of nan at inner step 3, at a learning rate of 0.5",
                expected="a finite loss",
                remedy="Lower the rate.",
            )
        return super().adapt(support, y)


def test_an_episode_whose_adaptation_diverges_counts_as_chance_and_is_listed():
    features, episodes = hand_made()
    second = replace(episodes[1], support=(("i",), ("s1",), ("s2",)), query=(("g",), ("h",), ("a",)))
    result = evaluate(Diverging(), features, [episodes[0], second], spec=SPEC)
    assert result.uar.tolist() == pytest.approx([(1 + 2 / 3 + 0) / 3, 1 / 3])
    assert result.accuracy.tolist() == pytest.approx([3 / 6, 1 / 3])
    assert result.confusion.sum() == 6  # the queries of the first episode alone
    assert list(result.diverged) == [1]
    assert "inner step 3, at a learning rate of 0.5" in result.diverged[1]
    assert json.loads(json.dumps(result.as_dict()))["diverged"]["1"] == result.diverged[1]
    alone = evaluate(Diverging(), features, [second], spec=SPEC)
    assert alone.uar.tolist() == pytest.approx([1 / 3])
    assert alone.recall == {"anger": 0.0, "calm": 0.0, "joy": 0.0}


def test_known_answers_give_the_scores_worked_out_by_hand():
    features, episodes = hand_made()
    result = evaluate(Told(), features, episodes, spec=SPEC)
    assert result.uar.tolist() == pytest.approx([(1 + 2 / 3 + 0) / 3, 1.0])
    assert result.accuracy.tolist() == pytest.approx([3 / 6, 1.0])
    assert result.labels == ("anger", "calm", "fear", "joy")
    assert result.confusion.tolist() == [  # true class by row, answer by column
        [1, 0, 1, 1],  # anger: once right, then taken for joy and for fear
        [0, 1, 0, 0],
        [0, 0, 2, 1],
        [0, 0, 0, 2],
    ]
    assert result.recall == pytest.approx({"anger": 1 / 3, "calm": 1.0, "fear": 2 / 3, "joy": 1.0})
    assert result.chance == pytest.approx(1 / 3)
    assert result.spec == SPEC


def test_uar_is_the_balanced_accuracy_of_scikit_learn_on_queries_of_unequal_number():
    rng = np.random.default_rng(0)
    episodes, expected, answers = [], [], {"s0": 0, "s1": 0, "s2": 0}
    for index in range(30):
        sizes = rng.integers(1, 9, 3)
        names = [f"{index}-{number}" for number in range(sizes.sum())]
        truth, given = np.repeat(np.arange(3), sizes), rng.integers(0, 3, sizes.sum())
        answers |= dict(zip(names, given.tolist(), strict=True))
        query = tuple(tuple(np.array(names)[truth == number].tolist()) for number in range(3))
        episodes.append(Episode(index, ("a", "b", "c"), (("s0",), ("s1",), ("s2",)), query))
        expected.append(balanced_accuracy_score(truth, given))
    result = evaluate(Told(), told(answers), episodes, spec=SPEC)
    assert_near(result.uar, expected, relative=1e-12)
    assert len(set(expected)) > 10


def test_deviations_augment_the_support_half_way_and_leave_its_statistics_as_they_are():
    z = {"a": [0.0, 0.0], "b": [4.0, 0.0], "q": [2.5, 0.0], "r": [4.5, 0.0]}
    utterances = tuple(Utterance(name, Path(name), "c", "e", speaker="s") for name in z)
    none, there = torch.zeros(0, 2), torch.tensor([[8.0, 0.0]])
    clean = FeatureSet(utterances, tuple(map(torch.tensor, z.values())))
    whole = replace(clean, deviations=(there, none, none, none))
    episode = Episode(0, ("x", "y"), (("a",), ("b",)), (("q",), ("r",)))
    learner = build_learner("nearest", 2, {"encoder": {"name": "mean"}})
    (plain,), (augmented,) = (adapted(outcomes(learner, features, [episode])) for features in (clean, whole))
    assert plain.classes.tolist() == [1, 1]
    assert augmented.classes.tolist() == [0, 1]  # the mean of 0 and 4 is the first class's
    assert augmented.conditions.k_shot == 1
    assert torch.equal(augmented.evidence[:, 0], plain.evidence[:, 0])
    assert [len(one) for one in whole.subset(utterances[:2]).deviations] == [1, 0]


def test_an_oracle_is_always_right():
    features = corpus()
    numbers = {label: number for number, label in enumerate(sorted({str(u.emotion) for u in features.utterances}))}
    oracle = tuple(torch.eye(8)[numbers[str(u.emotion)]].repeat(5, 1) for u in features.utterances)
    _, episodes = drawn(50, features=features)
    result = evaluate(nearest(), replace(features, clips=oracle), episodes, spec=SPEC)
    assert set(result.uar) == {1.0}
    assert np.array_equal(result.confusion, np.diag(result.confusion.diagonal()))
    assert str(interval(result.uar)) == "100.0 ± 0.0"


def test_shuffled_support_labels_and_features_without_information_score_at_chance():
    features, episodes = drawn(400)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    shuffled = []
    for episode in episodes:
        clips = rng.permutation([clip for members in episode.support for clip in members]).reshape(3, 2)
        shuffled.append(replace(episode, support=tuple(map(tuple, clips.tolist()))))
    noise = replace(features, clips=tuple(torch.randn(10, 8, generator=generator) for _ in features.clips))
    for clips, asked in ((features, shuffled), (noise, episodes)):
        score = interval(evaluate(nearest(), clips, asked, spec=SPEC).uar)
        assert abs(score.mean - 1 / 3) < score.half_width < 0.05
    plain = interval(evaluate(nearest(), features, episodes, spec=SPEC).uar)
    assert plain.mean - plain.half_width > 1 / 3  # otherwise chance would say nothing


def test_the_same_episodes_give_the_same_scores_and_no_learner_is_changed():
    features, episodes = drawn(20)
    learner = build_learner("protonet", 8, {"encoder": {"channels": 4, "width": 3, "dropout": 0.9}}).train()
    before, generator = {n: x.clone() for n, x in learner.state_dict().items()}, torch.get_rng_state()
    first, second = (evaluate(learner, features, episodes, spec=SPEC) for _ in range(2))
    assert np.array_equal(first.uar, second.uar)
    assert np.array_equal(first.confusion, second.confusion)
    assert first.episodes_sha256 == second.episodes_sha256
    assert learner.training
    assert all(torch.equal(x, before[n]) for n, x in learner.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)


def test_progress_is_shown_for_every_episode():
    features, episodes = drawn(5)
    seen = []
    evaluate(
        nearest(), features, episodes, spec=SPEC, track=lambda items: (seen.append(item) or item for item in items)
    )
    assert seen == list(episodes)


def test_an_interval_is_the_mean_and_the_quantile_of_students_t_in_standard_errors():
    for values, mean, half_width in (
        ([0.2, 0.4, 0.6], 0.4, 4.302653 * 0.2 / math.sqrt(3)),
        ([1.0, 0.0], 0.5, 12.706205 * math.sqrt(0.5) / math.sqrt(2)),
        ([0.7] * 10, 0.7, 0.0),
        ([0.7], 0.7, math.inf),
    ):
        found = interval(np.array(values))
        assert found.mean == pytest.approx(mean)
        assert found.half_width == pytest.approx(half_width, rel=1e-6)


def test_intervals_of_independent_samples_hold_the_truth_95_times_in_100():
    rng = np.random.default_rng(0)
    for n in (4, 100):
        found = [interval(rng.binomial(20, 0.6, n) / 20) for _ in range(2000)]
        assert 0.93 < np.mean([abs(one.mean - 0.6) < one.half_width for one in found]) < 0.97


def test_a_comparison_is_paired():
    rng = np.random.default_rng(0)
    hard = rng.uniform(0.2, 0.9, 200)  # how hard each episode is, for both
    first, second = evaluated((hard + 0.02).tolist()), evaluated(hard.tolist())
    difference = compare(first, second)
    assert difference.mean == pytest.approx(0.02)
    assert difference.half_width < 1e-9 < interval(first.uar).half_width
    assert compare(second, first).mean == pytest.approx(-0.02)
    assert compare(first, first).mean == 0


def test_a_comparison_on_other_episodes_is_refused():
    features, episodes = drawn(4)
    first, second = (evaluate(nearest(), features, part, spec=SPEC) for part in (episodes[:2], episodes[2:]))
    with pytest.raises(EpisodeError, match="same episodes"):
        compare(first, second)


def test_a_result_is_json_and_holds_all_a_reader_needs():
    for n in (1, 5):
        features, episodes = drawn(n)
        result = evaluate(nearest(), features, episodes, spec=SPEC)
        read = json.loads(json.dumps(result.as_dict(), allow_nan=False))
        assert EpisodeSpec(**read["spec"]) == SPEC
        assert read["spec"] == SPEC.as_dict()
        assert read["episodes"] == n == len(read["uar_per_episode"])
        assert read["uar"]["mean"] == pytest.approx(result.uar.mean())
        assert (read["uar"]["ci95"] is None) == (n == 1)
        assert read["episodes_sha256"] == result.episodes_sha256
        assert np.sum(read["confusion"]) == n * 3 * 4
        assert read["recall"].keys() == set(read["labels"])


def test_a_clip_without_features_is_refused_before_the_work_begins(monkeypatch):
    features, episodes = drawn(3)
    gone = episodes[-1].query[0][0]
    rows = [row for row, utterance in enumerate(features.utterances) if utterance.id != gone]
    rest = FeatureSet(tuple(features.utterances[r] for r in rows), tuple(features.clips[r] for r in rows))
    monkeypatch.setattr("ser_fewshot.evaluation.runner.embed_clips", lambda *_: pytest.fail("it began"))
    with pytest.raises(EpisodeError, match=gone):
        evaluate(nearest(), rest, episodes, spec=SPEC)


def test_no_episodes_and_those_of_another_spec_are_refused_because_chance_would_be_wrong():
    features, (episode, _) = drawn(2)
    with pytest.raises(EpisodeError, match="no episodes"):
        evaluate(nearest(), features, (), spec=SPEC)
    with pytest.raises(EpisodeError, match="3 classes"):
        evaluate(nearest(), features, [episode], spec=EpisodeSpec(n_way=4, k_shot=2, n_query=4))
    for part in ("support", "query"):
        sides = getattr(episode, part)
        for changed in (((), *sides[1:]), sides[1:]):  # a class without clips, or without its place
            with pytest.raises(EpisodeError, match="episode 0"):
                evaluate(nearest(), features, [replace(episode, **{part: changed})], spec=SPEC)


def test_logits_that_are_no_numbers_are_refused_instead_of_being_counted():
    features, episodes = hand_made()
    for value in (math.nan, math.inf):
        broken = replace(features, clips=tuple(clip * value for clip in features.clips))
        with pytest.raises(CheckpointError, match="NaN or infinite"):
            evaluate(Told(), broken, episodes, spec=SPEC)
