"""The encoder that is taught hears no gain, sees a clip as a whole and in order, and says of it what blocks say."""

from __future__ import annotations

import math

import pytest
import torch
from each import each
from tolerance import assert_near
from torch import Tensor

from ser_fewshot.audio.acoustics import RANGE, level
from ser_fewshot.encoders import (
    CHUNK,
    HEADS,
    STRIDE,
    Block,
    EncoderSettings,
    Statistics,
    Transformer,
    normalise_level,
    sinusoids,
    windows,
)
from ser_fewshot.frontends import stack

DIM = 24
LENGTHS = (30, 1, 2, 3, 4, 5, 7, 8, 9, 100)
SAID = 4
WIDTH = 2 * SAID


def clip(frames: int, seed: int = 0) -> Tensor:
    """(frames, DIM) whose quietest band is well within RANGE of the clip's level."""
    generator = torch.Generator().manual_seed(1_000 * seed + frames)
    return torch.randn(frames, DIM, generator=generator) - 8


def clips() -> list[Tensor]:
    return [clip(frames) for frames in LENGTHS]


def student(**told: float) -> Transformer:
    """An encoder in use: scaled, and with weights that are not at their starting point."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = Transformer(DIM, EncoderSettings(name="transformer", channels=16, blocks=2, width=WIDTH, **told))
        built.fit_scale(stack([clip(frames, seed=1) for frames in range(20, 60)]))
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return built.eval()


@each("functionals", [0.0, 0.5])
@each("gain", [-12.0, -3.3, 5.0])
@torch.no_grad()
def test_a_gain_changes_nothing(functionals, gain):
    built = student(functionals=functionals)
    quiet = built(stack([x + gain for x in clips()]))
    assert_near(quiet, built(stack(clips())))


@torch.no_grad()
def test_what_is_further_below_the_level_than_the_range_is_silence_however_deep():
    built, floor = student(), level(clip(30)) - RANGE
    holes = [clip(30).index_fill(0, torch.tensor([4, 5, 20]), value) for value in (floor - 1, floor - 30)]
    first, second = built(stack(holes))
    assert_near(first, second)
    assert (first - built(stack([clip(30)]))[0]).abs().max() > 1e-2


def test_clips_are_levelled_by_their_own_frames_and_padding_stays_zero():
    features = stack(clips())
    x = normalise_level(features)
    for row, own in zip(x.x, clips(), strict=True):
        assert_near(row[: len(own)], own - own.exp().sum(1).mean().log())
        assert (row[len(own) :] == 0).all()
    assert x.x.min() >= -RANGE
    assert torch.equal(x.lengths, features.lengths)


@torch.no_grad()
def test_two_frames_of_the_front_end_become_one_and_no_frame_is_lost():
    frames, mask = student().frames(stack(clips()))
    assert mask.sum(1).tolist() == [15, 1, 1, 2, 2, 3, 4, 4, 5, 50]
    assert frames.shape == (len(LENGTHS), 100 // STRIDE, SAID)


@torch.no_grad()
def test_a_frame_is_the_same_alone_and_in_any_batch():
    built = student()
    together, mask = built.frames(stack(clips()))
    for row, own in enumerate(clips()):
        alone, whole = built.frames(stack([own]))
        assert whole.all()
        assert_near(together[row][mask[row]], alone[0])


@torch.no_grad()
def test_every_frame_knows_the_whole_clip():
    built = student()
    first = torch.cat([clip(200), clip(200, seed=2)])
    second = torch.cat([clip(200), 0.3 * clip(200, seed=3) - 5.6])
    second[200:] += level(first[200:]) - level(second[200:])  # the level of neither tells them apart
    (one, other), _ = built.frames(stack([first, second]))
    assert (one[0] - other[0]).abs().max() > 1e-3  # two seconds before the first difference
    (one, other), _ = built.stem(normalise_level(stack([first, second])))  # before the first block
    assert_near(one[:99], other[:99])
    assert (one[99] - other[99]).abs().max() > 1e-2  # it sees frames 196 to 200


@torch.no_grad()
def test_the_functionals_stand_beside_with_the_weight_that_is_asked_for_all_of_them_together():
    weighed, alone = student(functionals=0.5), student()
    alone.load_state_dict(weighed.state_dict(), strict=False)
    z, features = weighed(stack(clips())), stack(clips())
    assert_near(z[:, :WIDTH], alone(features))
    statistics = Statistics(DIM)
    statistics.load_state_dict(weighed.statistics.state_dict())
    # 0.5 times as long as 8 values of unit spread, however many functionals there are.
    share = 0.5 * (8 / statistics.width) ** 0.5
    assert_near(z[:, WIDTH:], share * statistics(normalise_level(features)))
    unit = torch.full((statistics.width,), share)
    assert unit.norm().item() == pytest.approx(0.5 * torch.ones(8).norm().item())


def test_bands_are_scaled_by_frames_of_clips_at_one_level_and_not_by_padding():
    built, loud = (
        Transformer(DIM, EncoderSettings(name="transformer", channels=8, blocks=1, width=6)) for _ in range(2)
    )
    built.fit_scale(stack(clips()))
    frames = torch.cat([x - level(x) for x in clips()])
    assert_near(built.band_mean, frames.mean(0))
    assert_near(built.band_scale, frames.std(0, correction=0))
    loud.fit_scale(stack([x + 0.7 * number for number, x in enumerate(clips())]))
    assert_near(loud.band_mean, built.band_mean)


# Its parts, by hand


@each(
    ("stride", "expected"),
    [
        (1, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 0]]),
        (2, [[0, 1, 2], [2, 3, 4], [4, 5, 0]]),
    ],
)
def test_a_window_is_a_frame_between_its_neighbours_and_silence_is_beyond_both_ends(stride, expected):
    x = torch.arange(1.0, 6.0)
    found = windows(torch.stack([x, 10 * x], 1)[None], stride=stride)[0]
    assert found[:, ::2].tolist() == expected
    assert found[:, 1::2].tolist() == [[10 * value for value in row] for row in expected]


@each("frames", [1, 2, 9, 10])
@torch.no_grad()
def test_a_linear_layer_on_windows_is_a_convolution(frames):
    built, x = student(), clip(frames)[None]
    kernel = built.conv1.weight.unflatten(1, (3, DIM)).mT  # (channels, DIM, 3)
    for stride in (1, 2):
        expected = torch.nn.functional.conv1d(x.mT, kernel, built.conv1.bias, stride=stride, padding=1).mT
        assert_near(built.conv1(windows(x, stride=stride)), expected)


def test_places_are_sines_and_cosines_of_waves_from_6_to_60000_frames():
    found = sinusoids(3)
    assert found.shape == (3, 512)
    assert found[0].tolist() == [0.0] * 256 + [1.0] * 256
    # Columns 0 and 256 turn by a radian a frame, 255 and 511 by a ten-thousandth of it.
    assert found[:, 0].tolist() == pytest.approx([0, 0.841471, 0.909297], abs=1e-5)
    assert found[:, 256].tolist() == pytest.approx([1, 0.540302, -0.416147], abs=1e-5)
    assert found[2, 255].item() == pytest.approx(0.0002, abs=1e-7)
    assert found[:, 254].tolist() == pytest.approx([0, 0.0001036776, 0.0002073552], rel=1e-3)


@torch.no_grad()
def test_a_frame_in_another_place_is_said_otherwise_and_only_places_tell_it_apart():
    built, same = student(), stack([clip(1).expand(40, DIM)])
    said, _ = built.frames(same)
    inner = said[0, 1:-1]  # the first and the last have silence beside them
    assert (inner[1:] - inner[:-1]).abs().max(1).values.min() > 1e-3
    built.pos_proj.weight.zero_()
    said, _ = built.frames(same)
    assert_near(said[0, 2:-1], said[0, 1:-2])


@torch.no_grad()
def test_a_head_weighs_the_frames_of_the_clip_by_a_plain_loop():
    torch.manual_seed(0)
    block, lengths = Block(16).eval(), [5, 2]
    x = torch.randn(2, 5, 16)
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    found = block.attention(x, mask[:, None, None])
    for row, n in enumerate(lengths):
        queries, keys, values = block.qkv(block.attention_norm(x[row])).chunk(3, 1)
        for head in range(HEADS):
            at = slice(2 * head, 2 * head + 2)  # 16 values for 8 heads
            for place in range(n):
                scores = [math.exp(float(queries[place, at] @ keys[other, at]) / math.sqrt(2)) for other in range(n)]
                expected = sum(score * values[other, at] for other, score in enumerate(scores)) / sum(scores)
                assert_near(found[row, place, at], expected)


def _silence(*layers: torch.nn.Linear) -> None:
    for layer in layers:
        layer.weight.zero_()
        layer.bias.zero_()


@torch.no_grad()
def test_a_block_that_answers_nothing_hands_on_its_frames():
    torch.manual_seed(0)
    block, x = Block(16).eval(), torch.randn(1, 5, 16)
    both = block(x, None)
    _silence(block.fc2)
    assert (block(x, None) - both).abs().max() > 1e-2
    assert_near(block(x, None), x + block.out_proj(block.attention(x, None)))
    _silence(block.out_proj)
    assert torch.equal(block(x, None), x)


@torch.no_grad()
def test_a_clip_said_again_and_again_is_heard_as_the_clip():
    built, whole = student(), clip(CHUNK * STRIDE)
    once, often = (built.frames(stack([whole.repeat(times, 1)]))[0][0] for times in (1, 4))
    for piece in often.split(CHUNK):  # but for frames whose neighbours are of another piece, and what sees these
        assert_near(piece.mean(0), once.mean(0), relative=0.02)
    assert_near(built(stack([whole.repeat(4, 1)])), built(stack([whole])), relative=0.02)


@torch.no_grad()
def test_a_long_clip_is_the_same_alone_and_in_any_batch():
    built, lengths = student(), (CHUNK * STRIDE + 1, 30, 3 * CHUNK * STRIDE + 7)
    together = built(stack([clip(n) for n in lengths]))
    for row, n in enumerate(lengths):
        assert_near(built(stack([clip(n)]))[0], together[row])


@torch.no_grad()
def test_what_a_block_says_stands_in_its_place_and_depends_on_no_later_block():
    built, features = student(), stack(clips())
    before, _ = built.frames(features)
    _silence(built.blocks[1].fc2)
    after, _ = built.frames(features)
    assert torch.equal(after[..., : SAID // 2], before[..., : SAID // 2])
    assert (after[..., SAID // 2 :] - before[..., SAID // 2 :]).abs().max() > 1e-2
    _silence(built.layer_heads[0])
    after, _ = built.frames(features)
    assert (after[..., : SAID // 2] == 0).all()
    assert (after[..., SAID // 2 :] != 0).any()


@torch.no_grad()
def test_a_clip_is_mean_and_deviation_of_its_frames_from_the_mean_in_units_of_the_scale():
    built = Transformer(DIM, EncoderSettings(name="transformer", channels=8, blocks=1, width=4))
    frames = torch.tensor([[[1.0, -4.0], [3.0, -4.0], [100.0, 100.0]]])
    mask = torch.tensor([[True, True, False]])
    # Means 2 and -4, deviations 1 and, as none, the root of a millionth.
    assert_near(built.pool(frames, mask), torch.tensor([[2.0, -4.0, 1.0, 0.001]]))
    built.mean.copy_(torch.tensor([1.0, -4.0, 0.5, 0.0]))
    built.scale.copy_(torch.tensor([2.0, 1.0, 0.25, 0.1]))
    assert_near(built.pool(frames, mask), torch.tensor([[0.5, 0.0, 2.0, 0.01]]))


@torch.no_grad()
def test_the_embedding_is_what_is_pooled_of_the_frames():
    built, features = student(), stack(clips())
    built.mean.fill_(0.3)
    built.scale.fill_(0.7)
    assert_near(built(features), built.pool(*built.frames(features)))
    for row, own in zip(built(features), clips(), strict=True):
        said = built.frames(stack([own]))[0][0]
        expected = torch.cat([said.mean(0), (said.var(0, correction=0) + 1e-6).sqrt()])
        assert_near(row, (expected - 0.3) / 0.7)
