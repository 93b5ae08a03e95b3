"""Predictors: a learner as it is evaluated elsewhere, the SVM of scikit-learn, and the linear probe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sklearn.svm import LinearSVC
from synthetic import corpus
from tolerance import assert_near

from ser_fewshot.benchmark import predictors
from ser_fewshot.benchmark.predictors import PENALTY, LearnerPredictor, LinearProbe, SupportVectors
from ser_fewshot.corpora import Utterance
from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import evaluate, runner
from ser_fewshot.evaluation.runner import evaluation_of
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import build_learner


@pytest.mark.parametrize("name", ["nearest", "maml"])
def test_a_learner_predicts_as_evaluate_does(name):
    features = corpus()
    spec = EpisodeSpec(n_way=3, k_shot=2, n_query=3)
    episodes = EpisodeSampler(features.utterances, spec).draw_many(5)
    learner = build_learner(name, 8).eval()
    learner.fit_scale(features.batch(range(len(features))))
    expected = evaluate(learner, features, episodes, spec=spec)
    found = evaluation_of(LearnerPredictor(learner, features).outcomes(episodes), episodes, spec)
    assert found.as_dict() == expected.as_dict()


class Elsewhere(torch.nn.Module):
    """A learner on a device that is not the CPU, which accepts nothing from elsewhere."""

    n_directions = 0
    mixup = 0.5

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
    predictor = LearnerPredictor(Elsewhere(), features)
    assert [len(one.logits) for one in predictor.outcomes(episodes)] == [9, 9]
    assert [one.logits.device.type for one in predictor.leave_out(episodes)] == ["cpu", "cpu"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_predictions_of_a_cpu():
    features = corpus()
    episodes = EpisodeSampler(features.utterances, EpisodeSpec(n_way=3, k_shot=2, n_query=3)).draw_many(3)
    learner = build_learner("maml", 8).eval()
    learner.fit_scale(features.batch(range(len(features))))
    expected = LearnerPredictor(learner, features).outcomes(episodes)
    found = LearnerPredictor(learner.to("cuda"), features)
    for one, other in zip(found.outcomes(episodes), expected, strict=True):
        assert_near(one.logits, other.logits, relative=0.01)
    assert len(found.leave_out(episodes)) == 3


def speakers_with_one_emotion_each() -> FeatureSet:
    """Clips whose features depend on the speaker alone, and whose speaker has one emotion."""
    generator = torch.Generator().manual_seed(0)
    utterances, clips = [], []
    for speaker in range(10):
        voice = 5 * torch.randn(8, generator=generator)
        for take in range(6):
            label = ("anger", "fear")[speaker % 2]
            utterances.append(Utterance(f"{speaker}-{take}", Path("x.wav"), "c", label, speaker=f"{speaker}"))
            clips.append(voice + 0.01 * torch.randn(20, 8, generator=generator))
    return FeatureSet(tuple(utterances), tuple(clips))


def test_the_probe_of_a_clip_is_fitted_without_its_speaker_or_with_speakers_as_classes_without_the_clip():
    features = speakers_with_one_emotion_each()
    learner = build_learner("nearest", 8, {"encoder": {"name": "mean"}})
    emotions = EpisodeSpec(n_way=2, k_shot=2, n_query=5)
    episodes = EpisodeSampler(features.utterances, emotions).draw_many(40)
    by_emotion = evaluation_of(LinearProbe(learner, features, "emotion").outcomes(episodes), episodes, emotions)
    assert by_emotion.uar.mean() < 0.7  # it would be 1 if the other clips of a speaker were in the training set
    voices = EpisodeSpec(n_way=5, k_shot=1, n_query=2, label="speaker", query_speaker="same")
    episodes = EpisodeSampler(features.utterances, voices).draw_many(10)
    by_voice = evaluation_of(LinearProbe(learner, features, "speaker").outcomes(episodes), episodes, voices)
    assert by_voice.uar.mean() == 1.0
    assert LinearProbe(learner, features, "speaker").leave_out(episodes) == []


@pytest.mark.parametrize("n_way", [2, 4])
def test_the_support_vectors_are_those_of_scikit_learn(n_way):
    generator = torch.Generator().manual_seed(0)
    z, query = torch.randn(3 * n_way, 50, generator=generator), torch.randn(7, 50, generator=generator)
    y = torch.arange(3 * n_way) % n_way
    machine = LinearSVC(C=PENALTY, class_weight="balanced", max_iter=5_000, random_state=0).fit(z.numpy(), y.numpy())
    expected = torch.from_numpy(machine.decision_function(query.numpy())).float()
    margins = SupportVectors(50, EncoderSettings(name="statistics", pooled=True)).fit_head(z, y, n_way)(query)
    assert margins.shape == (7, n_way)
    assert_near(margins if n_way > 2 else margins[:, 1], expected, relative=0.001)
    assert margins.argmax(1).tolist() == machine.predict(query.numpy()).tolist()
