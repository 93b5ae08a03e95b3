"""Directions stand beside an embedding that tell its classes apart, whatever else differs between the clips."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.encoders import Discriminant, EncoderSettings, Mean, PooledFeatures, View, build_encoder
from ser_fewshot.errors import CheckpointError
from ser_fewshot.frontends import stack
from ser_fewshot.models import Model, ModelConfig, build_model, load_model, save_model

WIDTH = 12
EMOTION, VOICE, MICROPHONE = 3, 7, 9  # the values by which emotions, voices and corpora differ


def clusters() -> tuple[Tensor, list[str], list[str]]:
    """Clips (n, WIDTH) of three emotions along one value and of eight voices, further apart, along another."""
    generator = torch.Generator().manual_seed(0)
    rows, emotions, speakers = [], [], []
    for emotion in range(3):
        for speaker in range(8):
            for _ in range(20):
                x = 0.3 * torch.randn(WIDTH, generator=generator)
                x[EMOTION] += emotion
                x[VOICE] += speaker
                rows.append(x + 1.0)
                emotions.append("afj"[emotion])
                speakers.append(f"s{speaker}")
    return torch.stack(rows), emotions, speakers


def metric(n: int = 2, view: View = "emotion", **told: Any) -> Discriminant:
    """Directions for emotions and speakers of the clusters."""
    found = Discriminant(PooledFeatures(WIDTH), n=n, view=view)
    z, emotions, speakers = clusters()
    told = {"shrinkage": 0.1, **told}
    found.fit_directions("emotion", z, classes=emotions, nuisance=speakers, **told)
    found.fit_directions("speaker", z, classes=speakers, nuisance=emotions, **told)
    return found


def separation(values: Tensor, classes: list[str]) -> float:
    """How far class means (n,) lie apart, in standard deviations within a class."""
    groups = [values[[row for row, name in enumerate(classes) if name == one]] for one in sorted(set(classes))]
    within = torch.stack([group.var() for group in groups]).mean()
    return float(torch.stack([group.mean() for group in groups]).var() / within)


def test_the_first_direction_points_along_what_tells_the_classes_apart_and_not_along_the_nuisance():
    for view, along, across in (("emotion", EMOTION, VOICE), ("speaker", VOICE, EMOTION)):
        direction = getattr(metric(), view)[:, 0]
        assert direction.abs().argmax() == along
        assert direction[across].abs() < 0.1 * direction[along].abs()


def test_directions_separate_classes_and_hardly_the_nuisance():
    z, emotions, speakers = clusters()
    emotion, speaker = (metric(view=view).project(z)[:, WIDTH] for view in get_args(View))
    for seen, told, other in ((emotion, emotions, speakers), (speaker, speakers, emotions)):
        assert separation(seen, told) > 5
        assert separation(seen, other) < 0.1


def test_what_weighs_more_for_voices_changes_their_view_alone_and_not_the_average_length():
    z, emotions, speakers = clusters()
    weights = torch.ones(WIDTH)
    weights[EMOTION] = 9.0
    for view in get_args(View):
        plain, weighed = metric(view=view), Discriminant(PooledFeatures(WIDTH), n=2, view=view)
        weighed.set_feature_weights(z, weights)
        for one, classes, nuisance in (("emotion", emotions, speakers), ("speaker", speakers, emotions)):
            weighed.fit_directions(one, z, classes=classes, nuisance=nuisance, shrinkage=0.1)
        before, after = (one.project(z)[:, :WIDTH] for one in (plain, weighed))
        assert_near(after.norm(dim=1).mean(), before.norm(dim=1).mean())
        shares = [float(z[:, EMOTION].norm() / z.norm()) for z in (before, after)]
        assert (shares[1] > shares[0] + 0.1) if view == "speaker" else shares[1] == pytest.approx(shares[0])


def through_microphones(z: Tensor) -> Tensor:
    """The same clips, each moved by another amount along the value by which microphones differ."""
    moved = z.clone()
    moved[:, MICROPHONE] += 5.0 * torch.rand(len(z), generator=torch.Generator().manual_seed(1))
    return moved


def test_what_a_microphone_changes_is_clamp_nuisance_and_nothing_else_moves():
    z, _, _ = clusters()
    bounded = Discriminant(PooledFeatures(WIDTH), n=2, view="emotion", nuisance=1)
    bounded.fit_nuisance(z, through_microphones(z), limit=1.0)
    usual, spread = z[:, MICROPHONE].mean(), z[:, MICROPHONE].std()
    found = bounded.clamp_nuisance(through_microphones(z))
    assert found[:, MICROPHONE].max() <= usual + 1.01 * spread
    others = [column for column in range(WIDTH) if column != MICROPHONE]
    assert_near(found[:, others], z[:, others], relative=0.02)
    inside = (z[:, MICROPHONE] - usual).abs() < 0.99 * spread
    assert_near(bounded.clamp_nuisance(z)[inside], z[inside], relative=0.02)


def test_directions_of_recordings_are_stored_with_the_model_and_only_where_there_are_any():
    z, _, _ = clusters()
    fitted, fresh = (Discriminant(PooledFeatures(WIDTH), n=2, view="emotion", nuisance=3) for _ in range(2))
    fitted.fit_nuisance(z, through_microphones(z), limit=0.5)
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh.project(z), fitted.project(z))
    assert not {"nuisance", "nuisance_mean", "nuisance_limit"} & set(metric().state_dict())
    assert torch.equal(metric().clamp_nuisance(z), z)


def test_where_emotions_are_those_of_several_corpora_the_corpus_is_not_what_directions_tell_apart():
    z, emotions, speakers = clusters()
    corpora = [speaker in ("s0", "s1", "s2", "s3") for speaker in speakers]
    z[:, MICROPHONE] += 5.0 * torch.tensor(corpora)
    classes = [f"{corpus}/{emotion}" for corpus, emotion in zip(corpora, emotions, strict=True)]
    minded, unminded = (Discriminant(PooledFeatures(WIDTH), n=1, view="emotion") for _ in range(2))
    minded.fit_directions("emotion", z, classes=classes, nuisance=speakers, shrinkage=0.1)
    unminded.fit_directions("emotion", z, classes=classes, nuisance=["nobody"] * len(z), shrinkage=0.1)
    assert minded.emotion.abs().argmax() == EMOTION
    assert minded.emotion[MICROPHONE].abs() < 0.1 * minded.emotion[EMOTION].abs()
    assert unminded.emotion.abs().argmax() == MICROPHONE


def test_classes_of_one_clip_say_nothing_of_what_varies_within_a_class():
    z, emotions, speakers = clusters()
    alone = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1)) * 100
    plain, more = (Discriminant(PooledFeatures(WIDTH), n=2, view="emotion") for _ in range(2))
    plain.fit_directions("emotion", z, classes=emotions, nuisance=speakers, shrinkage=0.1)
    names = [f"once {row}" for row in range(5)]
    more.fit_directions(
        "emotion", torch.cat([z, alone]), classes=[*emotions, *names], nuisance=[*speakers, *names], shrinkage=0.1
    )
    angle = torch.nn.functional.cosine_similarity(plain.emotion[:, 0], more.emotion[:, 0], dim=0)
    assert angle.abs() > 0.9999


def test_fewer_classes_than_directions_leave_zeros_beside():
    found = metric(n=5)
    assert (found.emotion[:, :2].abs().sum(0) > 0).all()
    assert (found.emotion[:, 2:] == 0).all()  # three emotions differ in two directions
    assert (found.speaker.abs().sum(0) > 0).all()  # eight voices in seven
    z, _, _ = clusters()
    assert (found.project(z)[:, WIDTH + 2 :] == 0).all()


def test_both_parts_are_of_length_one_on_average():
    z, _, _ = clusters()
    for view in get_args(View):
        seen = metric(view=view).project(z)
        for part in (seen[:, :WIDTH], seen[:, WIDTH:]):
            assert part.norm(dim=1).mean().item() == pytest.approx(
                1.0, rel=1e-3
            )  # directions are rounded to half precision


def test_the_embedding_itself_stands_first_and_only_its_length_is_changed():
    z, _, _ = clusters()
    seen = metric().project(z)
    assert_near(seen[:, :WIDTH] * z.norm(dim=1).mean(), z)


def test_directions_are_the_same_every_time_and_whatever_was_found_before():
    first, again = metric(), metric()
    assert torch.equal(first.emotion, again.emotion)
    z, emotions, speakers = clusters()
    again.fit_directions("emotion", 3 * z.flip(1), classes=speakers, nuisance=emotions, shrinkage=0.9)
    again.fit_directions("emotion", z, classes=emotions, nuisance=speakers, shrinkage=0.1)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in first.state_dict().items())


def test_the_view_says_which_directions_stand_beside_and_the_weights_hold_both():
    z, _, _ = clusters()
    emotion, speaker = metric(view="emotion"), metric(view="speaker")
    assert all(torch.equal(speaker.state_dict()[name], tensor) for name, tensor in emotion.state_dict().items())
    assert_near(emotion.project(z)[:, WIDTH:], z @ emotion.emotion)
    assert_near(speaker.project(z)[:, WIDTH:], z @ emotion.speaker)


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
    for line in ('"discriminant": 0,', '"view": "emotion",', '"functionals": 0.0,'):
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
