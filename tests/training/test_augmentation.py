"""Variations stay within what they say, come from their generator alone, and leave the clip as it was."""

from __future__ import annotations

import math

import pytest
import torch
from each import each
from tolerance import assert_near

from ser_fewshot.errors import SettingsError
from ser_fewshot.training.augmentation import Augmentation, augment, skip

NOTHING = {"gain": 0.0, "tone": 0.0, "tempo": 0.0, "masked_bands": 0.0, "masked_frames": 0.0}
DIM = 20


def only(**changed: float) -> Augmentation:
    return Augmentation(**{**NOTHING, "max_seconds": 3600.0, **changed})


def clip(frames: int = 200, seed: int = 0) -> torch.Tensor:
    return torch.randn(frames, DIM, generator=torch.Generator().manual_seed(seed)) - 8


def ramp(frames: int) -> torch.Tensor:
    """(frames, DIM) whose every value says which frame it is from."""
    return torch.arange(frames).float()[:, None].expand(-1, DIM)


def augmented(x: torch.Tensor, settings: Augmentation, times: int = 50) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = [augment([x], settings, generator) for _ in range(times)]
    return [item.x[0, : int(item.lengths[0])] for item in features]


def test_nothing_asked_is_nothing_done():
    for got in augmented(clip(), only()):
        assert torch.equal(got, clip())


def test_the_same_generator_gives_the_same_batch_and_another_another():
    clips = [clip(200), clip(90, 1)]

    def batch(seed: int) -> torch.Tensor:
        return augment(clips, Augmentation(), torch.Generator().manual_seed(seed)).x

    assert torch.equal(batch(1), batch(1))
    assert batch(1).shape != batch(2).shape or not torch.equal(batch(1), batch(2))


def test_the_global_generator_is_not_touched():
    before = torch.random.get_rng_state()
    augmented(clip(), Augmentation())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_long_clip_is_cut_to_a_random_part_and_a_short_one_is_left_whole():
    parts = augmented(ramp(250), only(max_seconds=1.0), times=300)
    assert {len(part) for part in parts} == {100}
    assert all(torch.equal(part[:, 0].diff(), torch.ones(99)) for part in parts)
    starts = [int(part[0, 0]) for part in parts]
    assert min(starts) <= 5
    assert max(starts) in range(145, 151)
    assert {int(part[0, 0]) for part in augmented(ramp(101), only(max_seconds=1.0))} == {0, 1}
    assert all(torch.equal(part, ramp(100)) for part in augmented(ramp(100), only(max_seconds=1.0)))


def test_gain_moves_all_bands_of_a_clip_alike_by_decibels():
    shifts = torch.stack([got - clip() for got in augmented(clip(), only(gain=6.0), times=400)])  # (400, frames, DIM)
    assert_near(shifts, shifts[:, :1, :1].expand_as(shifts), scale=clip())
    decibels = shifts[:, 0, 0] * 10 / math.log(10)
    assert abs(float(decibels.mean())) < 1.0
    assert 5.2 < float(decibels.std()) < 6.8


def test_tone_is_a_smooth_filter_that_all_frames_share():
    responses = torch.stack([got - clip() for got in augmented(clip(), only(tone=4.0), times=400)])
    assert_near(responses, responses[:, :1].expand_as(responses), scale=clip())
    decibels = responses[:, 0] * 10 / math.log(10)  # (400, DIM)
    # Three waves of random height and phase: 3 x 4^2 / 2 is the variance at every band.
    assert 4.2 < float(decibels.std()) < 5.6
    assert float(decibels.diff(dim=1).std()) < 0.5 * float(decibels.std())


def test_tempo_plays_the_same_frames_faster_or_slower_within_its_share():
    lengths = set()
    for got in augmented(ramp(200), only(tempo=0.2), times=200):
        lengths.add(len(got))
        rows = got[:, 0]
        assert rows[0] == 0
        assert rows[-1] >= 198 - 1
        assert set(rows.diff().tolist()) <= {0.0, 1.0, 2.0}
    assert 166 <= min(lengths) < 175
    assert 235 < max(lengths) <= 250


def test_masks_cover_no_more_than_their_share_with_the_mean_of_each_band():
    widths, heights = set(), set()
    for got in augmented(clip(), only(masked_bands=0.3, masked_frames=0.25), times=200):
        mean = clip().mean(0)
        bands = ((got - mean).abs() < 1e-4 * clip().abs().max()).all(0)
        frames = ((got - mean).abs() < 1e-4 * clip().abs().max()).all(1)
        widths.add(int(bands.sum()))
        heights.add(int(frames.sum()))
        unmasked = got[~frames][:, ~bands]
        assert torch.equal(unmasked, clip()[~frames][:, ~bands])
    assert max(widths) == 5  # of 20 bands: below 6
    assert min(widths) == 0
    assert 40 < max(heights) < 50  # of 200 frames


