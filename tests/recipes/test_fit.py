"""What is fitted to labelled clips is what the model computes, and its calibration has seen other clips."""

from __future__ import annotations

import functools
import itertools
from dataclasses import replace

import pytest
import torch
from default_model import fit
from default_model.directions import DirectionSettings
from default_model.embeddings import MOST_CLIPS, Embeddings, chosen
from default_model.fit import FitSettings, fit_model
from each import each
from synthetic import DIM, corpus
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.encoders import Discriminant, Statistics, Transformer, normalise_level
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.frontends import Features, FeatureSet, stack
from ser_fewshot.learners import embed_clips
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model, with_view

WIDTH = 6
SETTINGS = FitSettings(directions=DirectionSettings(n=3, steps=2, tasks=1), calibration_steps=2, calibration_episodes=2)
CORPORA = "abc"


@functools.cache
def student() -> Model:
    """A model whose encoder has random weights in place of a teacher's; only to be read."""
    encoder = {"name": "transformer", "channels": 8, "blocks": 1, "width": WIDTH}
    config = ModelConfig(learner="ridge", settings={"encoder": encoder}, frontend_settings={"n_mels": DIM})
    model = build_model(config, seed=3)
    model.learner.fit_scale(clips().batch(range(0, len(clips()), 7)))
    return model


@functools.cache
def clips() -> FeatureSet:
    """Four emotions by four speakers in each of three corpora."""
    made = corpus(n_speakers=12, takes=8)
    items = [replace(item, corpus=CORPORA[int(item.speaker or 0) % 3]) for item in made.utterances]
    return FeatureSet(tuple(items), made.clips)


@torch.no_grad()
def raw(features: Features) -> Tensor:
    """What `Embeddings` hold of clips."""
    encoder = student().learner.get_submodule("encoder")
    assert isinstance(encoder, Transformer)
    functionals = Statistics(DIM).functionals(normalise_level(features))
    return torch.cat([encoder.pool(*encoder.frames(features)), functionals], 1)


@functools.cache
def embeddings() -> dict[str, Embeddings]:
    """Of each corpus; a condition makes clips louder in one band."""
    found = {}
    for name in CORPORA:
        own = clips().subset([clip for clip in clips().utterances if clip.corpus == name])
        shift = torch.linspace(0, 1, DIM)
        clean, degraded = (raw(stack([x + step * shift for x in own.clips])) for step in (0, 1))
        found[name] = Embeddings(own.utterances, clean, torch.stack([degraded, degraded], 1))
    return found


@functools.cache
def fitted() -> Model:
    """The model of all three corpora; only to be read."""
    return fit_model(student(), embeddings(), SETTINGS)


def encoder_of(model: Model) -> Discriminant:
    encoder = model.learner.get_submodule("encoder")
    assert isinstance(encoder, Discriminant)
    return encoder


def test_the_model_embeds_clips_as_they_were_standardised_and_projected_for_the_fit(monkeypatch):
    seen: list[FeatureSet] = []
    speakers_of = fit._speakers

    def noted(sets):
        sets = list(sets)
        seen.extend(sets)
        return speakers_of(sets)

    monkeypatch.setattr(fit, "_speakers", noted)
    model = fit_model(student(), embeddings(), SETTINGS)
    expected = seen[-1]  # the last corpus, projected
    clips_of_it = clips().subset(expected.utterances).clips
    assert_near(torch.stack(embed_clips(model.learner, clips_of_it)), torch.stack(list(expected.clips)), relative=1e-3)
    assert model.speakers is not None


