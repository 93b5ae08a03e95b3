"""The fused layers that the benchmark of learners times: equal to the plain ones, to the second derivative."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from each import each
from tolerance import assert_near
from torch import Tensor
from torch.nn import functional

RECIPE = Path(__file__).parents[2] / "recipes" / "fused_layers.py"
GROUPS, EPS = 2, 1e-5


def normalised_pool(h: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    spec = importlib.util.spec_from_file_location("fused_layers", RECIPE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pooled: Tensor = module.normalised_pool(h, gain, shift, groups=GROUPS, eps=EPS)
    return pooled


def plain(h: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return functional.max_pool2d(functional.relu(functional.group_norm(h, GROUPS, gain, shift, EPS)), 2)


def inputs(signs: list[float]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(2, 4, 6, 4, dtype=torch.float64, generator=generator)
    gain = torch.tensor(signs, dtype=torch.float64) * (0.5 + torch.rand(4, dtype=torch.float64, generator=generator))
    shift = torch.randn(4, dtype=torch.float64, generator=generator)
    return h.requires_grad_(), gain.requires_grad_(), shift.requires_grad_()


SIGNS = each("signs", [[1, 1, 1, 1], [1, -1, 1, -1], [-1, -1, -1, -1]])


@SIGNS
def test_values_are_those_of_the_plain_layers(signs):
    assert_near(normalised_pool(*inputs(signs)), plain(*inputs(signs)), relative=1e-8)


def test_first_and_second_derivatives_are_right():
    assert torch.autograd.gradcheck(normalised_pool, inputs([1, -1, 1, -1]))
    assert torch.autograd.gradgradcheck(normalised_pool, inputs([1, -1, 1, -1]))
