"""What training lowers: heads on all classes add up as they should, and hard tasks are made of what failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from synthetic import DIM, corpus
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.episodes import EpisodeSpec
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, build_learner
from ser_fewshot.models import ModelConfig
from ser_fewshot.models.meta_train import meta_train
from ser_fewshot.training import TrainSettings, train
from ser_fewshot.training.augmentation import Augmentation
from ser_fewshot.training.objectives import Classes, Episodes

STILL = Augmentation(max_seconds=3600.0, gain=0.0, tone=0.0, tempo=0.0, masked_bands=0.0, masked_frames=0.0)
SETTINGS = TrainSettings(
    tasks=(EpisodeSpec(n_way=3, k_shot=2, n_query=2),),
    epochs=2,
    steps=3,
    batch_clips=16,
    validation_episodes=3,
    augmentation=STILL,
)


def learner(name: str = "finetune", **settings: Any) -> Learner:
    encoder = {"name": "dense", "channels": 8, "blocks": 1, "width": 4, "dropout": 0.0}
    built = build_learner(name, DIM, {"encoder": encoder, **settings}, seed=1)
    built.fit_scale(corpus().batch(range(40)))
    return built


def supervised(weights: Mapping[str, float]) -> Learner:
    built = learner()
    kind = type(built)
    built.__class__ = type(kind.__name__, (kind,), {"supervision": property(lambda _: weights)})
    return built


def gradient(weights: Mapping[str, float]) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradient of the encoder in one step of classes, in double precision."""
    objective = Classes(supervised(weights), corpus(), SETTINGS).double()
    objective.features = replace(objective.features, clips=tuple(clip.double() for clip in objective.features.clips))
    for head in objective.heads.values():  # heads of one kind begin alike, whatever stands beside them
        generator = torch.Generator().manual_seed(head.out_features)
        head.weight.data = torch.randn(head.weight.shape, generator=generator, dtype=torch.float64) / 10
        head.bias.data.zero_()
    loss = objective.accumulate(0, torch.Generator().manual_seed(0))
    return loss, {
        name: value.grad for name, value in objective.learner.encoder.named_parameters() if value.grad is not None
    }


def test_the_gradients_of_several_tasks_add_up():
    both, emotion, speaker = (
        gradient(w) for w in ({"emotion": 1.0, "speaker": 0.5}, {"emotion": 1.0}, {"speaker": 0.5})
    )
    assert both[0] == pytest.approx(emotion[0] + speaker[0], rel=1e-12)
    assert both[1].keys() == emotion[1].keys() == speaker[1].keys()
    for name, value in both[1].items():
        assert_near(value, emotion[1][name] + speaker[1][name], relative=1e-8)
    assert max(float((both[1][name] - emotion[1][name]).abs().max()) for name in both[1]) > 1e-4


def test_a_task_that_weighs_nothing_is_no_task():
    one, alone = gradient({"emotion": 1.0, "speaker": 0.0}), gradient({"emotion": 1.0})
    assert one[0] == pytest.approx(alone[0], rel=1e-12)
    for name, value in one[1].items():
        assert_near(value, alone[1][name], relative=1e-10)


