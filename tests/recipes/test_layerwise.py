"""A student that begins layer by layer says at once what its teacher says, as nearly as its width allows."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from default_model import layerwise
from each import each
from tiny_encoders import tiny
from tolerance import assert_near
from torch import Tensor, nn

from ser_fewshot.audio.acoustics import level
from ser_fewshot.encoders import HEADS, EncoderSettings, Transformer
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import analyse, stack
from ser_fewshot.frontends.logmel import LogMel, Settings
from ser_fewshot.frontends.pretrained.frontend import Pretrained

EARS = LogMel(Settings(n_fft=400, f_min=0.0))  # the very bands of Whisper
WIDTH, UNITS, BLOCKS = 32, 128, 2  # of the teacher


@functools.cache
def teacher(layer: int = BLOCKS, heads: int = HEADS) -> Pretrained:
    """A random Whisper, only to be read; positions are sines and cosines as published, and heads pick and choose."""
    built = tiny("whisper", encoder_layers=3, encoder_attention_heads=heads, encoder_ffn_dim=UNITS)
    frontend = built.frontend(layer=layer, pooling="frames")
    rates = torch.exp(torch.arange(WIDTH // 2) * (-math.log(10_000) / (WIDTH // 2 - 1)))
    angles = torch.arange(1_500)[:, None] * rates
    state = frontend.network.state_dict()
    sharper = {name: 8 * tensor for name, tensor in state.items() if "q_proj" in name}
    places = {"embed_positions.weight": torch.cat([angles.sin(), angles.cos()], 1)}
    frontend.network.load_state_dict({**state, **sharper, **places})
    return frontend


def noise(n: int, *, seed: int) -> list[Tensor]:
    """Clips of one to three seconds, which swell and fade, as loud as each other to the student."""
    generator, made = torch.Generator().manual_seed(seed), []
    for number in range(n):
        length = int(torch.randint(16_000, 48_000, (), generator=generator))
        swell = 1.2 + torch.sin(2 * math.pi * (2 + number % 3) * torch.arange(length) / 16_000 + number)
        wave = swell * torch.randn(length, generator=generator)
        made.append(wave * torch.exp(-level(EARS.analyse([wave])[0]) / 2))
    return made


@functools.cache
def heard() -> tuple[Tensor, ...]:
    """What students begin with."""
    return tuple(noise(12, seed=0))


def student(channels: int = WIDTH, *, seed: int = 0, blocks: int = BLOCKS, said: int = BLOCKS * WIDTH) -> Transformer:
    """A new student, scaled to what it is to hear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        told = EncoderSettings(name="transformer", channels=channels, blocks=blocks, width=2 * said)
        made = Transformer(EARS.dim, told)
    made.fit_scale(stack(analyse(EARS, heard())))
    return made.eval()


def begin(made: Transformer, *, of: Pretrained | None = None, waveforms: Sequence[Tensor] = ()) -> Transformer:
    layerwise.initialise(made, of or teacher(), frontend=EARS, waveforms=waveforms or heard())
    return made


@functools.cache
def begun(channels: int) -> Transformer:
    """A student of a width that has begun; only to be read."""
    return begin(student(channels))


@torch.no_grad()
def off(made: Transformer, waveforms: Sequence[Tensor]) -> list[float]:
    """How far what each block says is from what the teacher's does, relative to how far that is from its mean."""
    told = [teacher(layer).analyse(waveforms) for layer in range(1, BLOCKS + 1)]
    wanted = [torch.cat(layers, 1) for layers in zip(*told, strict=True)]
    clips = [clip[: 2 * len(x)] for clip, x in zip(analyse(EARS, waveforms), wanted, strict=True)]
    said = [made.frames(stack([clip]))[0][0] for clip in clips]
    x = torch.cat([theirs[: len(ours)] for theirs, ours in zip(wanted, said, strict=True)])
    error = (torch.cat(said) - x).square().sum(0)
    spread = (x - x.mean(0)).square().sum(0)
    return [math.sqrt(float(e.sum() / s.sum())) for e, s in zip(error.split(WIDTH), spread.split(WIDTH), strict=True)]


# What a student says


def test_a_student_as_wide_as_its_teacher_says_what_that_says_of_clips_that_it_never_heard():
    assert max(off(begun(WIDTH), noise(4, seed=1))) < 0.05  # 0.09 if heads are taken for others


