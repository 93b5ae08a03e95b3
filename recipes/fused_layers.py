"""GroupNorm, ReLU and 2 x 2 max-pooling as one differentiable function, made for second-order gradients on a CPU.

Automatic differentiation of the three layers reads and writes tensors of full size some dozen times for the first
gradient and more for the second. But pooling can come first: ReLU is monotonic, and so is the normalisation of a
channel, which turns the order of values round where its gain is negative. What is left at full size is to find the
maxima and two moments of each group; everything after runs at a quarter of the size. The derivative of that step is
linear in what flows back, so the second derivative is written out as well; a third is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def normalised_pool(h: Tensor, gain: Tensor, shift: Tensor, *, groups: int, eps: float) -> Tensor:
    """Return `max_pool2d(relu(group_norm(h, groups, gain, shift, eps)), 2)`.

    Args:
        h: (n, channels, height, width), both even.
        gain: (channels,) of the normalisation.
        shift: (channels,) added after it.
        groups: of channels, each normalised together.
        eps: added to the variance.

    Returns:
        (n, channels, height / 2, width / 2)
    """
    n, channels, height, width = h.shape
    size = h[0].numel() // groups
    pooled, total, squares = _PoolAndMoments.apply(h, gain.detach().sign(), groups)  # type: ignore[no-untyped-call]
    mean = total / size  # (n, groups)
    scale = (squares / size - mean.square() + eps).rsqrt()[..., None] * gain.view(groups, -1)
    offset = shift.view(groups, -1) - mean[..., None] * scale  # (n, groups, channels of a group)
    pooled = pooled.view(n, groups, channels // groups, -1)
    normalised = torch.addcmul(offset[..., None], pooled, scale[..., None])
    return normalised.relu().view(n, channels, height // 2, width // 2)


class _PoolAndMoments(torch.autograd.Function):
    """h -> the extreme value of each 2 x 2 cell in the direction of the gain, and each group's sum and sum of squares.

    Where an extreme lies is kept as two masks of ones and zeros: products with them are several times as fast as
    selecting by truth values or gathering by index.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, direction: Tensor, groups: int) -> tuple[Tensor, Tensor, Tensor]:
        signed = h if bool((direction > 0).all()) else h * direction[:, None, None]
        upper, lower = _rows(signed)
        taller = torch.maximum(upper, lower)
        is_upper = (upper >= lower).to(h.dtype)  # (n, channels, height / 2, width)
        left, right = _columns(taller)
        is_left = (left >= right).to(h.dtype)  # (n, channels, height / 2, width / 2)
        ctx.save_for_backward(h, is_upper, is_left)
        pooled = torch.maximum(left, right) if signed is h else _select(h, is_upper, is_left)
        flat = _flat(h, groups)
        return pooled, flat.sum(2), torch.linalg.vector_norm(flat, dim=2).square()

    @staticmethod
    def backward(ctx: Any, pooled: Tensor, total: Tensor, squares: Tensor) -> tuple[Tensor, None, None]:
        h, is_upper, is_left = ctx.saved_tensors
        return _Backward.apply(pooled, total, 2 * squares, h, is_upper, is_left), None, None  # type: ignore[no-untyped-call]


class _Backward(torch.autograd.Function):
    """The gradient to h: linear in what flows back through the maxima, the sums, and twice the sums of squares."""

    @staticmethod
    def forward(
        ctx: Any, pooled: Tensor, total: Tensor, twice: Tensor, h: Tensor, is_upper: Tensor, is_left: Tensor
    ) -> Tensor:
        ctx.save_for_backward(twice, h, is_upper, is_left)
        answer = (_flat(h, twice.shape[1]) * twice[..., None]).add_(total[..., None]).view(h.shape)
        wide = torch.empty_like(is_upper)
        left, right = _columns(wide)
        torch.mul(pooled, is_left, out=left)
        torch.sub(pooled, left, out=right)
        upper, lower = _rows(answer)
        to_upper = wide * is_upper
        upper.add_(to_upper)
        lower.add_(wide.sub_(to_upper))
        return answer

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        twice, h, is_upper, is_left = ctx.saved_tensors
        flat = _flat(slope, twice.shape[1])
        to_twice = (flat * _flat(h, twice.shape[1])).sum(2)
        to_h = (flat * twice[..., None]).view(h.shape)
        return _select(slope, is_upper, is_left), flat.sum(2), to_twice, to_h, None, None


def _select(x: Tensor, is_upper: Tensor, is_left: Tensor) -> Tensor:
    """(n, channels, height, width) -> the marked value of each 2 x 2 cell."""
    upper, lower = _rows(x)
    left, right = _columns(torch.lerp(lower, upper, is_upper))
    return torch.lerp(right, left, is_left)


def _flat(x: Tensor, groups: int) -> Tensor:
    """(n, channels, height, width) -> (n, groups, values of a group)."""
    return x.reshape(len(x), groups, -1)


def _rows(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., ::2, :], x[..., 1::2, :]


def _columns(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., ::2], x[..., 1::2]
