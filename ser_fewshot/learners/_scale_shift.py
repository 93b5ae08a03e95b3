"""Scale and shift of the neurons of a network whose own weights stay as they are."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ser_fewshot.learners._inner_loop import bind

_Layer = nn.Linear | nn.Conv1d | nn.Conv2d


class ScaleShift(nn.Module):
    """One scale a kernel of a convolution, one a neuron of a linear layer, and one shift an output of either.

    A convolution's weight of (out, in, *kernel) is multiplied by a scale of (out, in, 1, ...), a linear layer's of
    (out, in) by one of (out, 1): one of (out, in) would be as many values as the layer itself. A shift (out,) is added
    to the bias, where a layer has one. Both begin where they change nothing: at 1 and at 0.

    Args:
        network: whose layers they are for; it is not kept.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = list(_layers(network))
        self.scales = nn.ParameterList(layer.weight.new_ones(_scale_shape(layer)) for layer in layers)
        self.shifts = nn.ParameterList(torch.zeros_like(layer.bias) for layer in layers if layer.bias is not None)

    def weights(self, network: nn.Module) -> dict[Tensor, Tensor]:
        """Return what stands, scaled and shifted, for each weight and bias of the network's layers."""
        changed: dict[Tensor, Tensor] = {}
        shifts = iter(self.shifts)
        for scale, layer in zip(self.scales, _layers(network), strict=True):
            changed[layer.weight] = layer.weight * scale
            if layer.bias is not None:
                changed[layer.bias] = layer.bias + next(shifts)
        return changed

    def forward(self, network: nn.Module, *inputs: object) -> Tensor:
        """Return what the network makes of its inputs with its weights scaled and shifted; it keeps its own."""
        output: Tensor = bind(network, self.weights(network))(*inputs)
        return output


def _layers(network: nn.Module) -> Iterator[_Layer]:
    return (layer for layer in network.modules() if isinstance(layer, _Layer))


def _scale_shape(layer: _Layer) -> tuple[int, ...]:
    shape = tuple(layer.weight.shape)
    return (shape[0], 1) if isinstance(layer, nn.Linear) else (*shape[:2], *(1 for _ in shape[2:]))
