"""A student begins where its teacher is: layer by layer, in closed form, from what the teacher's layers answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from scipy.linalg import qr
from torch import Tensor, nn

from ser_fewshot.encoders import HEADS, PIECE, POSITIONS, STRIDE, Block, Transformer, levelled, windows
from ser_fewshot.errors import SettingsError
from ser_fewshot.frontends import FrontEnd, analyse, stack
from ser_fewshot.frontends.pretrained.frontend import Pretrained

_PENALTY = 1e-4  # of the mean square of what is regressed on
_HOP = 160  # samples, of the log-mel frames of both
_FRAMES = 6_000  # are enough to choose units by

Answers = Mapping[str, Tensor]
"""What layers answer to all clips, (frames, ...) each, one clip after the other."""


@torch.no_grad()
def begin(student: Transformer, teacher: Pretrained, *, ears: FrontEnd, waveforms: Sequence[Tensor]) -> None:
    """Set every layer of the student, in place, by least squares on what the teacher's layers answer to the same clips.

    The student's stream is the teacher's on its principal axes, and its hidden units follow those of the teacher's from
    which the others can best be told. Each layer is fitted on what the student's layers before it make of the clips, so
    that it makes up for what they lost. Hints from inner layers are those of Romero et al., "FitNets", 2015,
    https://arxiv.org/abs/1412.6550; queries, keys and values among them, of Wang et al., "MiniLMv2", 2021,
    https://arxiv.org/abs/2012.15828.

    Args:
        student: scaled to its clips already.
        teacher: the encoder of Whisper, up to as many blocks as the student has.
        ears: the student's front-end.
        waveforms: (samples,) of each clip, as loud as all are to be heard; what the student hears in one piece is used.

    Raises:
        SettingsError: there are no clips, or the teacher is no Whisper that the student can follow.
    """
    _check(student, teacher)
    if not waveforms:
        raise SettingsError("waveforms", found="none", expected="clips to fit layers to", remedy="Pass a few hundred.")
    waveforms = [waveform[: PIECE * STRIDE * _HOP] for waveform in waveforms]
    clips = analyse(ears, waveforms)
    answers = _answers(teacher, waveforms)
    axes = _axes([answers[name] for name in answers if name.startswith("stream")], n=student.join.out_features)
    ends = answers["steps"].tolist()
    inputs = [levelled(stack([clip[:end]])).x[0] for clip, end in zip(clips, ends, strict=True)]
    stream = _stem(student, [(x - student.band_mean) / student.band_scale for x in inputs], answers, axes)
    for number, (block, say) in enumerate(zip(student.blocks, student.say, strict=True)):
        names = {name: f"{name} {number}" for name in ("queries", "keys", "values", "middle", "units")}
        told = {name: answers[full] for name, full in names.items()} | {"after": answers[f"stream {number + 1}"]}
        stream = _block(cast("Block", block), stream, told, axes)
        _fit(cast("nn.Linear", say), torch.cat(stream), answers[f"stream {number + 1}"])


def _check(student: Transformer, teacher: Pretrained) -> None:
    settings, width = teacher.settings, teacher.family.width
    built, blocks = settings.architecture, settings.n_blocks
    heads, units = built.get("encoder_attention_heads"), built.get("encoder_ffn_dim", 0)
    channels = student.join.out_features
    follows = built.get("model_type") == "whisper" and heads == HEADS and channels <= width and 4 * channels <= units
    if not follows or blocks != len(student.blocks) or student.said != blocks * width:
        raise SettingsError(
            "student",
            found=f"{len(student.blocks)} blocks of {channels} channels that say {student.said} values of a frame, for "
            f"{blocks} blocks of {built.get('model_type')} of width {width} with {heads} heads",
            expected=f"the first blocks of a Whisper with {HEADS} heads, as many as the student has, which is no wider "
            "and says as much",
            remedy="Set encoder.blocks, channels and width, or import the teacher at another layer.",
        )


def _stem(student: Transformer, inputs: Sequence[Tensor], answers: Answers, axes: Tensor) -> list[Tensor]:
    """Fit all before the first block; return what enters it, (frames, channels) of each clip."""
    x = _convolved(student.enter, inputs, answers["enter"])
    x = _convolved(student.halve, x, answers["halve"], stride=STRIDE)
    places = student.places
    placed = torch.cat([torch.cat([clip, places[: len(clip)]], 1) for clip in x])
    weight, bias = _least_squares(placed, answers["stream 0"] @ axes)
    student.join.weight.copy_(weight[:, :-POSITIONS])
    student.join.bias.copy_(bias)
    student.place.weight.copy_(weight[:, -POSITIONS:])
    return [student.join(clip) + student.place(places[: len(clip)]) for clip in x]


def _block(block: Block, stream: list[Tensor], told: Answers, axes: Tensor) -> list[Tensor]:
    """Fit a block to what the teacher's does; return what leaves it."""
    lengths = [len(clip) for clip in stream]
    entering = torch.cat(stream)
    _fit(block.attend, block.attention_norm(entering), _heads(told, width=block.gather.in_features // HEADS))
    attended = torch.cat([block.attended(x[None], None)[0] for x in stream])
    _fit(block.gather, attended, told["middle"] @ axes - entering)
    middle = entering + block.gather(attended)
    chosen = _telling(nn.functional.gelu(told["units"]), block.widen.out_features)
    _fit(block.widen, block.norm(middle), told["units"][:, chosen])
    widened = block.widened(middle)
    _fit(block.narrow, widened, told["after"] @ axes - middle)
    return list(torch.split(middle + block.narrow(widened), lengths))


def _heads(told: Answers, *, width: int) -> Tensor:
    """Return queries, keys and values of narrower heads, (frames, 3 * HEADS * width), that attend as the teacher's do.

    Of what a head sees, the `width` directions are kept in which the products of its queries and keys lie most, and
    those in which its values do.
    """
    parts: list[list[Tensor]] = [[], [], []]
    for query, key, value in zip(*(told[name].chunk(HEADS, 1) for name in ("queries", "keys", "values")), strict=True):
        (q_root, q_inverse), (k_root, k_inverse) = _root(query), _root(key)
        left, sizes, right = torch.linalg.svd(q_root @ k_root)
        share = (width / query.shape[1]) ** 0.25  # scores are divided by the root of the width
        kept = sizes[:width].sqrt() * share
        parts[0].append(query @ (q_inverse @ left[:, :width] * kept).float())
        parts[1].append(key @ (k_inverse @ right.mT[:, :width] * kept).float())
        _, vectors = torch.linalg.eigh((value.mT @ value).double())
        parts[2].append(value @ vectors.flip(1)[:, :width].float())
    return torch.cat([torch.cat(part, 1) for part in parts], 1)


def _root(x: Tensor) -> tuple[Tensor, Tensor]:
    """x (n, width) -> the square root of its second moment, (width, width), and the inverse of that."""
    second = x.double().mT @ x.double() / len(x)
    values, vectors = torch.linalg.eigh(second)
    values = values.clamp_min(_PENALTY * float(values.mean()))
    return vectors * values.sqrt() @ vectors.mT, vectors / values.sqrt() @ vectors.mT


def _convolved(layer: nn.Linear, clips: Sequence[Tensor], answers: Tensor, *, stride: int = 1) -> list[Tensor]:
    """Fit a layer to the units that tell most, before their nonlinearity; return what it makes, after it."""
    seen = [windows(clip[None], stride=stride)[0] for clip in clips]
    chosen = _telling(nn.functional.gelu(answers), layer.out_features)
    _fit(layer, torch.cat(seen), answers[:, chosen])
    return [nn.functional.gelu(layer(x)) for x in seen]


def _fit(layer: nn.Linear, x: Tensor, y: Tensor) -> None:
    """Set a linear layer to the least-squares map from x (frames, in) to y (frames, out)."""
    weight, bias = _least_squares(x, y)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def _least_squares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """x (n, in), y (n, out) -> weight (out, in) and bias (out,) of the best linear map, slightly penalised."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    centred = (x - x_mean).double()
    gram = centred.T @ centred
    gram.diagonal().add_(_PENALTY * gram.diagonal().mean())
    weight = torch.linalg.solve(gram, centred.T @ (y - y_mean).double()).T.float()
    return weight, y_mean - weight @ x_mean


def _telling(answers: Tensor, n: int) -> Tensor:
    """Return which n units of (frames, units) all of them can best be told from, by a pivoted QR decomposition."""
    step = max(1, len(answers) // _FRAMES)
    some = answers[::step] - answers.mean(0)
    _, order = qr(some.numpy(), mode="r", pivoting=True)
    return torch.from_numpy(order[:n].copy()).long().sort().values


def _axes(streams: Sequence[Tensor], *, n: int) -> Tensor:
    """Return the principal axes of a stream (frames, width) at several depths that count alike, (width, n)."""
    width = streams[0].shape[1]
    second = torch.zeros(width, width, dtype=torch.float64)
    for stream in streams:
        centred = (stream - stream.mean(1, keepdim=True)).double()  # as every norm of the teacher does to a frame
        second += centred.T @ centred / centred.square().sum()
    _, vectors = torch.linalg.eigh(second)
    axes: Tensor = vectors.flip(1)[:, :n].float().contiguous()
    return axes


def _answers(teacher: Pretrained, waveforms: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return what the layers of Whisper answer, and the log-mel steps of each clip."""
    kept: dict[str, list[Tensor]] = {}
    with _listening(teacher.network, kept):
        for waveform in waveforms:  # one by one: no padding
            analyse(teacher, [waveform])
    steps = torch.tensor([len(answer) for answer in kept["enter"]])
    return {**{name: torch.cat(parts) for name, parts in kept.items()}, "steps": steps}


@contextmanager
def _listening(network: Any, kept: dict[str, list[Tensor]]) -> Iterator[None]:
    """Keep what layers answer, or are given, as long as this lasts."""

    def keep(name: str, *, given: bool = False, channels_first: bool = False) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], answer: Any = None) -> None:
            told = inputs if given else answer
            tensor = (told[0] if isinstance(told, tuple) else told)[0]  # of a batch of one
            kept.setdefault(name, []).append(tensor.mT if channels_first else tensor)

        return hook

    handles = [
        network.conv1.register_forward_hook(keep("enter", channels_first=True)),
        network.conv2.register_forward_hook(keep("halve", channels_first=True)),
    ]
    for number, layer in enumerate(network.layers):
        heads = layer.self_attn
        for name, module in (("queries", heads.q_proj), ("keys", heads.k_proj), ("values", heads.v_proj)):
            handles.append(module.register_forward_hook(keep(f"{name} {number}")))
        handles.append(layer.register_forward_pre_hook(keep(f"stream {number}", given=True)))
        handles.append(layer.final_layer_norm.register_forward_pre_hook(keep(f"middle {number}", given=True)))
        handles.append(layer.fc1.register_forward_hook(keep(f"units {number}")))
    handles.append(network.layers[-1].register_forward_hook(keep(f"stream {len(network.layers)}")))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
