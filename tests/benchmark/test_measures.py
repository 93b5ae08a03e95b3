"""What is counted from answers: right ones by whom, how sure, how well the unknown is told, and what leaked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from manifests import grid
from synthetic import corpus
from tolerance import assert_near

from ser_fewshot.benchmark import measures, predictors
from ser_fewshot.benchmark.predictors import Adapted, LinearProbe
from ser_fewshot.benchmark.protocols import PROTOCOLS, Question
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import evaluate, runner
from ser_fewshot.evaluation.open_set import oscr
from ser_fewshot.evaluation.runner import Diverged, Predictions, evaluation_of
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import build_learner

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
    return Predictions(EPISODE, 1.0, torch.tensor(rows).log(), torch.tensor(truth), torch.empty(0, 2))


def test_right_answers_are_counted_by_who_speaks():
    found = measures.tallies([sure(0.9, 0.2, 0.7, 0.6)], CLIPS)
    assert found["speaker"] == {"c/t": [1, 2], "c/u": [2, 2]}
    assert found["gender"] == {"female": [1, 1], "male": [1, 2]}
    assert found["language"] == {"deu": [3, 4]}


def test_the_calibration_error_is_that_of_a_hand():
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
    return Predictions(EPISODE, 1.0, logits, torch.tensor([0, 1, -1, -1]), evidence)


def test_the_open_set_is_told_as_by_hand():
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


def test_what_leaks_is_counted_and_what_was_promised_is_told():
    protocol = next(one for one in PROTOCOLS if one.name == "cross-corpus-1-shot")
    other = dataclasses.replace(CLIPS["a1"], id="o", corpus="o")
    question = Question(protocol=protocol, corpus="c", spec=protocol.spec, train=(other,), test=tuple(CLIPS.values()))
    clean = measures.audit(question, [EPISODE], CLIPS, learns=True)
    assert clean.broken == ()
    assert "support_query_speakers" in clean.promised
    leaking = {**CLIPS, "a2": dataclasses.replace(CLIPS["a2"], speaker="s", text="a1")}
    found = measures.audit(
        dataclasses.replace(question, train=(CLIPS["a1"],)), [EPISODE, EPISODE], leaking, learns=True
    )
    assert (found.support_query_speakers, found.support_query_sentences) == (2, 2)  # once an episode
    assert (found.train_test_clips, found.train_test_speakers) == (1, 1)
    assert set(found.broken) == {"support_query_speakers", "train_test_clips", "train_test_speakers"}


def test_of_a_method_that_learned_from_the_test_side_nothing_is_promised_about_training():
    protocol = next(one for one in PROTOCOLS if one.name == "cross-corpus-1-shot")
    question = Question(protocol=protocol, corpus="c", spec=protocol.spec, train=(), test=tuple(CLIPS.values()))
    found = measures.audit(question, [EPISODE], CLIPS, learns=False, apart=False)
    assert found.promised == ("support_query_clips", "support_query_speakers")
    assert not found.tells("train_test_speakers")
    assert found.tells("support_query_speakers")


def test_a_corpus_that_nobody_knows_has_an_unknown_licence():
    own, known = measures.licences(["my own", "emodb"])[::-1]
    assert own.licence == "unknown"
    assert own.commercial_use is None
    assert known.title == "Emo-DB"


@pytest.mark.parametrize("name", ["nearest", "maml"])
def test_a_learner_answers_as_it_does_where_it_is_evaluated(name):
    features = corpus()
    spec = EpisodeSpec(n_way=3, k_shot=2, n_query=3)
    episodes = EpisodeSampler(features.utterances, spec).draw_many(5)
    learner = build_learner(name, 8).eval()
    learner.fit_scale(features.batch(range(len(features))))
    expected = evaluate(learner, features, episodes, spec=spec)
    found = evaluation_of(Adapted(learner, features).outcomes(episodes), episodes, spec)
    assert found.as_dict() == expected.as_dict()


class Elsewhere(torch.nn.Module):
    """Stands on a device that is not the CPU and takes nothing from anywhere else."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1, device="meta"))

    def adapt(self, support, y):
        assert support.x.is_meta
        assert y.is_meta

        def head(query):
            assert query.x.is_meta
            return torch.zeros(len(query), 3)

        return head


def test_episodes_go_to_the_device_of_the_learner(monkeypatch):
    for module in (predictors, runner):
        monkeypatch.setattr(module, "embed_clips", lambda _, clips: list(clips))
    features = corpus()
    episodes = EpisodeSampler(features.utterances, EpisodeSpec(n_way=3, k_shot=2, n_query=3)).draw_many(2)
    predictor = Adapted(Elsewhere(), features)
    assert [len(one.logits) for one in predictor.outcomes(episodes)] == [9, 9]
    assert [one.logits.device.type for one in predictor.leave_out(episodes)] == ["cpu", "cpu"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_answers_of_a_cpu():
    features = corpus()
    episodes = EpisodeSampler(features.utterances, EpisodeSpec(n_way=3, k_shot=2, n_query=3)).draw_many(3)
    learner = build_learner("maml", 8).eval()
    learner.fit_scale(features.batch(range(len(features))))
    expected = Adapted(learner, features).outcomes(episodes)
    found = Adapted(learner.to("cuda"), features)
    for one, other in zip(found.outcomes(episodes), expected, strict=True):
        assert_near(one.logits, other.logits, relative=0.01)
    assert len(found.leave_out(episodes)) == 3


def speakers_with_one_emotion_each() -> FeatureSet:
    """Clips whose features tell the speaker perfectly, and whose emotion nothing but the speaker tells."""
    generator = torch.Generator().manual_seed(0)
    utterances, clips = [], []
    for speaker in range(10):
        voice = 5 * torch.randn(8, generator=generator)
        for take in range(6):
            label = ("anger", "fear")[speaker % 2]
            utterances.append(Utterance(f"{speaker}-{take}", CLIPS["a1"].path, "c", label, speaker=f"{speaker}"))
            clips.append(voice + 0.01 * torch.randn(20, 8, generator=generator))
    return FeatureSet(tuple(utterances), tuple(clips))


def test_the_probe_never_saw_the_speaker_of_a_clip_nor_with_speakers_as_classes_the_clip():
    features = speakers_with_one_emotion_each()
    learner = build_learner("nearest", 8, {"encoder": {"name": "mean"}})
    emotions = EpisodeSpec(n_way=2, k_shot=2, n_query=5)
    asked = EpisodeSampler(features.utterances, emotions).draw_many(40)
    by_emotion = evaluation_of(LinearProbe(learner, features, "emotion").outcomes(asked), asked, emotions)
    assert by_emotion.uar.mean() < 0.7  # it would be 1 if the other clips of a speaker were known
    voices = EpisodeSpec(n_way=5, k_shot=1, n_query=2, label="speaker", query_speaker="same")
    asked = EpisodeSampler(features.utterances, voices).draw_many(10)
    by_voice = evaluation_of(LinearProbe(learner, features, "speaker").outcomes(asked), asked, voices)
    assert by_voice.uar.mean() == 1.0
    assert LinearProbe(learner, features, "speaker").leave_out(asked) == []
