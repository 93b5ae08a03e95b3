"""An external memory that is read by content and written where it was used least."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

_SMALLEST_NORM = 0.1  # keeps the gradient of a cosine finite where a slot is empty

# Where training begins; see "Differs from the paper" in mann.py.
_KEY_GAIN = 4.0  # keys fill the range of tanh although the controller's values are near 0.2
_LABEL_LENGTH = 2.0  # of a label's vector: a little less than that of a key
_MATCH = 20.0  # strength of a key: the cosines of like and unlike clips differ by a few tenths
_REVISION = -3.0  # logit of the share that is written where was read last: 0.05


@dataclass(frozen=True, eq=False)
class MemoryState:
    """What a memory holds between two steps.

    Attributes:
        slots: (batch, n_slots, width).
        usage: (batch, n_slots), how much a slot was read and written, decayed at every step.
        read_weights: (batch, n_heads, n_slots) of the last step, 1 in all for each head; zero before the first step.
        keys: (batch, n_heads, width) of the last step, which wait for their label.
    """

    slots: Tensor
    usage: Tensor
    read_weights: Tensor
    keys: Tensor

    def repeat(self, n: int) -> MemoryState:
        """Return the state of a single sequence as that of n; nothing is copied."""
        parts = (self.slots, self.usage, self.read_weights, self.keys)
        return MemoryState(*(part.expand(n, *part.shape[1:]) for part in parts))


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
        """Begin with the key in the first half of a slot and the label in the second: neither looks like the other."""
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
        """Return a memory that holds nothing, for a batch of n, of the type and device of a tensor."""
        return MemoryState(
            slots=like.new_zeros(n, self.n_slots, self.width),
            usage=like.new_zeros(n, self.n_slots),
            read_weights=like.new_zeros(n, self.n_heads, self.n_slots),
            keys=like.new_zeros(n, self.n_heads, self.width),
        )

    def forward(self, controller: Tensor, label: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """Write what came last with the label that came now, then read.

        Args:
            controller: (batch, n_controller).
            label: (batch, n_labels), of the last step.
            state: after the last step.

        Returns:
            What was read (batch, n_heads * width), and the next state.
        """
        content = state.keys + self.labels(label)[:, None]  # (batch, n_heads, width)
        slots, write_weights = write(content, self.gates(controller).sigmoid(), state)
        keys = self.keys(controller).tanh().reshape(len(controller), self.n_heads, self.width)
        read_weights = address(keys, nn.functional.softplus(self.strengths(controller)), slots)
        usage = self.decay * state.usage + (read_weights + write_weights).sum(1)
        return (read_weights @ slots).flatten(1), MemoryState(slots, usage, read_weights, keys)


def write(content: Tensor, gates: Tensor, state: MemoryState) -> tuple[Tensor, Tensor]:
    """Write each head's content, in part where the head read last, in part to a slot that was used least.

    Args:
        content: (batch, n_heads, width).
        gates: (batch, n_heads), the part that goes where the head read last, in [0, 1].
        state: before the write.

    Returns:
        The slots (batch, n_slots, width) and the write weights (batch, n_heads, n_slots).
    """
    least_used = least_used_slots(state.usage, content.shape[1])
    weights = gates[..., None] * state.read_weights + (1 - gates[..., None]) * least_used
    kept = state.slots * (1 - least_used.sum(1))[..., None]  # what was used least is wiped before it is written
    return kept + weights.transpose(1, 2) @ content, weights


def address(keys: Tensor, strengths: Tensor, slots: Tensor) -> Tensor:
    """Return read weights (batch, n_heads, n_slots): the softmax of strength times the cosine of key and slot.

    Args:
        keys: (batch, n_heads, width).
        strengths: (batch, n_heads), at least 0.
        slots: (batch, n_slots, width).
    """
    keys, slots = (x / (x.square().sum(2, keepdim=True) + _SMALLEST_NORM**2).sqrt() for x in (keys, slots))
    return (strengths[..., None] * (keys @ slots.transpose(1, 2))).softmax(2)


def least_used_slots(usage: Tensor, n_heads: int) -> Tensor:
    """usage (batch, n_slots) -> one-hot (batch, n_heads, n_slots): for each head another, the least used first."""
    slots = usage.sort(dim=1, stable=True).indices[:, :n_heads]
    return nn.functional.one_hot(slots, usage.shape[1]).to(usage.dtype)
