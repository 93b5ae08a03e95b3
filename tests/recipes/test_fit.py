"""What labels are for is chosen by corpora that were left out, and what is chosen is what is saved."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from default_model import embeddings, fit
from default_model.fit import CHOICES, Choice, fit_labels
from each import each
from synthetic import DIM, corpus
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.encoders import Discriminant, PooledFeatures, Transformer
from ser_fewshot.episodes import Episode
from ser_fewshot.errors import CheckpointError, EpisodeError, SettingsError
from ser_fewshot.evaluation import Evaluation, evaluate
from ser_fewshot.evaluation.calibration import validation_predictions
from ser_fewshot.frontends import FeatureSet
from ser_fewshot.learners import Learner, embed_clips
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model

WIDTH = 6
FIRST = Choice(functionals=0.0, discriminant=3, shrinkage=0.5, penalty=0.3)
SECOND = Choice(functionals=0.5, discriminant=2, shrinkage=0.8, penalty=1.0)
THIRD = replace(FIRST, penalty=0.7)


@functools.cache
def clips() -> FeatureSet:
    """Four emotions by four speakers in each of three corpora, which their microphones tell apart."""
    made = corpus(n_speakers=12, takes=8)
    number = [int(item.speaker or 0) % 3 for item in made.utterances]
    items = [replace(item, corpus="abc"[which]) for item, which in zip(made.utterances, number, strict=True)]
    tone = torch.linspace(-1, 1, DIM)
    return FeatureSet(tuple(items), tuple(x + which * tone for x, which in zip(made.clips, number, strict=True)))


def of_two_emotions() -> FeatureSet:
    return clips().subset([item for item in clips().utterances if item.emotion in ("anger", "fear")])


@functools.cache
def taught(**told: Any) -> Model:
    """A model whose encoder looks as if it had been taught; only to be read."""
    encoder = {"name": "transformer", "channels": 8, "blocks": 1, "width": WIDTH, **told}
    config = ModelConfig(learner="ridge", settings={"encoder": encoder}, frontend_settings={"n_mels": DIM})
    model = build_model(config, seed=3)
    model.learner.fit_scale(clips().batch(range(0, len(clips()), 7)))
    inner = model.learner.get_submodule("encoder")
    if isinstance(inner, Transformer):  # a scale as no new encoder has it
        inner.mean.copy_(torch.linspace(-0.5, 0.5, WIDTH))
        inner.scale.copy_(torch.linspace(0.5, 2.0, WIDTH))
    return model


@pytest.fixture(autouse=True)
def _few_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_EPISODES", 4)
    monkeypatch.setattr(fit, "validation_predictions", functools.partial(validation_predictions, n_episodes=2))


@functools.cache
def fitted(choice: Choice) -> Model:
    """The model that a choice makes of the clips; only to be read."""
    return fit_labels(taught(), clips(), choices=[choice])[0]


def encoder_of(model: Model) -> Discriminant:
    encoder = model.learner.get_submodule("encoder")
    assert isinstance(encoder, Discriminant)
    return encoder


def state(model: Model) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.learner.state_dict().items()}


def answers(model: Model) -> Tensor:
    rows = [row for row, item in enumerate(clips().utterances) if item.speaker == "5"]
    support, query = rows[::2], rows[1::2]
    y = torch.arange(4).repeat_interleave(len(support) // 4)
    with torch.no_grad():
        return model.learner.adapt(clips().batch(support), y)(clips().batch(query))


def scored(
    learner: Learner, features: FeatureSet, episodes: Sequence[Episode], score: float, **told: Any
) -> Evaluation:
    """The evaluation of one episode, with another score."""
    found = evaluate(learner, features, episodes[:1], **told)
    return replace(found, uar=found.uar * 0 + score)


def noted(monkeypatch: pytest.MonkeyPatch, *, scores: dict[float, float] | None = None) -> list[tuple[str, FeatureSet]]:
    """Let choices score what is said of their penalty, and return of which corpus what was judged, as it was seen."""
    seen: list[tuple[str, FeatureSet]] = []

    def judged(learner: Learner, features: FeatureSet, episodes: Sequence[Episode], **told: Any) -> Evaluation:
        [name] = {item.corpus for item in features.utterances}
        seen.append((name, features))
        if scores is None:
            return evaluate(learner, features, episodes, **told)
        return scored(learner, features, episodes, scores[round(float(learner.penalty), 6)], **told)

    monkeypatch.setattr(fit, "evaluate", judged)
    return seen


# Choosing


@pytest.mark.parametrize("best", [FIRST, SECOND, THIRD])
def test_the_choice_that_scores_best_is_the_model_that_comes_back(best, monkeypatch):
    scores = {choice.penalty: 0.8 if choice == best else 0.6 for choice in (FIRST, SECOND, THIRD)}
    noted(monkeypatch, scores=scores)
    model, table = fit_labels(taught(), clips(), choices=[FIRST, SECOND, THIRD])
    assert [line.pop("uar") for line in table] == pytest.approx([scores[line["penalty"]] for line in table])
    assert table == [asdict(choice) for choice in (FIRST, SECOND, THIRD)]
    told = model.config.settings
    assert told["penalty"] == best.penalty == model.learner.penalty
    assert told["encoder"] == {
        **taught().config.settings["encoder"],
        "functionals": best.functionals,
        "discriminant": best.discriminant,
        "recording": encoder_of(model).nuisance.shape[1],
    }
    width = WIDTH + (encoder_of(model).inner.statistics.width if best.functionals else 0)
    assert encoder_of(model).emotion.shape == (width, best.discriminant)


@pytest.mark.parametrize("best", fit.FUNCTIONAL_WEIGHTS)
def test_the_weight_of_functionals_in_the_speaker_view_is_the_best_on_left_out_corpora(best, monkeypatch):
    weighed: list[float] = []
    find = fit._fitted

    def found(*parts: Any, weights: Tensor | None = None, **told: Any) -> Discriminant:
        weighed.extend([] if weights is None else [float(weights[-1] / weights[0])])
        return find(*parts, weights=weights, **told)

    def judged(*parts: Any, spec: Any) -> Evaluation:
        return scored(*parts, spec.label == "speaker" and weighed[-1] == best, spec=spec)

    tasks = [replace(spec, n_way=3) for spec in fit.SPEAKER_TASKS]
    monkeypatch.setattr(fit, "SPEAKER_TASKS", tasks)
    monkeypatch.setattr(fit, "_fitted", found)
    monkeypatch.setattr(fit, "evaluate", judged)
    model, _ = fit_labels(taught(), clips(), choices=[SECOND])
    weights = encoder_of(model).feature_weights
    assert float(weights[WIDTH] / weights[0]) == pytest.approx(best)


@pytest.mark.parametrize("best", fit.NUISANCE_LIMITS)
def test_the_limit_of_the_clamp_is_the_best_on_left_out_corpora(best, monkeypatch):
    limits: list[float] = []
    find = fit._fitted

    def found(*parts: Any, limit: float | None = None, **told: Any) -> Discriminant:
        limits.append(limit or 0.0)
        return find(*parts, limit=limit, **told)

    def judged(*parts: Any, spec: Any) -> Evaluation:
        return scored(*parts, limits[-1] == best, spec=spec)

    monkeypatch.setattr(fit, "_fitted", found)
    monkeypatch.setattr(fit, "evaluate", judged)
    model, _ = fit_labels(taught(), clips(), choices=[SECOND])
    metric = encoder_of(model)
    with torch.no_grad():
        along = metric.inner(clips().batch(range(len(clips())))) @ metric.nuisance
    expected = best * along.std(0)
    assert_near(metric.nuisance_limit, expected, relative=0.05)


def test_every_choice_is_judged_on_each_corpus_and_task_alike(monkeypatch):
    seen = noted(monkeypatch)
    fit_labels(taught(), clips(), choices=[FIRST, THIRD])
    assert [name for name, _ in seen[:12]] == ["a"] * 4 + ["b"] * 4 + ["c"] * 4  # two choices, two tasks
    assert all(features.clips[0].shape == (WIDTH + 3,) for _, features in seen[:12])


def test_a_corpus_is_judged_by_directions_that_its_own_labels_had_no_part_in(monkeypatch):
    turned = {"anger": "fear", "fear": "joy", "joy": "sadness", "sadness": "anger"}
    moved = [
        replace(item, emotion=turned[item.emotion] if n % 2 else item.emotion) if item.corpus == "a" else item
        for n, item in enumerate(clips().utterances)
    ]
    seen = noted(monkeypatch)
    for features in (clips(), FeatureSet(tuple(moved), clips().clips)):
        fit_labels(taught(), features, choices=[FIRST])
    before, after = (
        {name: torch.stack(x.clips) for name, x in part} for part in (seen[: len(seen) // 2], seen[len(seen) // 2 :])
    )
    assert torch.equal(before["a"], after["a"])
    assert not torch.allclose(before["b"], after["b"], atol=1e-3)
    assert not torch.allclose(before["c"], after["c"], atol=1e-3)


def test_emotions_of_a_corpus_that_was_left_out_are_recognised_better_than_by_chance():
    _, table = fit_labels(taught(), clips(), choices=[FIRST, SECOND])
    assert all(0.4 < line["uar"] <= 1 for line in table), table  # of four emotions


def test_the_choices_of_the_package_are_legal_and_differ():
    assert len(set(CHOICES)) == len(CHOICES) >= 2


# What comes back


def seen_by_the_taught() -> Tensor:
    """What the taught encoder, in half precision, makes of the clips."""
    bare = build_model(taught().config, frontend=taught().frontend)
    bare.learner.load_state_dict({name: x.half().float() for name, x in state(taught()).items()})
    return torch.stack(embed_clips(bare.learner, clips().clips))


def test_what_was_taught_is_rounded_to_half_precision_and_not_otherwise_changed_but_for_its_scale():
    before = state(taught())
    model, _ = fit_labels(taught(), clips(), choices=[SECOND])
    inner = encoder_of(model).inner.state_dict()
    learned = taught().learner.get_submodule("encoder").state_dict()
    assert set(learned) == {name for name in inner if not name.startswith("statistics.")}
    for name, tensor in learned.items():
        assert torch.equal(inner[name], inner[name].half().float()), name
        assert torch.equal(inner[name], tensor.half().float()) == (name not in ("mean", "scale")), name
    assert any(not torch.equal(inner[name], tensor) for name, tensor in learned.items() if name.endswith("weight"))
    assert all(torch.equal(state(taught())[name], tensor) for name, tensor in before.items())
    with torch.no_grad():
        z, found = seen_by_the_taught(), encoder_of(model).inner(clips().batch(range(len(clips()))))[:, :WIDTH]
    assert_near(found, (z - z.mean(0)) / z.std(0, correction=0), relative=0.02)


def test_directions_of_both_views_are_those_of_all_the_clips():
    model = fitted(FIRST)
    metric, items = encoder_of(model), clips().utterances
    z = seen_by_the_taught()
    z = (z - z.mean(0)) / z.std(0, correction=0)
    expected = Discriminant(PooledFeatures(WIDTH), n=3, view="emotion", nuisance=metric.nuisance.shape[1])
    for name in ("nuisance", "nuisance_mean", "nuisance_limit"):
        getattr(expected, name).copy_(getattr(metric, name))
    emotions = [f"{item.corpus}/{item.emotion}" for item in items]
    speakers = [f"{item.corpus}/{item.speaker}" for item in items]
    expected.fit_directions("speaker", z, classes=speakers, nuisance=emotions, shrinkage=0.5)
    expected.fit_directions("emotion", z, classes=emotions, nuisance=speakers, shrinkage=0.5)
    for name in ("emotion", "speaker", "gain"):
        assert_near(getattr(metric, name), getattr(expected, name), relative=0.001)
    assert metric.view == "emotion"
    assert (metric.emotion.abs().sum(0) > 0).all()


def test_the_functionals_are_scaled_to_the_clips():
    model = fitted(SECOND)
    with torch.no_grad():
        z = encoder_of(model).inner(clips().batch(range(len(clips()))))[:, WIDTH:]
    unit = z / (0.5 * (WIDTH / z.shape[1]) ** 0.5)
    assert unit.mean(0).abs().max() < 0.3
    assert unit.std(0).median().item() == pytest.approx(1.0, abs=0.1)


def test_the_model_is_calibrated_on_the_corpora_left_out():
    model = fitted(FIRST)
    assert model.config.calibration is not None
    assert taught().config.calibration is None


def test_a_model_that_was_saved_and_loaded_gives_the_same_answers(tmp_path):
    model = fitted(SECOND)
    save_model(model, tmp_path, card="# A model\n")
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    assert torch.equal(answers(loaded), answers(model))
    assert not loaded.learner.training


def test_the_same_clips_make_the_same_model():
    first, second = (fit_labels(taught(), clips(), choices=[FIRST, SECOND], seed=2) for _ in range(2))
    assert first[1] == second[1]
    assert first[0].config == second[0].config
    assert all(torch.equal(state(second[0])[name], tensor) for name, tensor in state(first[0]).items())


def test_one_long_clip_does_not_fill_the_memory_when_functionals_are_scaled(monkeypatch):
    long = replace(clips(), clips=(clips().clips[0].repeat(100, 1), *clips().clips[1:]))
    seen: list[int] = []
    monkeypatch.setattr(embeddings, "normalise_level", lambda features: (seen.append(features.x.shape[1]), features)[1])
    embeddings.embed(taught(), long)
    assert max(seen) <= 1_000 < len(long.clips[0])


# What is refused


def without(kind: str) -> FeatureSet:
    items = clips().utterances
    return FeatureSet((replace(items[0], **{kind: None}), *items[1:]), clips().clips)


@each(
    ("features", "match"),
    [
        (lambda: clips().subset([item for item in clips().utterances if item.corpus == "a"]), "1 corpora, 0 of them"),
        (lambda: without("emotion"), "3 corpora, 1 of them without"),
        (lambda: without("speaker"), "3 corpora, 1 of them without"),
    ],
)
def test_a_single_corpus_or_a_missing_label_is_refused(features, match):
    with pytest.raises(SettingsError, match=match):
        fit_labels(taught(), features())


def test_corpora_that_give_no_episode_to_judge_by_are_refused():
    with pytest.raises(EpisodeError, match=r"labels: found no corpus that gives an episode.*4 emotions"):
        fit_labels(taught(), of_two_emotions(), choices=[FIRST])


@each(("told", "name"), [({"discriminant": 2}, "Discriminant"), ({"name": "conv"}, "Conv")])
def test_an_encoder_that_was_not_taught_is_refused(told, name):
    with pytest.raises(SettingsError, match=f"encoder {name}.*'transformer'"):
        fit_labels(taught(**told), clips(), choices=[FIRST])


def test_how_a_clip_is_varied_does_not_depend_on_the_clips_beside_it():
    whole, some = clips(), clips().subset(clips().utterances[3::2])
    alone = embeddings._augment(some, range(len(some)))
    among = embeddings._augment(whole, range(3, len(whole), 2))
    assert all(torch.equal(x, y) for x, y in zip(alone, among, strict=True))


def test_an_encoder_that_lacks_a_weight_is_not_widened():
    model = build_model(taught().config, seed=3)
    del model.learner.get_submodule("encoder").mean
    with pytest.raises(CheckpointError, match="distilled encoder: found missing: mean"):
        embeddings.extend(model, functionals=1.0, discriminant=1, recording=0, penalty=1.0)