def test_a_narrower_student_says_it_the_worse_the_narrower_but_better_than_a_new_one():
    strange = noise(4, seed=1)
    errors = [off(made, strange) for made in (begun(WIDTH), begun(16), begun(8), student(8))]
    for ours, narrower in itertools.pairwise(errors):
        assert all(2 * one < other for one, other in zip(ours, narrower, strict=True)), errors
    assert max(errors[1]) < 0.3
    assert max(errors[2]) < 0.7  # 1 would be to know the mean alone
    assert min(errors[3]) > 1.5


def test_the_same_clips_make_the_same_student_whatever_it_was_before():
    found = begin(student(16, seed=1)).state_dict()
    for name, tensor in begun(16).state_dict().items():
        assert torch.equal(found[name], tensor), name


def test_every_layer_is_set_and_no_scale():
    new = student(16).state_dict()
    moved = {name for name, tensor in begun(16).state_dict().items() if not torch.equal(tensor, new[name])}
    assert moved == {
        name for name, _ in student(16).named_parameters() if "norm" not in name
    }  # those have no scale of their own
    assert all(parameter.requires_grad for parameter in begun(16).parameters())  # it is to be taught further
    assert all(parameter.isfinite().all() for parameter in begun(16).parameters())


def test_how_the_clips_are_ordered_matters_little():
    [one, other] = (begun(WIDTH), begin(student(), waveforms=heard()[::-1]))
    strange = noise(4, seed=1)
    assert off(other, strange) == pytest.approx(off(one, strange), rel=0.2)


# What is left behind


def hooks(frontend: Pretrained) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in frontend.network.modules())


def test_nothing_of_the_teacher_is_changed():
    before, identity = {name: x.clone() for name, x in teacher().network.state_dict().items()}, teacher().identity
    said = teacher().analyse(heard()[:2])
    begin(student(8))
    assert hooks(teacher()) == 0
    after = teacher().network.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], x) for name, x in before.items())
    assert teacher().identity == identity
    assert all(torch.equal(x, y) for x, y in zip(teacher().analyse(heard()[:2]), said, strict=True))


def test_a_teacher_that_is_stopped_is_listened_to_no_longer(monkeypatch):
    seen: list[int] = []

    def stopped(frontend: Pretrained, *_: object) -> list[Tensor]:
        seen.append(hooks(frontend))
        raise KeyboardInterrupt

    monkeypatch.setattr(Pretrained, "analyse", stopped)
    with pytest.raises(KeyboardInterrupt):
        begin(student(8))
    assert seen == [2 + 6 * BLOCKS + 1]  # two convolutions, each block six times, and what leaves the last
    assert hooks(teacher()) == 0


# What is refused


@each(
    ("of", "told", "found"),
    [
        (lambda: tiny("hubert").frontend(layer=2, pooling="frames"), {}, "for 2 blocks of hubert"),
        (lambda: teacher(1), {}, "for 1 blocks of whisper"),
        (lambda: tiny("whisper").frontend(layer="weighted"), {"blocks": 1, "said": WIDTH}, "for 2 blocks of whisper"),
        (teacher, {"said": BLOCKS * WIDTH + 2}, "2 blocks of .* and 66 values"),
        (teacher, {"blocks": 1}, "1 blocks of .* and 64 values"),
    ],
)
def test_a_teacher_whose_layers_are_not_those_of_the_student_is_refused_and_nothing_is_set(of, told, found):
    made = student(8, **told)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    with pytest.raises(SettingsError, match=f"student: .*{found}"):
        begin(made, of=of())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())


# Its parts, by hand


def test_the_best_line_through_points():
    x, y = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[1.0, 6.0], [3.0, 6.0], [5.0, 3.0]])
    weight, bias = layerwise._least_squares(x, y)
    # y = 1 + 2 x, and 6.5 - 1.5 x, each a ten-thousandth flatter.
    assert_near(weight, torch.tensor([[2.0], [-1.5]]), relative=0.0002)
    assert_near(bias, torch.tensor([1.0, 6.5]), relative=0.0003)
    layer = nn.Linear(1, 2).requires_grad_(requires_grad=False)
    layerwise._fit(layer, x, y)
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)


