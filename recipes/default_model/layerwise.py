"""Closed-form, layer-wise initialisation of the student from its teacher."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from scipy.linalg import qr
from torch import Tensor, nn

from ser_fewshot.encoders import CHUNK, HEADS, POSITIONS, STRIDE, Block, Transformer, normalise_level, windows
from ser_fewshot.frontends import FrontEnd, analyse, stack
from ser_fewshot.frontends.pretrained.frontend import Pretrained
from ser_fewshot.settings import require

_PENALTY = 1e-4  # relative to the mean square of the regressors
_HOP = 160  # samples between log-mel frames
_FRAMES = 6_000  # for the selection of units

Activations = Mapping[str, Tensor]
"""Of the teacher's layers, (frames, ...) each, all clips concatenated."""


@torch.no_grad()
def initialise(student: Transformer, teacher: Pretrained, *, frontend: FrontEnd, waveforms: Sequence[Tensor]) -> None:
    """Fit every layer of the student, in place, by least squares to the teacher's activations on the same clips.

    The student's residual stream is that of the teacher on its principal axes; its hidden units are a subset of the
    teacher's, chosen by pivoted QR. The input of each layer is the output of the student's own previous layers, so that
    it compensates for their errors. Targets from inner layers: Romero et al., "FitNets", 2015,
    https://arxiv.org/abs/1412.6550; queries, keys and values among them: Wang et al., "MiniLMv2", 2021,
    https://arxiv.org/abs/2012.15828.

    Args:
        student: its normalisation is fitted already.
        teacher: the encoder of Whisper, cut to as many blocks as the student has.
        frontend: of the student.
        waveforms: (samples,) of each clip at one level, of which the first chunk is used.

    Raises:
        SettingsError: there are no clips, or the teacher is no Whisper of a fitting size.
    """
    _check(student, teacher)
    require(bool(waveforms), "waveforms", found="none", expected="clips to fit layers to", remedy="Pass a few hundred.")
    waveforms = [waveform[: CHUNK * STRIDE * _HOP] for waveform in waveforms]
    clips = analyse(frontend, waveforms)
    activations = _activations(teacher, waveforms)
    streams = [x for name, x in activations.items() if name.startswith("stream")]
    axes = _axes(streams, n=student.in_proj.out_features)
    ends = activations["steps"].tolist()
    inputs = [normalise_level(stack([clip[:end]])).x[0] for clip, end in zip(clips, ends, strict=True)]
    stream = _stem(student, [(x - student.band_mean) / student.band_scale for x in inputs], activations, axes)
    for number, (block, head) in enumerate(zip(student.blocks, student.layer_heads, strict=True)):
        names = ("queries", "keys", "values", "middle", "units")
        targets = {name: activations[f"{name} {number}"] for name in names}
        targets["output"] = activations[f"stream {number + 1}"]
        stream = _block(cast("Block", block), stream, targets, axes)
        _fit(cast("nn.Linear", head), torch.cat(stream), targets["output"])


def _check(student: Transformer, teacher: Pretrained) -> None:
    settings, width = teacher.settings, teacher.family.width
    built, blocks = settings.architecture, settings.n_blocks
    heads, units = built.get("encoder_attention_heads"), built.get("encoder_ffn_dim", 0)
    channels = student.in_proj.out_features
    follows = built.get("model_type") == "whisper" and heads == HEADS and channels <= width and 4 * channels <= units
    require(
        follows and blocks == len(student.blocks) and student.frame_width == blocks * width,
        "student",
        found=f"{len(student.blocks)} blocks of {channels} channels and {student.frame_width} values a frame, for "
        f"{blocks} blocks of {built.get('model_type')} of width {width} with {heads} heads",
        expected=f"the first blocks of a Whisper with {HEADS} heads, as many as the student has, which is no wider "
        "and has as many values a frame",
        remedy="Set encoder.blocks, channels and width, or import the teacher at another layer.",
    )


def _stem(student: Transformer, inputs: Sequence[Tensor], activations: Activations, axes: Tensor) -> list[Tensor]:
    """Fit the layers before the first block; return its input, (frames, channels) of each clip."""
    x = _convolved(student.conv1, inputs, activations["conv1"])
    x = _convolved(student.conv2, x, activations["conv2"], stride=STRIDE)
    positions = student.positions
    with_positions = torch.cat([torch.cat([clip, positions[: len(clip)]], 1) for clip in x])
    weight, bias = _least_squares(with_positions, activations["stream 0"] @ axes)
    student.in_proj.weight.copy_(weight[:, :-POSITIONS])
    student.in_proj.bias.copy_(bias)
    student.pos_proj.weight.copy_(weight[:, -POSITIONS:])
    return [student.in_proj(clip) + student.pos_proj(positions[: len(clip)]) for clip in x]