def test_every_clip_is_met_once_before_any_is_met_again():
    features = corpus()
    objective = Classes(learner(), features, SETTINGS)
    met = [row for step in range(2 * len(features) // 16) for row in objective._rows(step)]
    assert sorted(met[: len(features)]) == sorted(met[len(features) :]) == list(range(len(features)))
    assert met[: len(features)] != met[len(features) :]


def test_the_classes_are_those_of_the_first_task():
    speakers = EpisodeSpec(n_way=3, k_shot=1, n_query=1, label="speaker", query_speaker="same")
    for spec, n_classes in ((SETTINGS.tasks[0], 4), (speakers, 6)):
        [(_, y, n)] = Classes(learner(), corpus(), replace(SETTINGS, tasks=(spec,))).labels.values()
        assert (n, int(y.max()) + 1) == (n_classes, n_classes)


def test_every_corpus_has_a_head_of_its_own_and_leaves_the_clips_of_others_out():
    first, second = corpus(n_emotions=3), corpus(n_emotions=2, seed=1)
    moved = tuple(replace(item, corpus="other") for item in second.utterances)
    features = FeatureSet((*first.utterances, *moved), (*first.clips, *second.clips))
    labels = Classes(learner("multitask", tasks="corpora"), features, SETTINGS).labels
    assert {name: n for name, (_, _, n) in labels.items()} == {"synthetic": 3, "other": 2}
    assert (labels["other"][1][: len(first)] < 0).all()
    assert (labels["other"][1][len(first) :] >= 0).all()


def test_clips_of_one_class_are_nothing_to_classify():
    one = corpus(n_emotions=1)
    with pytest.raises(EpisodeError, match="conventional training: found fewer than two classes"):
        Classes(learner(), one, SETTINGS)


def test_an_encoder_that_learns_nothing_is_refused(tmp_path):
    built = build_learner("finetune", DIM, {"encoder": {"name": "statistics"}})
    with pytest.raises(SettingsError, match="nothing to train"):
        train(built, corpus(), corpus(seed=1), settings=SETTINGS, run=tmp_path, objective="classes")


def test_conventional_training_lowers_its_loss_and_throws_its_heads_away(tmp_path):
    built = learner()
    names = set(built.state_dict())
    settings = replace(SETTINGS, epochs=4, steps=20, learning_rate=3e-3)
    history = train(built, corpus(), corpus(seed=1), settings=settings, run=tmp_path, objective="classes")
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert set(built.state_dict()) == names


def test_the_class_that_fails_is_the_one_with_the_largest_loss(monkeypatch):
    objective = Episodes(learner("protonet"), corpus(), SETTINGS)
    episode = objective.samplers[0].draw(0)
    task = objective._task(episode, torch.Generator().manual_seed(0))
    for worst in range(3):
        logits = torch.nn.functional.one_hot(task.query_y, 3).float()
        logits[task.query_y == worst] *= -1
        monkeypatch.setattr(objective.learner, "adapt", lambda *_, logits=logits: lambda _: logits)
        assert objective.failures(objective.samplers[0], [episode], {0: task}) == {
            "synthetic": {episode.classes[worst]}
        }


def test_harder_episodes_are_drawn_from_what_failed_and_weigh_like_the_others(monkeypatch):
    built = learner("protonet")
    built.hard_tasks = 2
    objective = Episodes(built, corpus(), replace(SETTINGS, meta_batch=3))
    asked, weights = [], []
    monkeypatch.setattr(objective, "failures", lambda *_: {"synthetic": {"joy"}})
    draw_harder = objective.samplers[0].draw_harder
    monkeypatch.setattr(
        objective.samplers[0], "draw_harder", lambda n, failed: asked.append((n, failed)) or draw_harder(n, failed)
    )
    monkeypatch.setattr(
        built, "accumulate_many", lambda tasks, weight: weights.append((len(tasks), weight)) or [1.0] * len(tasks)
    )
    assert objective.accumulate(4, torch.Generator()) == 1.0
    assert asked == [(8, {"synthetic": {"joy"}}), (9, {"synthetic": {"joy"}})]
    assert weights == [(3, 1 / 5), (2, 1 / 5)]


def test_meta_transfer_learning_runs_both_its_phases_and_can_be_resumed(tmp_path):
    encoder = {"name": "dense", "channels": 8, "blocks": 1, "width": 4}
    config = ModelConfig(learner="mtl", settings={"encoder": encoder}, frontend_settings={"n_mels": DIM})
    features = corpus(takes=3, n_speakers=12)

    def run() -> Learner:
        model, best = meta_train(
            config,
            lambda _, part: features.subset(part),
            features.utterances,
            settings=replace(SETTINGS, tasks=(EpisodeSpec(n_way=3, k_shot=1, n_query=1),)),
            run=tmp_path,
            resume=True,
        )
        assert best["epoch"] in (1, 2)
        return model.learner

    first = {name: tensor.clone() for name, tensor in run().state_dict().items()}
    assert (tmp_path / "classes" / "checkpoint.safetensors").exists()
    (tmp_path / "episodes" / "checkpoint.safetensors").unlink()  # as if it had been killed between the phases
    again = run().state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    moved = {
        name
        for name, tensor in first.items()
        if name.startswith("scale_shift") and not (tensor == tensor.round()).all()
    }
    assert moved