def test_what_is_not_asked_for_draws_no_random_number_so_that_old_trainings_are_repeated():
    x = torch.arange(120.0).reshape(30, 4) % 7 - 8
    generator = torch.Generator().manual_seed(7)
    got = augment([x, x[:20]], Augmentation(max_seconds=0.25), generator)
    assert got.lengths.tolist() == [25, 21]  # all of it as it was before there were rooms, noises and telephones
    assert_near(got.x[0, 0], torch.tensor([-6.902502, -6.029478, -6.878971, -4.170806]))
    assert_near(got.x[1, 10], torch.tensor([-6.687341, -6.057514, -4.945474, -3.229573]))
    assert float(torch.rand((), generator=generator)) == pytest.approx(0.74373275)


@each("name", ["rooms", "noises", "telephones"])
@each("share", [0.25, 1.0])
def test_a_share_of_the_clips_is_put_in_a_room_before_a_noise_or_behind_a_telephone(name, share):
    changed = [not torch.equal(got, clip()) for got in augmented(clip(), only(**{name: share}), times=400)]
    # Three standard deviations of 400 clips are 6.5 %; and a few telephones have a band so wide that all is heard.
    assert sum(changed) / 400 == pytest.approx(share, abs=0.065 if share < 1 else 0.03)


def test_a_room_echoes_what_was_said_a_noise_fills_its_pauses_and_a_telephone_cuts_its_edges():
    x = torch.full((200, DIM), -20.0)
    x[50:55] = 0.0
    [room], [noise], [telephone] = (augmented(x, only(**{name: 1.0}), 1) for name in ("rooms", "noises", "telephones"))
    assert (room[:50] < -17).all()  # no echo comes before its sound
    assert (room[55:58] > -10).all()
    assert (noise[:50] > -19).all()
    assert (noise[:50].mean() - noise[100:].mean()).abs() < 0.5
    kept = (telephone == x).all(0)
    assert kept[3:12].all()
    assert not kept.all()


@each(
    "settings",
    [
        Augmentation(),
        Augmentation(tempo=0, gain=0, max_seconds=0.1),
        Augmentation(rooms=0.5, noises=0.5, telephones=0.5),
    ],
)
def test_a_process_that_passes_clips_over_varies_its_own_as_one_alone_would(settings):
    clips = [clip(20 + 10 * seed, seed) for seed in range(7)]
    one, other = (torch.Generator().manual_seed(3) for _ in range(2))
    everything = augment(clips, settings, one)
    own = augment(clips, settings, other, own=[1, 4, 6])
    for place, of_all in enumerate([1, 4, 6]):
        length = everything.lengths[of_all]
        assert own.lengths[place] == length
        assert torch.equal(own.x[place, :length], everything.x[of_all, :length])
    skip(clips, settings, one)
    augment(clips, settings, other)
    assert torch.equal(one.get_state(), other.get_state())


def test_rooms_noises_and_telephones_leave_the_clip_itself_as_it_was():
    x = clip()
    augmented(x, only(rooms=1.0, noises=1.0, telephones=1.0))
    assert torch.equal(x, clip())


@each(
    "settings",
    [
        Augmentation(),
        Augmentation(max_seconds=0.01),
        Augmentation(rooms=1, noises=1, telephones=1),
        Augmentation(max_seconds=0.3, gain=40, tone=40, tempo=0.5, masked_bands=1, masked_frames=1),
    ],
)
@each("frames", [1, 3, 1000])
@each("dim", [1, 80])
def test_any_clip_stays_finite_and_keeps_at_least_a_frame(settings, frames, dim):
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        features = augment([torch.randn(frames, dim), torch.zeros(frames, dim)], settings, generator)
        assert features.x.isfinite().all()
        assert features.x.shape[2] == dim
        assert int(features.lengths.min()) >= 1
        assert int(features.lengths.max()) <= max(round(settings.max_seconds * 100), 1)


@each(
    "wrong",
    [
        {"max_seconds": 0.0},
        {"max_seconds": 0.001},
        {"max_seconds": -1.0},
        {"max_seconds": float("inf")},
        {"max_seconds": float("nan")},
        {"gain": -1.0},
        {"gain": 41.0},
        {"gain": float("nan")},
        {"tone": -0.1},
        {"tone": float("inf")},
        {"tempo": -0.1},
        {"tempo": 0.6},
        {"tempo": 1.0},
        {"masked_bands": -0.1},
        {"masked_bands": 1.1},
        {"masked_frames": 2},
        {"masked_frames": float("nan")},
        {"rooms": -0.1},
        {"noises": 1.1},
        {"telephones": float("nan")},
        {"rooms": True},
        {"gain": "3"},
        {"tempo": None},
        {"tone": True},
    ],
)
def test_an_illegal_value_is_refused_by_its_name(wrong):
    [name] = wrong
    with pytest.raises(SettingsError, match=f"augmentation, {name}"):
        Augmentation(**wrong)