def test_the_view_of_speakers_is_their_components_whitened_within_speakers():
    view = with_view(fitted(), "speaker")
    z = torch.stack(embed_clips(view.learner, clips().clips))
    assert z.shape[1] == fit.N_COMPONENTS
    rest = z.clone()
    for (corpus_of, emotion), speaker in itertools.product(
        {(clip.corpus, clip.emotion) for clip in clips().utterances}, {clip.speaker for clip in clips().utterances}
    ):
        rows = [
            row
            for row, clip in enumerate(clips().utterances)
            if (clip.corpus, clip.emotion, clip.speaker) == (corpus_of, emotion, speaker)
        ]
        if rows:
            rest[rows] -= z[rows].mean(0)
    spread = rest.square().mean(0).sqrt()
    kept = spread > 1e-4  # fewer values than components
    assert spread[kept].max() < 10 * spread[kept].median()


def test_weights_are_saved_and_loaded_to_the_bit(tmp_path):
    save_model(fitted(), tmp_path, card="")
    loaded = load_model(tmp_path)
    assert loaded.config == fitted().config
    z, expected = (torch.stack(embed_clips(one.learner, clips().clips[:9])) for one in (loaded, fitted()))
    assert torch.equal(z, expected)


def test_the_student_is_not_changed_and_its_weights_are_those_of_the_model():
    before = {name: x.clone() for name, x in student().learner.state_dict().items()}
    inner = encoder_of(fitted()).inner.state_dict()
    assert all(torch.equal(x, before[name]) for name, x in student().learner.state_dict().items())
    same = [name for name in before if name.startswith("encoder.") and name not in ("encoder.mean", "encoder.scale")]
    assert all(torch.equal(inner[name.removeprefix("encoder.")], before[name]) for name in same)


def test_a_calibration_is_of_clips_that_the_directions_were_not_trained_on(monkeypatch):
    trained_on: list[set[str]] = []
    trains = fit.fitted_head

    def noted(sets, settings):
        trained_on.append(set(sets))
        return trains(sets, settings)

    monkeypatch.setattr(fit, "fitted_head", noted)
    model = fit_model(student(), embeddings(), SETTINGS)
    assert trained_on == [set("abc"), set("bc"), set("ac"), set("ab")]
    assert model.config.calibration is not None


def test_a_single_corpus_is_calibrated_on_speakers_left_out():
    [*folds] = fit._folds(fit.standardised({"a": embeddings()["a"]}, fit.Scale.of([embeddings()["a"]], learned=WIDTH)))
    for rest, own in folds:
        parts = [{clip.speaker for clip in part["a"].utterances} for part in (rest, own)]
        assert not parts[0] & parts[1]
        assert len(parts[0] | parts[1]) == 4


@each("changes", [{"functionals": 0.5}, {"name": "conv"}])
def test_another_model_than_a_student_is_refused(changes):
    encoder = {"name": "transformer", "channels": 8, "blocks": 1, "width": WIDTH, "discriminant": 2, **changes}
    other = build_model(ModelConfig(learner="ridge", settings={"encoder": encoder}, frontend_settings={"n_mels": DIM}))
    with pytest.raises(SettingsError, match="expected the encoder 'transformer' without directions"):
        fit_model(other, embeddings(), SETTINGS)


def test_corpora_of_too_few_speakers_are_refused():
    one = embeddings()["a"]
    rows = [row for row, clip in enumerate(one.utterances) if clip.speaker == "0"]
    few = Embeddings(tuple(one.utterances[row] for row in rows), one.clean[rows], one.degraded[rows])
    with pytest.raises(EpisodeError, match="no corpus of three speakers"):
        fit_model(student(), {"a": few}, SETTINGS)


def test_of_a_large_corpus_whole_speakers_are_chosen():
    item = clips().utterances[0]
    many = [
        replace(item, id=f"{speaker}-{take}", speaker=f"{speaker}") for speaker in range(5) for take in range(1_000)
    ]
    found = chosen([*many, replace(item, id="nobody", speaker=None), replace(item, id="nothing", emotion=None)])
    counts = [sum(clip.speaker == f"{speaker}" for clip in found) for speaker in range(5)]
    assert sorted(counts) == [0, 0, 0, 1_000, 1_000]
    assert len(found) <= MOST_CLIPS
