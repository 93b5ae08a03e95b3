"""Rooms, noises and narrow bands do to powers what a hand-worked sum says they do."""

from __future__ import annotations

import math

import pytest
import torch
from each import each
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.audio.acoustics import (
    NEPERS_PER_DB,
    RANGE,
    band_limited,
    level,
    noisy,
    random_band,
    random_noise,
    random_room,
    reverberated,
)

SILENT = -60.0  # nepers: nothing beside a power of 1


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def click(frames: int, *, at: int = 0, bands: int = 2) -> Tensor:
    """(frames, bands) of silence but for a power of 1 in one frame."""
    x = torch.full((frames, bands), SILENT)
    x[at] = 0.0
    return x


def decibels(power: Tensor) -> Tensor:
    return 10 * power.log10()


# Level


def test_the_level_is_the_mean_over_frames_of_the_power_of_all_bands():
    x = torch.tensor([[1.0, 3.0], [5.0, 1.0], [1.0, 1.0]]).log()  # frames of power 4, 6 and 2
    assert level(x).exp().item() == pytest.approx(4.0)
    assert level(torch.stack([x, x + 2.0])).exp().tolist() == pytest.approx([4.0, 4.0 * math.exp(2)])


@each("rubbish", [-1e3, 0.0, 50.0])
def test_a_mask_leaves_the_padding_out_of_the_level(rubbish):
    x = torch.tensor([[1.0, 3.0], [5.0, 1.0], [1.0, 1.0]]).log()
    x[2] = rubbish
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert level(torch.stack([x, x]), mask).exp().tolist() == pytest.approx([5.0, 4.0])


# Rooms


def test_a_click_is_followed_by_its_echoes_whose_powers_were_worked_by_hand():
    # 60 dB in 2 frames: echoes of 10^-3 and 10^-6, which together are to be as strong as the click.
    heard = reverberated(click(6, at=1), decay=2.0, direct=0.0).exp()
    expected = torch.tensor([0.0, 1.0, 1e-3 / 1.001e-3, 1e-6 / 1.001e-3, 0.0, 0.0])
    assert_near(heard, expected[:, None].expand(-1, 2))


@each("direct", [-3.0, 0.0, 6.0])
@each("decay", [5.0, 10.0, 40.0])
def test_all_echoes_together_are_weaker_than_the_direct_sound_by_as_much_as_asked(decay, direct):
    heard = reverberated(click(60), decay=decay, direct=direct).exp()[:, 0]
    assert heard[0].item() == pytest.approx(1.0)
    assert decibels(heard[1:].sum()).item() == pytest.approx(-direct, abs=1e-3)
    fall = -decibels(heard[1 : int(decay) + 1]).diff()
    assert fall.tolist() == pytest.approx([60 / decay] * len(fall), abs=1e-3)


def test_a_steady_sound_becomes_louder_by_its_echoes():
    heard = reverberated(torch.zeros(30, 3), decay=8.0, direct=0.0)
    assert_near(heard[8:].exp(), torch.full((22, 3), 2.0))
    assert (heard[:8].diff(dim=0) > 0).all()


def test_bands_echo_each_by_itself_and_powers_add_up():
    first, second = click(20, bands=1), click(20, at=4, bands=1) + 1.0
    both = torch.logaddexp(first, second)
    alone = [reverberated(x, decay=7.0, direct=2.0).exp() for x in (first, second)]
    beside = reverberated(torch.cat([first, both], 1), decay=7.0, direct=2.0).exp()
    assert_near(beside, torch.cat([alone[0], alone[0] + alone[1]], 1))


@each("frames", [1, 2, 5])
def test_a_room_that_rings_longer_than_the_clip_adds_no_frame(frames):
    heard = reverberated(torch.zeros(frames, 4), decay=70.0, direct=0.0)
    assert heard.shape == (frames, 4)
    assert_near(heard[0], torch.zeros(4))


# Noises


def noise_of(x: Tensor, *, seed: int = 0, **told: float) -> Tensor:
    """(frames, bands) the power that a noise adds to a clip."""
    return noisy(x, generator=seeded(seed), **told).double().exp() - x.double().exp()


