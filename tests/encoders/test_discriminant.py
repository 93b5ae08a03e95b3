"""An embedding for telling emotions apart has its projections beside it; for speakers, it is its components."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from each import each
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.encoders import Discriminant, EncoderSettings, Mean, PooledFeatures, View, build_encoder
from ser_fewshot.errors import CheckpointError, SettingsError
from ser_fewshot.frontends import stack
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model, with_view

WIDTH, N = 12, 3


def fitted(view: View = "emotion", **more: Any) -> Discriminant:
    """One with random values in all of its buffers."""
    found = Discriminant(PooledFeatures(WIDTH), n=N, view=view, **more)
    generator = torch.Generator().manual_seed(0)
    for buffer in found.buffers():
        buffer.copy_(torch.randn(buffer.shape, generator=generator).abs())
    return found


def embeddings(n: int = 7) -> Tensor:
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(1))


@each("components", [0, 5])
def test_for_emotions_projections_stand_beside_the_embedding_at_its_weight(components):
    z, found = embeddings(), fitted(components=components)
    seen = found.project(z)
    assert seen.shape == (7, found.width) == (7, WIDTH + N)
    assert found.n_directions == N
    assert_near(seen[:, :WIDTH], z * found.gain)
    assert_near(seen[:, WIDTH:], z @ found.emotion)


def test_for_speakers_the_embedding_is_its_components_at_a_length_of_1():
    z, found = embeddings(), fitted("speaker", components=5)
    assert (found.width, found.n_directions) == (5, 0)
    along = z @ found.speaker
    assert_near(found.project(z), along / along.norm(dim=1, keepdim=True))


def test_without_components_directions_of_speakers_stand_beside_the_weighted_embedding():
    z, found = embeddings(), fitted("speaker")
    weighted = z * found.feature_weights
    assert_near(found.project(z), torch.cat([weighted * found.gain, weighted @ found.speaker], 1))


def test_the_view_of_a_model_changes_and_its_weights_are_shared():
    emotion = model(discriminant=N, components=5)
    speaker = with_view(emotion, "speaker")
    widths = [one.learner.get_submodule("encoder").width for one in (emotion, speaker)]
    assert widths == [WIDTH + N, 5]
    pairs = zip(emotion.learner.buffers(), speaker.learner.buffers(), strict=True)
    assert all(one is other for one, other in pairs)


def test_embeddings_of_0_1_are_clamped_along_the_nuisance_subspace_for_emotions_alone():
    found = {view: fitted(view, nuisance=1) for view in get_args(View)}
    z = torch.zeros(3, WIDTH)
    z[:, 0] = torch.tensor([-5.0, 1.2, 9.0])
    z[:, 1] = 3.0
    for one in found.values():
        one.nuisance.copy_(torch.eye(WIDTH)[:, :1])
        one.nuisance_mean.fill_(1.0)
        one.nuisance_limit.fill_(2.0)
    clamped = found["emotion"].clamp_nuisance(z)
    assert clamped[:, 0].tolist() == pytest.approx([-1.0, 1.2, 3.0])
    assert torch.equal(clamped[:, 1:], z[:, 1:])
    assert_near(found["emotion"].project(z)[:, WIDTH:], clamped @ found["emotion"].emotion)
    assert_near(found["speaker"].project(z)[:, WIDTH:], z * found["speaker"].feature_weights @ found["speaker"].speaker)


def test_the_clamp_is_stored_where_there_is_one_and_the_weights_of_features_where_they_are_used():
    always = {"emotion", "speaker", "gain", "inner.mean", "inner.scale"}
    assert set(fitted(components=5).state_dict()) == always
    assert set(fitted().state_dict()) == {*always, "feature_weights"}
    clamp = {"nuisance", "nuisance_mean", "nuisance_limit"}
    assert set(fitted(nuisance=3).state_dict()) == {*always, "feature_weights", *clamp}


@each("settings", [{"components": 4}, {"recording": 4}, {"discriminant": 2, "components": -1}])
def test_components_and_the_clamp_need_directions(settings):
    with pytest.raises(SettingsError, match=r"components as well and 0 without discriminant"):
        EncoderSettings(name="mean", **settings)


def test_before_directions_are_found_the_embedding_is_as_it_was():
    new = build_encoder(WIDTH, EncoderSettings(name="mean", discriminant=3))
    assert isinstance(new, Discriminant)
    features = stack([torch.randn(9, WIDTH), torch.randn(4, WIDTH)])
    z = new(features)
    assert torch.equal(z[:, :WIDTH], Mean(WIDTH)(features))
    assert (z[:, WIDTH:] == 0).all()


def test_the_scale_and_what_is_prepared_are_those_of_the_encoder_inside():
    settings = {"name": "dense", "channels": 4, "width": 2, "dropout": 0.0}
    wrapped = build_encoder(WIDTH, EncoderSettings(**settings, discriminant=2)).eval()
    plain = build_encoder(WIDTH, EncoderSettings(**settings)).eval()
    plain.load_state_dict(wrapped.inner.state_dict())
    features = stack([torch.randn(n, WIDTH) for n in range(10, 30)])
    for encoder in (wrapped, plain):
        encoder.fit_scale(features)
    assert torch.equal(wrapped.prepare(features).x, plain.prepare(features).x)
    assert_near(wrapped(wrapped.prepare(features))[:, :-2], plain(features))


# On disk


def model(**told: Any) -> Model:
    config = ModelConfig(
        learner="ridge",
        settings={"encoder": {"name": "mean", **told}},
        frontend_settings={"n_mels": WIDTH},
    )
    return build_model(config)


def test_a_model_from_before_there_were_directions_is_read(tmp_path):
    save_model(model(), tmp_path, card="")
    path = tmp_path / "config.json"
    config = path.read_text()
    for line in ('"discriminant": 0,', '"components": 0,', '"view": "emotion",', '"functionals": 0.0,'):
        assert line in config
        config = config.replace(line, "")
    path.write_text(config)
    assert load_model(tmp_path).config == model().config


def test_weights_without_directions_are_refused_where_directions_are_told_of(tmp_path):
    save_model(model(), tmp_path, card="")
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"discriminant": 0', '"discriminant": 2'))
    with pytest.raises(CheckpointError, match=r"encoder\.emotion"):
        load_model(tmp_path)


def test_a_support_is_moved_all_the_way_to_recording_conditions_where_directions_were_trained_so():
    emotion = model(discriminant=N, components=5)
    speaker, old, plain = with_view(emotion, "speaker"), model(discriminant=N), model()
    assert [one.learner.mixup for one in (emotion, speaker, old, plain)] == [1.0, 0.5, 0.5, 0.5]
