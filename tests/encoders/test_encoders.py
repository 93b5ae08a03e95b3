"""Encoders see a clip's own frames alone, and the fixed functionals are what a plain loop over one clip computes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
import torch
from each import each
from tolerance import assert_near

from ser_fewshot.encoders import Conv, Dense, Encoder, EncoderSettings, Statistics, build_encoder
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import Features, stack

DIM = 24
LENGTHS = (30, 1, 2, 11, 12, 3, 100)
KINDS = ("mean", "statistics", "dense", "conv", "transformer")
LEARNED = each("kind", ["dense", "conv"])  # beside the functionals


def clip(frames: int, dim: int = DIM, seed: int = 0) -> torch.Tensor:
    """(frames, dim) of what log-mel frames look like: around -8, bands and frames alike their neighbours."""
    rng = np.random.default_rng([seed, frames, dim])
    steps = rng.normal(size=(frames, dim)).cumsum(0) / 3 + rng.normal(size=dim).cumsum()
    return torch.from_numpy((steps - 8).astype(np.float32))


def clips() -> list[torch.Tensor]:
    return [clip(frames) for frames in LENGTHS]


def encoder(kind: str, dim: int = DIM) -> Encoder:
    """An encoder in use: scaled, and with weights that are not at their starting point."""
    torch.manual_seed(0)
    built = build_encoder(dim, EncoderSettings(name=kind, channels=16, blocks=2, width=8))
    built.fit_scale(stack([clip(frames, dim, seed=1) for frames in range(20, 60)]))
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return built.eval()


def loop(x: np.ndarray) -> np.ndarray:
    """The functionals of one clip (frames, dim), one number at a time."""
    x = x.astype(np.float64)
    n, dim = x.shape
    cepstra = scipy.fft.dct(x, type=2, norm="ortho", axis=1)[:, : min(40, dim)]

    def spread(values: np.ndarray) -> float:
        return math.sqrt(values.var() + 1e-6)

    def change(values: np.ndarray, lag: int) -> float:
        return float(np.abs(values[lag:] - values[:-lag]).mean()) if n > lag else 0.0

    found = [sorted(x[:, band])[math.floor((n - 1) * q)] for q in (0.1, 0.5, 0.9) for band in range(dim)]
    found += [spread(x[:, band]) for band in range(dim)]
    found += [change(x[:, band], lag) for lag in (1, 3, 10) for band in range(dim)]
    found += [np.abs(x[:, band + 1] - x[:, band]).mean() for band in range(dim - 1)]
    found += [column.mean() for column in cepstra.T]
    found += [spread(column) for column in cepstra.T]
    found += [change(column, 1) for column in cepstra.T]
    for row in range(min(16, dim)):
        for column in range(row):
            a, b = cepstra[:, row], cepstra[:, column]
            found.append(((a - a.mean()) * (b - b.mean())).mean() / (spread(a) * spread(b)))
    return np.array(found)


@each("dim", [1, 2, 24, 80])
def test_each_functional_is_what_a_plain_loop_computes(dim):
    statistics = Statistics(dim)
    batch = [clip(frames, dim) for frames in LENGTHS]
    got = statistics.functionals(stack(batch)).numpy()
    assert got.shape == (len(batch), statistics.width)
    for row, x in zip(got, batch, strict=True):
        assert_near(row, loop(x.numpy()), relative=0.002)


@each("frames", [1, 2, 3, 10, 11, 101, 2001])
def test_quantiles_are_frames_of_the_clip_at_every_length(frames):
    x = torch.randperm(frames, generator=torch.Generator().manual_seed(0)).float()[:, None]
    got = Statistics(1).functionals(stack([x]))[0, :3]
    assert got.tolist() == [(frames - 1) * percent // 100 for percent in (10, 50, 90)]


def test_a_silent_clip_has_no_spread_no_change_and_no_correlation():
    silent = torch.full((50, DIM), math.log(1e-8))
    got = Statistics(DIM).functionals(stack([silent]))[0].numpy()
    assert_near(got, loop(silent.numpy()), relative=0.001)
    assert np.isfinite(got).all()


@each("dim", [1, 39])
def test_widths_are_as_stated(dim):
    n_cepstra, n_correlated = min(40, dim), min(16, dim)
    functionals = 7 * dim + (dim - 1) + 3 * n_cepstra + n_correlated * (n_correlated - 1) // 2
    for settings, width in [
        (EncoderSettings(name="mean"), dim),
        (EncoderSettings(name="statistics"), functionals),
        (EncoderSettings(name="conv", channels=8, width=5), functionals + 5),
        (EncoderSettings(name="conv", channels=1, blocks=0, width=1, dropout=0), functionals + 1),
        (EncoderSettings(name="transformer", channels=8, blocks=3, width=12), 12),
        (EncoderSettings(name="transformer", channels=16, blocks=1, width=6, functionals=0.5), functionals + 6),
        (EncoderSettings(name="transformer", channels=8, blocks=1, width=2, discriminant=3), 2 + 3),
        (EncoderSettings(name="statistics", discriminant=3, recording=2), functionals + 3),
        (EncoderSettings(name="statistics", discriminant=3), functionals + 3),
    ]:
        built = build_encoder(dim, settings)
        assert built.width == width
        with torch.no_grad():
            assert built(stack([clip(20, dim), clip(1, dim)])).shape == (2, width)


@each("kind", KINDS)
@torch.no_grad()
def test_the_company_of_a_clip_changes_nothing(kind):
    built = encoder(kind)
    together = built(stack(clips()))
    for row, x in zip(together, clips(), strict=True):
        assert_near(row, built(stack([x]))[0])


@each("kind", KINDS)
@each("rubbish", [0.0, 7.0, -1e3])
@torch.no_grad()
def test_padding_changes_nothing_whatever_it_holds(kind, rubbish):
    built = encoder(kind)
    features = stack(clips())
    padding = torch.full((len(features), 13, DIM), rubbish)
    x = torch.cat([features.x.masked_fill(~features.mask[..., None], rubbish), padding], dim=1)
    assert_near(built(Features(x, features.lengths)), built(features))


@each("kind", KINDS)
@torch.no_grad()
def test_the_same_clip_gives_the_same_bits_and_training_needs_no_other_mode(kind):
    built = encoder(kind)
    first = built(stack(clips()))
    built.train()
    built(stack(clips()))
    built.eval()
    assert torch.equal(built(stack(clips())), first)


@each("kind", ["dense", "conv"])
def test_what_is_prepared_may_stand_for_the_clips(kind):
    built = encoder(kind)
    prepared = built.prepare(stack(clips()))
    assert prepared.pooled == (kind == "dense")
    assert_near(built(prepared), built(stack(clips())))
    assert built.prepare(prepared) is prepared


# Scale


def test_the_scale_is_the_mean_and_spread_of_each_functional_over_the_clips():
    statistics = Statistics(DIM)
    batch = [clip(frames) for frames in range(5, 90)]
    statistics.fit_scale(stack(batch))
    raw = np.stack([loop(x.numpy()) for x in batch])
    assert_near(statistics.mean.numpy(), raw.mean(0), relative=0.002)
    assert_near(statistics.scale.numpy(), raw.std(0), relative=0.01)
    scaled = statistics(stack(batch))
    assert scaled.abs().max() <= 5
    inside = (scaled.abs() < 5).all(0)
    assert inside.float().mean() > 0.5
    assert_near(scaled.mean(0)[inside], torch.zeros(int(inside.sum())), relative=0.001, scale=scaled)


def test_one_odd_clip_is_held_within_five_standard_deviations():
    statistics = Statistics(DIM)
    statistics.fit_scale(stack([clip(frames) for frames in range(20, 60)]))
    assert statistics(stack([1e4 * clip(30)])).abs().max() == 5


@each("kind", KINDS)
def test_a_scale_learned_from_one_clip_or_from_silence_is_finite(kind):
    for batch in ([clip(30)], [clip(1)], [torch.full((20, DIM), -18.4)] * 3):
        built = build_encoder(DIM, EncoderSettings(name=kind, channels=8, blocks=2, width=4)).eval()
        built.fit_scale(stack(batch))
        with torch.no_grad():
            assert built(stack([*batch, clip(40)])).isfinite().all()


def test_the_network_is_scaled_by_frames_of_clips_and_not_by_padding():
    conv = Conv(DIM, EncoderSettings(channels=8, width=4))
    batch = clips()
    conv.fit_scale(stack(batch))
    frames = torch.cat(batch)
    assert_near(conv.frame_mean, frames.mean(0))
    assert_near(conv.frame_scale, frames.std(0, correction=0))


# Learning


@each(
    "batch",
    [
        [clip(40), clip(7)],
        [torch.full((30, DIM), -18.4)] * 2,
        [torch.zeros(30, DIM), torch.zeros(1, DIM)],
        [clip(1), clip(1, seed=2)],
    ],
)
@each("training", [True, False])
@each("kind", ["dense", "conv", "transformer"])
def test_a_finite_gradient_reaches_every_parameter(kind, batch, training):
    learned = encoder(kind).train(training)
    z = learned(stack(batch))
    (z * torch.linspace(-1, 1, z.numel()).view_as(z)).sum().backward()
    for name, parameter in learned.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    if not (batch[0] == batch[0][0, 0]).all():
        assert all(parameter.grad.abs().sum() > 0 for parameter in learned.parameters())


@LEARNED
def test_dropout_varies_training_and_nothing_else(kind):
    learned = encoder(kind)
    features = stack(clips())
    assert torch.equal(learned(features), learned(features))
    learned.train()
    assert not torch.equal(learned(features), learned(features))


@LEARNED
def test_a_new_encoder_begins_with_the_functionals_as_they_are(kind):
    new = build_encoder(DIM, EncoderSettings(name=kind, channels=8, width=4)).eval()
    assert isinstance(new, Conv | Dense)
    new.fit_scale(stack(clips()))
    z = new(stack(clips()))
    assert_near(z[:, :-4], new.statistics(stack(clips())))
    assert z[:, -4:].square().sum() < 0.5 * z[:, :-4].square().sum()


HEADED = {"channels": 8, "blocks": 2, "width": 4}
"""Of "transformer": values for 8 heads, and two values of either block."""


@each(
    "wrong",
    [
        {"name": "resnet"},
        {"name": ""},
        {"name": None},
        {"name": ["conv"]},
        {"channels": 0},
        {"channels": -1},
        {"channels": 96.0},
        {"channels": "96"},
        {"channels": True},
        {"channels": 10**9},
        {"width": 0},
        {"width": 2.5},
        {"width": 10**9},
        {"blocks": -1},
        {"blocks": 1.0},
        {"blocks": 10**9},
        {"dropout": -0.1},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"discriminant": -1},
        {"discriminant": 2.0},
        {"discriminant": True},
        {"discriminant": 10**9},
        {"view": "gender"},
        {"view": None},
        {"functionals": 0.5},
        {"name": "transformer", **HEADED, "functionals": -0.5},
        {"name": "transformer", **HEADED, "functionals": float("nan")},
        {"name": "transformer", **HEADED, "whitening": True},
        {"name": "transformer", **HEADED, "pooled": True},
        {"name": "transformer", **HEADED, "channels": 12},
        {"name": "transformer", **HEADED, "channels": 4},
        {"name": "transformer", **HEADED, "blocks": 0},
        {"name": "transformer", **HEADED, "width": 6},
        {"name": "transformer", **HEADED, "width": 7},
    ],
)
def test_an_illegal_setting_is_refused_at_construction(wrong):
    with pytest.raises(SettingsError, match="encoder"):
        EncoderSettings(**wrong)


def test_whitened_functionals_differ_alike_in_every_direction_within_a_class():
    whitened = Statistics(2, whitening=True)
    lengths = np.random.default_rng(0).integers(20, 60, size=600)
    features = stack([clip(int(frames), 2, seed=number) for number, frames in enumerate(lengths)])
    y = torch.arange(600) % 3
    features.x[y == 1] += 3  # between the classes, which must not count
    whitened.fit_scale(features, y)
    z = whitened(features).double()
    for number in range(3):
        z[y == number] -= z[y == number].mean(0)
    spread = torch.linalg.eigvalsh(z.T @ z / len(z))
    plain = Statistics(2)
    plain.fit_scale(features)
    x = plain(features).double()
    for number in range(3):
        x[y == number] -= x[y == number].mean(0)
    before = torch.linalg.eigvalsh(x.T @ x / len(x))
    assert spread.max() < 1.5  # less than 1 / (1 - shrinkage) = 1.43, but for rounding
    assert spread.max() / spread.median() < 0.5 * before.max() / before.median()


def test_whitening_is_a_plain_linear_map_of_the_functionals_that_a_loop_computes():
    whitened, plain = Statistics(3, whitening=True), Statistics(3)
    features, y = stack([clip(20 + number, 3, seed=number) for number in range(40)]), torch.arange(40) % 4
    for built in (whitened, plain):
        built.fit_scale(features, y)
    z = plain(features).double()
    covariance = torch.zeros(z.shape[1], z.shape[1], dtype=torch.float64)
    for row, number in zip(z, y, strict=True):
        rest = row - z[y == number].mean(0)
        covariance += torch.outer(rest, rest) / len(z)
    shrunk = 0.7 * covariance + 0.3 * covariance.diagonal().mean() * torch.eye(len(covariance))
    map_ = whitened.whitener.double()
    assert_near(map_ @ shrunk @ map_.T, torch.eye(len(map_)).double(), relative=0.001)
    assert_near(whitened(features), plain(features) @ whitened.whitener)


def test_whitening_without_classes_is_refused():
    with pytest.raises(SettingsError, match="clips without class numbers"):
        Statistics(DIM, whitening=True).fit_scale(stack(clips()))
    with pytest.raises(SettingsError, match="functionals to whiten"):
        EncoderSettings(name="mean", whitening=True)


LAYERS, WIDTH = 3, 4


def described(n: int = 6, seed: int = 0) -> Features:
    """Clips as a front-end hands them over that makes one frame of a clip, of three layers side by side."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 10.0, 100.0]).repeat_interleave(WIDTH)
    return stack(list(scale * torch.randn(n, 1, LAYERS * WIDTH, generator=generator) + 3.0))