@each("snr", [-5.0, 0.0, 5.0])
@each("tilt", [-4.0, 0.0, 2.0])
def test_a_noise_is_on_average_as_much_weaker_than_the_clip_as_asked(snr, tilt):
    x = torch.randn(4_000, 20, generator=seeded(1)) - 8
    added = noise_of(x, snr=snr, tilt=tilt).sum(1).mean()
    assert decibels(x.double().exp().sum(1).mean() / added).item() == pytest.approx(snr, abs=0.25)


def test_a_noise_is_measured_against_the_clip_and_not_in_absolute_power():
    x = torch.randn(50, 8, generator=seeded(1))
    quiet, loud = (noisy(y, snr=3.0, tilt=0.0, generator=seeded()) for y in (x - 9, x))
    assert_near(quiet + 9, loud)


def test_a_noise_has_the_tilt_that_is_asked_once_its_random_bends_are_averaged_out():
    n_bands = 16
    place = torch.arange(n_bands, dtype=torch.float64) / n_bands
    x = torch.zeros(200, n_bands)
    colours = torch.stack([noise_of(x, snr=0.0, tilt=-3.0, seed=seed).mean(0).log() for seed in range(200)])
    colour = colours.mean(0)
    assert_near(colour - colour.mean(), -3.0 * (place - place.mean()), relative=0.15)
    assert (colours - colour).std() > 0.3  # but each has a colour of its own


def test_a_noise_is_steady_in_level_but_flutters_from_frame_to_frame_as_a_band_of_noise_does():
    power = noise_of(torch.zeros(5_000, 1), snr=0.0, tilt=0.0)
    relative = power / power.mean()
    assert relative.var().item() == pytest.approx(1 / 3, abs=0.05)  # of a gamma distribution of shape 3
    first, second = relative[:2_500].mean(), relative[2_500:].mean()
    assert first.item() == pytest.approx(second.item(), abs=0.05)


def test_a_noise_takes_nothing_away_and_comes_from_its_generator_alone():
    x, before = torch.randn(50, 8), torch.random.get_rng_state()
    first, second, other = (noisy(x, snr=0.0, tilt=1.0, generator=seeded(seed)) for seed in (0, 0, 1))
    assert (first >= x).all()
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


# Bands


def test_bands_beyond_the_limits_fall_silent_and_the_others_stay():
    x = torch.randn(30, 10, generator=seeded())
    heard = band_limited(x, low=0.2, high=0.8)
    assert torch.equal(heard[:, 2:8], x[:, 2:8])
    outside = heard[:, [0, 1, 8, 9]]
    assert_near(outside, (level(x) - RANGE).expand(30, 4))
    assert torch.equal(band_limited(x, low=0.0, high=1.0), x)


# At random


def test_a_random_room_has_echoes_from_3_db_above_to_10_db_below_the_direct_sound():
    generator = seeded()
    heard = torch.stack([random_room(click(80, bands=1), generator)[:, 0].exp() for _ in range(300)])
    ratio = -decibels(heard[:, 1:].sum(1))
    assert -3.001 < ratio.min() < -2.5
    assert 9.5 < ratio.max() < 10.001
    lasting = (heard[:, 1:] > 1e-9).sum(1)  # frames
    assert 10 <= lasting.min() < 13
    assert 67 < lasting.max() <= 70


def test_a_random_noise_is_3_to_30_db_weaker():
    x, generator = torch.full((300, 40), 0.0), seeded()
    added = torch.stack([random_noise(x, generator).double().exp().sub(1).sum(1).mean() for _ in range(300)])
    snr = decibels(40 / added)
    assert 2.7 < snr.min() < 4
    assert 29 < snr.max() < 30.3


def test_a_random_band_keeps_at_least_what_a_telephone_does():
    x, generator = torch.zeros(3, 100), seeded()
    kept = [(random_band(x, generator)[0] == 0).nonzero().flatten() for _ in range(300)]
    lowest, highest = (torch.tensor([int(bands[end]) for bands in kept]) for end in (0, -1))
    assert all(torch.equal(bands.diff(), torch.ones(len(bands) - 1, dtype=bands.dtype)) for bands in kept)
    assert (lowest.min(), lowest.max()) == (0, 13)
    assert highest.min() in (65, 66)
    assert highest.max() == 99


def test_ten_decibels_are_a_power_of_ten():
    assert math.exp(10 * NEPERS_PER_DB) == pytest.approx(10.0)
