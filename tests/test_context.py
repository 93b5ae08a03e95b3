"""The encoder that is taught hears no gain, sees a clip as a whole, and has functionals beside it if asked."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ser_fewshot._acoustics import RANGE, level
from ser_fewshot.encoders import STRIDE, Context, EncoderSettings, Statistics, levelled
from ser_fewshot.frontends import Features, stack

DIM = 24
LENGTHS = (30, 1, 2, 3, 4, 5, 7, 8, 9, 100)


def clip(frames: int, seed: int = 0) -> Tensor:
    """(frames, DIM) whose quietest band is well within RANGE of the clip's level."""
    generator = torch.Generator().manual_seed(1_000 * seed + frames)
    return torch.randn(frames, DIM, generator=generator) - 8


def clips() -> list[Tensor]:
    return [clip(frames) for frames in LENGTHS]


def context(**told: float) -> Context:
    """An encoder in use: scaled, and with weights that are not at their starting point."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = Context(DIM, EncoderSettings(name="context", channels=8, blocks=2, width=6, **told))
        built.fit_scale(stack([clip(frames, seed=1) for frames in range(20, 60)]))
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return built.eval()


@pytest.mark.parametrize("functionals", [0.0, 0.5])
@pytest.mark.parametrize("gain", [-12.0, -3.3, 5.0])
@torch.no_grad()
def test_a_gain_changes_nothing(functionals, gain):
    built = context(functionals=functionals)
    quiet = built(stack([x + gain for x in clips()]))
    torch.testing.assert_close(quiet, built(stack(clips())), rtol=0, atol=1e-4)


@torch.no_grad()
def test_what_is_further_below_the_level_than_the_range_is_silence_however_deep():
    built, floor = context(), level(clip(30)) - RANGE
    holes = [clip(30).index_fill(0, torch.tensor([4, 5, 20]), value) for value in (floor - 1, floor - 30)]
    first, second = built(stack(holes))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-4)
    assert (first - built(stack([clip(30)]))[0]).abs().max() > 1e-2


def test_clips_are_levelled_by_their_own_frames_and_padding_stays_zero():
    features = stack(clips())
    x = levelled(features)
    for row, own in zip(x.x, clips(), strict=True):
        torch.testing.assert_close(row[: len(own)], own - own.exp().sum(1).mean().log(), rtol=0, atol=1e-4)
        assert (row[len(own) :] == 0).all()
    assert x.x.min() >= -RANGE
    assert torch.equal(x.lengths, features.lengths)


@torch.no_grad()
def test_four_frames_of_the_front_end_become_one_and_no_frame_is_lost():
    frames, mask = context().frames(stack(clips()))
    assert mask.sum(1).tolist() == [-(-length // STRIDE) for length in LENGTHS]
    assert frames.shape == (len(LENGTHS), 100 // STRIDE, 8)


@torch.no_grad()
def test_a_frame_is_the_same_alone_and_in_any_batch():
    built = context()
    together, mask = built.frames(stack(clips()))
    for row, own in enumerate(clips()):
        alone, whole = built.frames(stack([own]))
        assert whole.all()
        torch.testing.assert_close(together[row][mask[row]], alone[0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_every_frame_knows_the_whole_clip():
    built = context()
    first = torch.cat([clip(200), clip(200, seed=2)])
    second = torch.cat([clip(200), 0.3 * clip(200, seed=3) - 5.6])
    second[200:] += level(first[200:]) - level(second[200:])  # the level of neither tells them apart
    (one, other), _ = built.frames(stack([first, second]))
    assert (one[0] - other[0]).abs().max() > 1e-3  # two seconds before the first difference
    gateless = Context(DIM, EncoderSettings(name="context", channels=8, blocks=0, width=6)).eval()
    (one, other), _ = gateless.frames(stack([first, second]))
    torch.testing.assert_close(one[:48], other[:48], rtol=0, atol=1e-5)


@torch.no_grad()
def test_the_functionals_stand_beside_with_the_weight_that_is_asked_for_all_of_them_together():
    weighed, alone = context(functionals=0.5), context()
    alone.load_state_dict(weighed.state_dict(), strict=False)
    z, features = weighed(stack(clips())), stack(clips())
    torch.testing.assert_close(z[:, :6], alone(features))
    statistics = Statistics(DIM)
    statistics.load_state_dict(weighed.statistics.state_dict())
    # 0.5 times as long as 6 values of unit spread, however many functionals there are.
    share = 0.5 * (6 / statistics.width) ** 0.5
    torch.testing.assert_close(z[:, 6:], share * statistics(levelled(features)))
    unit = torch.full((statistics.width,), share)
    assert unit.norm().item() == pytest.approx(0.5 * torch.ones(6).norm().item())


def test_bands_are_scaled_by_frames_of_clips_at_one_level_and_not_by_padding():
    built, loud = (Context(DIM, EncoderSettings(name="context", channels=8, width=6)) for _ in range(2))
    built.fit_scale(stack(clips()))
    frames = torch.cat([x - level(x) for x in clips()])
    torch.testing.assert_close(built.band_mean, frames.mean(0), rtol=0, atol=1e-4)
    torch.testing.assert_close(built.band_scale, frames.std(0, correction=0), rtol=0, atol=1e-4)
    loud.fit_scale(stack([x + 0.7 * number for number, x in enumerate(clips())]))
    torch.testing.assert_close(loud.band_mean, built.band_mean, rtol=0, atol=1e-4)


@torch.no_grad()
def test_a_batch_may_hold_rubbish_where_it_is_padded():
    built, features = context(functionals=0.5), stack(clips())
    x = features.x.masked_fill(~features.mask[..., None], 1e3)
    longer = Features(torch.nn.functional.pad(x, (0, 0, 0, 9), value=-1e3), features.lengths)
    torch.testing.assert_close(built(longer), built(features), rtol=0, atol=1e-5)