@each("name", ["statistics", "dense"])
def test_layers_of_a_description_are_brought_to_unit_scale_and_begin_with_equal_shares(name):
    features = described()
    encoder = build_encoder(LAYERS * WIDTH, EncoderSettings(name=name, layers=LAYERS, pooled=True)).eval()
    encoder.fit_scale(features)
    raw = features.x[:, 0]
    standard = (raw - raw.mean(0)) / raw.std(0, correction=0)
    expected = standard.view(-1, LAYERS, WIDTH).mean(1)
    assert_near(encoder(features)[:, :WIDTH], expected)


def test_a_layer_whose_share_is_all_decides_alone():
    features = described()
    encoder = build_encoder(LAYERS * WIDTH, EncoderSettings(name="statistics", layers=LAYERS, pooled=True))
    encoder.fit_scale(features)
    with torch.no_grad():
        next(iter(encoder.parameters())).copy_(torch.tensor([0.0, 5.0, 0.0]))
    alone = build_encoder(WIDTH, EncoderSettings(name="statistics", pooled=True))
    one = Features(features.x[:, :, WIDTH : 2 * WIDTH], features.lengths)
    alone.fit_scale(one)
    assert_near(encoder(features), alone(one))


@each("name", ["statistics", "dense"])
def test_what_is_prepared_of_layers_depends_on_no_share(name):
    features = described()
    encoder = build_encoder(LAYERS * WIDTH, EncoderSettings(name=name, layers=LAYERS, pooled=True)).eval()
    encoder.fit_scale(features)
    prepared = encoder.prepare(features)
    with torch.no_grad():
        for key, parameter in encoder.named_parameters():
            if key.endswith("layers"):
                parameter.copy_(torch.tensor([0.1, -0.1, 0.05]))
    assert torch.equal(encoder.prepare(features).x, prepared.x)
    assert_near(encoder(prepared), encoder(features))


