"""The tolerance of numbers that are computed in two ways: relative to the size of the values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Tensors = Tensor | Sequence[Tensor] | ArrayLike


def assert_near(
    actual: Tensors,
    expected: Tensors,
    relative: float = 1e-4,
    *,
    scale: Tensors | None = None,
    message: str = "",
) -> None:
    """Assert that the largest difference is small beside the largest magnitude.

    Rounding is a share of the values that were added up, not of the small ones that are left over, so an element is
    never compared with its own size alone. The default suits float32 through several layers; float64 holds 1e-8.

    Args:
        actual: (...) numbers, or tensors of any shapes, such as all gradients of a network.
        expected: as many numbers in the same shape.
        relative: largest difference allowed, as a share of the largest magnitude.
        scale: numbers whose magnitude counts instead, where what is expected is zero.
        message: what is compared, for the report of a failure.
    """
    found, wanted = _array(actual), _array(expected)
    assert found.shape == wanted.shape, f"{message} shapes {found.shape} and {wanted.shape}"
    difference = float(np.abs(found - wanted).max(initial=0))
    largest = float(np.abs(wanted if scale is None else _array(scale)).max(initial=0))
    assert difference <= relative * largest, (
        f"{message} differs by {difference:.3g}, {relative:g} of {largest:.3g} allowed"
    )


def _array(values: Tensors) -> NDArray[np.float64]:
    if isinstance(values, (list, tuple)) and values and isinstance(values[0], Tensor):
        values = torch.cat([value.detach().flatten() for value in values])
    return np.asarray(values.detach().double() if isinstance(values, Tensor) else values, dtype=np.float64)
