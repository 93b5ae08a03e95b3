"""An external memory with content-based reads and least-recently-used writes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

_SMALLEST_NORM = 0.1  # keeps the gradient of a cosine finite for empty slots

# Initial weights; see "Differs from the paper" in mann.py.
_KEY_GAIN = 4.0  # keys fill the range of tanh for a controller of about 0.2
_LABEL_LENGTH = 2.0  # length of a label's vector, a little less than that of a key
_MATCH = 20.0  # strength of a key: cosines within and between classes differ by a few tenths
_REVISION = -3.0  # logit of the share written where the head read last: 0.05


class MemoryState(NamedTuple):
    """The content of a memory between two steps.

    Attributes:
        slots: (batch, n_slots, width).
        usage: (batch, n_slots), sum of read and write weights, decayed at every step.
        read_weights: (batch, n_heads, n_slots) of the last step, each head's summing to 1; zero before the first step.
        keys: (batch, n_heads, width) of the last step, whose label comes next.
    """

    slots: Tensor
    usage: Tensor
    read_weights: Tensor
    keys: Tensor


class Memory(nn.Module):
    """Least-recently-used access: Santoro et al., 2016, section 3.2, https://arxiv.org/abs/1605.06065."""

    def __init__(
        self, n_controller: int, n_labels: int, *, n_slots: int, width: int, n_heads: int, decay: float
    ) -> None:
        super().__init__()
        self.n_slots, self.width, self.n_heads = n_slots, width, n_heads
        self.decay = decay
        self.keys = nn.Linear(n_controller, n_heads * width)
        self.strengths = nn.Linear(n_controller, n_heads)
        self.gates = nn.Linear(n_controller, n_heads)
        self.labels = nn.Linear(n_labels, width, bias=False)
        self._begin()

    def _begin(self) -> None:
        """Initialise so that keys occupy the first half of a slot and labels the second."""
        half = self.width // 2
        keys = self.keys.weight.view(self.n_heads, self.width, -1)
        with torch.no_grad():
            nn.init.normal_(self.keys.weight, std=_KEY_GAIN * self.keys.in_features**-0.5)
            nn.init.orthogonal_(self.labels.weight[half:], gain=_LABEL_LENGTH)
            self.labels.weight[:half] = 0
            keys[:, half:] = 0
            self.keys.bias.zero_()
            self.strengths.bias.fill_(_MATCH)
            self.gates.bias.fill_(_REVISION)

    def empty(self, n: int, like: Tensor) -> MemoryState:
        """Return an empty memory for a batch of n, of the type and device of `like`."""
        return MemoryState(
            slots=like.new_zeros(n, self.n_slots, self.width),
            usage=like.new_zeros(n, self.n_slots),
            read_weights=like.new_zeros(n, self.n_heads, self.n_slots),
            keys=like.new_zeros(n, self.n_heads, self.width),
        )

    def forward(self, controller: Tensor, label: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """Write the last step's keys with their label, then read.

        controller (batch, n_controller), label of the last step (batch, n_labels) -> reads (batch, n_heads * width),
        and the next state.
        """
        content = state.keys + self.labels(label)[:, None]  # (batch, n_heads, width)
        slots, write_weights = write(content, self.gates(controller).sigmoid(), state)
        keys = self.keys(controller).tanh().reshape(len(controller), self.n_heads, self.width)
        read_weights = address(keys, nn.functional.softplus(self.strengths(controller)), slots)
        usage = self.decay * state.usage + (read_weights + write_weights).sum(1)
        return (read_weights @ slots).flatten(1), MemoryState(slots, usage, read_weights, keys)


def write(content: Tensor, gates: Tensor, state: MemoryState) -> tuple[Tensor, Tensor]:
    """Write each head's content (batch, n_heads, width) where the head read last and to a least used slot.

    Gates (batch, n_heads) in [0, 1] are the share of the former. Return slots (batch, n_slots, width) and write weights
    (batch, n_heads, n_slots).
    """
    least_used = least_used_slots(state.usage, content.shape[1])
    weights = gates[..., None] * state.read_weights + (1 - gates[..., None]) * least_used
    kept = state.slots * (1 - least_used.sum(1))[..., None]  # least used slots are wiped first
    return kept + weights.transpose(1, 2) @ content, weights


def address(keys: Tensor, strengths: Tensor, slots: Tensor) -> Tensor:
    """Return read weights (batch, n_heads, n_slots): the softmax of strength times the cosine of key and slot.

    keys (batch, n_heads, width), strengths (batch, n_heads) of at least 0, slots (batch, n_slots, width).
    """
    keys, slots = (x / (x.square().sum(2, keepdim=True) + _SMALLEST_NORM**2).sqrt() for x in (keys, slots))
    return (strengths[..., None] * (keys @ slots.transpose(1, 2))).softmax(2)


def least_used_slots(usage: Tensor, n_heads: int) -> Tensor:
    """usage (batch, n_slots) -> one-hot (batch, n_heads, n_slots): another slot for each head, the least used first."""
    slots = usage.sort(dim=1, stable=True).indices[:, :n_heads]
    return nn.functional.one_hot(slots, usage.shape[1]).to(usage.dtype)