def test_units_that_say_what_others_say_are_not_chosen():
    first, second = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    units = torch.stack([0.1 * first + 9, second, torch.full((50,), 100.0), 2 * first, first + 0.01 * second], 1)
    assert layerwise._representative(units, 1).tolist() == [3]
    assert layerwise._representative(units, 2).tolist() == [1, 3]


def test_the_axes_of_a_stream_are_those_it_moves_along_most_without_what_all_values_share():
    one, other = torch.tensor([1.0, -1.0, 0.0]) / math.sqrt(2), torch.tensor([1.0, 1.0, -2.0]) / math.sqrt(6)
    stream = torch.tensor([[3.0, 1.0], [-3.0, 1.0], [3.0, -1.0], [-3.0, -1.0]]) @ torch.stack([one, other])
    axes = layerwise._axes([stream + 50], n=2)
    assert_near((axes.T @ torch.stack([one, other]).T).abs(), torch.eye(2))


def test_a_deep_layer_that_is_loud_decides_no_more_about_the_axes_than_others():
    one, other = torch.tensor([1.0, -1.0, 0.0]) / math.sqrt(2), torch.tensor([1.0, 1.0, -2.0]) / math.sqrt(6)
    signs = torch.tensor([[1.0], [-1.0]])
    # Of the two layers that count, both move along the first axis; the one that moves along the other is loud.
    axes = layerwise._axes([signs * one, signs * 2 * one, signs * 1_000 * other], n=1)
    assert_near((axes[:, 0] @ one).abs(), torch.tensor(1.0))


def of_heads(width: int, *, rank: int, n: int = 60) -> dict[str, Tensor]:
    """Queries, keys and values of 8 heads, those of each within `rank` dimensions, and not all as large."""
    generator = torch.Generator().manual_seed(0)

    def made() -> Tensor:
        inner = torch.randn(HEADS, n, rank, generator=generator) * torch.linspace(0.5, 2, rank)
        outer = torch.randn(HEADS, rank, width, generator=generator)
        return torch.cat(list(inner @ outer), 1)

    return {name: made() for name in ("queries", "keys", "values")}


def assert_same_heads(told: dict[str, Tensor], found: Tensor, *, width: int, full: int) -> None:
    """Scores, over the root of the width, are the same; and so is how values lie to each other."""
    queries, keys, values = (part.unflatten(1, (HEADS, width)).transpose(0, 1) for part in found.chunk(3, 1))
    theirs = {name: x.unflatten(1, (HEADS, full)).transpose(0, 1) for name, x in told.items()}
    scores = theirs["queries"] @ theirs["keys"].mT / math.sqrt(full)
    assert_near(queries @ keys.mT / math.sqrt(width), scores, relative=0.002)
    assert_near(values @ values.mT, theirs["values"] @ theirs["values"].mT, relative=0.002)


def test_heads_at_full_width_attend_as_the_teachers_do():
    told = of_heads(4, rank=4)
    found = layerwise._heads(told, width=4)
    assert found.shape == (60, 3 * 4 * HEADS)
    assert_same_heads(told, found, width=4, full=4)


def test_narrower_heads_attend_as_the_teachers_do_if_these_need_no_more():
    told = of_heads(6, rank=2)
    assert_same_heads(told, layerwise._heads(told, width=2), width=2, full=6)


def test_of_what_heads_see_that_is_kept_in_which_they_see_most():
    told = of_heads(4, rank=4)
    found = layerwise._heads(told, width=2)
    for head in range(HEADS):
        queries, keys, values = (
            found[:, 2 * HEADS * part + 2 * head : 2 * HEADS * part + 2 * head + 2] for part in range(3)
        )
        of_teacher = {name: x[:, 4 * head : 4 * head + 4] for name, x in told.items()}
        # No matrix of rank 2 is nearer (Eckart and Young, 1936) than what the two largest singular values make.
        scores = of_teacher["queries"] @ of_teacher["keys"].T / math.sqrt(4)
        rest = torch.linalg.svdvals(scores)[2:].norm()
        assert (queries @ keys.T / math.sqrt(2) - scores).norm() == pytest.approx(float(rest), rel=1e-2)
        rest = torch.linalg.svdvals(of_teacher["values"])[2:].square().sum()
        lost = of_teacher["values"].square().sum() - values.square().sum()
        assert float(lost) == pytest.approx(float(rest), rel=1e-2)