def test_shares_of_layers_learn():
    features = described()
    encoder = build_encoder(LAYERS * WIDTH, EncoderSettings(name="statistics", layers=LAYERS, pooled=True))
    encoder.fit_scale(features)
    encoder(features).square().sum().backward()
    (shares,) = encoder.parameters()
    assert shares.grad is not None
    assert shares.grad.abs().max() > 0


@each("name", ["statistics", "mean", "conv", "dense"])
def test_layers_side_by_side_in_every_frame_are_mixed_before_the_encoder(name):
    frames = stack([clip(frames, dim=LAYERS * DIM, seed=frames).double() for frames in (9, 14)])
    settings = EncoderSettings(name=name, layers=LAYERS, channels=6, blocks=1, width=3, dropout=0.0)
    encoder = build_encoder(LAYERS * DIM, settings).double().eval()
    encoder.fit_scale(frames)
    plain = [torch.nn.functional.layer_norm(frames.x[..., n * DIM : (n + 1) * DIM], (DIM,)) for n in range(LAYERS)]
    mean = torch.stack(plain).mean(0) * frames.mask[..., None]
    assert_near(encoder(frames), encoder.inner(Features(mean, frames.lengths)))
    alone = encoder(frames.select(torch.tensor([0])))
    assert_near(alone, encoder(frames)[:1])


@each(("name", "layers"), [("conv", 1), ("conv", 3), ("mean", 3)])
def test_an_encoder_that_needs_frames_refuses_descriptions(name, layers):
    with pytest.raises(SettingsError, match=r"one frame a clip.*statistics \| dense"):
        EncoderSettings(name=name, layers=layers, pooled=True)