def _block(block: Block, stream: list[Tensor], targets: Activations, axes: Tensor) -> list[Tensor]:
    """Fit a block to the teacher's; return its output."""
    lengths = [len(clip) for clip in stream]
    x = torch.cat(stream)
    _fit(block.qkv, block.attention_norm(x), _heads(targets, width=block.out_proj.in_features // HEADS))
    attended = torch.cat([block.attention(clip[None], None)[0] for clip in stream])
    _fit(block.out_proj, attended, targets["middle"] @ axes - x)
    middle = x + block.out_proj(attended)
    chosen = _representative(nn.functional.gelu(targets["units"]), block.fc1.out_features)
    _fit(block.fc1, block.norm(middle), targets["units"][:, chosen])
    hidden = block.hidden(middle)
    _fit(block.fc2, hidden, targets["output"] @ axes - middle)
    return list(torch.split(middle + block.fc2(hidden), lengths))


def _heads(teacher: Activations, *, width: int) -> Tensor:
    """Return queries, keys and values of narrower heads, (frames, 3 * HEADS * width): low-rank approximations.

    Of rank `width`, of each head's scores (queries times keys) and values.
    """
    parts: list[list[Tensor]] = [[], [], []]
    for query, key, value in zip(
        *(teacher[name].chunk(HEADS, 1) for name in ("queries", "keys", "values")), strict=True
    ):
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


def _convolved(layer: nn.Linear, clips: Sequence[Tensor], activations: Tensor, *, stride: int = 1) -> list[Tensor]:
    """Fit a layer to representative units before their nonlinearity; return its output after it."""
    inputs = [windows(clip[None], stride=stride)[0] for clip in clips]
    chosen = _representative(nn.functional.gelu(activations), layer.out_features)
    _fit(layer, torch.cat(inputs), activations[:, chosen])
    return [nn.functional.gelu(layer(x)) for x in inputs]


def _fit(layer: nn.Linear, x: Tensor, y: Tensor) -> None:
    """Fit a linear layer from x (frames, in) to y (frames, out)."""
    weight, bias = _least_squares(x, y)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def _least_squares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """x (n, in), y (n, out) -> weight (out, in) and bias (out,) of the least-squares map, slightly penalised."""
    x_mean, y_mean = x.mean(0), y.mean(0)
    centred = (x - x_mean).double()
    gram = centred.T @ centred
    gram.diagonal().add_(_PENALTY * gram.diagonal().mean())
    weight = torch.linalg.solve(gram, centred.T @ (y - y_mean).double()).T.float()
    return weight, y_mean - weight @ x_mean


def _representative(activations: Tensor, n: int) -> Tensor:
    """Return the n units of (frames, units) that best predict all of them, by a pivoted QR decomposition."""
    step = max(1, len(activations) // _FRAMES)
    some = activations[::step] - activations.mean(0)
    _, order = qr(some.numpy(), mode="r", pivoting=True)
    return torch.from_numpy(order[:n].copy()).long().sort().values


def _axes(streams: Sequence[Tensor], *, n: int) -> Tensor:
    """Return the principal axes of a stream (frames, width) at several depths that weigh the same, (width, n)."""
    width = streams[0].shape[1]
    second = torch.zeros(width, width, dtype=torch.float64)
    for stream in streams:
        centred = (stream - stream.mean(1, keepdim=True)).double()  # as the teacher's layer norms do
        second += centred.T @ centred / centred.square().sum()
    _, vectors = torch.linalg.eigh(second)
    axes: Tensor = vectors.flip(1)[:, :n].float().contiguous()
    return axes


def _activations(teacher: Pretrained, waveforms: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return the activations of Whisper's layers, and the number of log-mel frames of each clip as `steps`."""
    kept: dict[str, list[Tensor]] = {}
    with _recording(teacher.network, kept):
        for waveform in waveforms:  # one by one: no padding
            analyse(teacher, [waveform])
    steps = torch.tensor([len(frames) for frames in kept["conv1"]])
    return {**{name: torch.cat(parts) for name, parts in kept.items()}, "steps": steps}


@contextmanager
def _recording(network: Any, kept: dict[str, list[Tensor]]) -> Iterator[None]:
    """Record outputs or inputs of layers."""

    def keep(name: str, *, inputs_of: bool = False, channels_first: bool = False) -> Callable[..., None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], output: Any = None) -> None:
            found = inputs if inputs_of else output
            tensor = (found[0] if isinstance(found, tuple) else found)[0]  # of a batch of one
            kept.setdefault(name, []).append(tensor.mT if channels_first else tensor)

        return hook

    handles = [
        network.conv1.register_forward_hook(keep("conv1", channels_first=True)),
        network.conv2.register_forward_hook(keep("conv2", channels_first=True)),
    ]
    for number, layer in enumerate(network.layers):
        heads = layer.self_attn
        for name, module in (("queries", heads.q_proj), ("keys", heads.k_proj), ("values", heads.v_proj)):
            handles.append(module.register_forward_hook(keep(f"{name} {number}")))
        handles.append(layer.register_forward_pre_hook(keep(f"stream {number}", inputs_of=True)))
        handles.append(layer.final_layer_norm.register_forward_pre_hook(keep(f"middle {number}", inputs_of=True)))
        handles.append(layer.fc1.register_forward_hook(keep(f"units {number}")))
    handles.append(network.layers[-1].register_forward_hook(keep(f"stream {len(network.layers)}")))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
