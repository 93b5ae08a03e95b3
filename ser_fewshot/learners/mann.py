"""Memory-augmented network: reads the support clip by clip into an external memory.

Santoro et al., "Meta-learning with memory-augmented neural networks", 2016, https://arxiv.org/abs/1605.06065.

The idea: a recurrent network reads the clips of an episode as a sequence, each with the label of the clip before it,
and classifies every clip as it comes. Labels are arbitrary in each episode, so it must hold a clip until its label
arrives, write both to an external memory, and retrieve them by content. Adaptation is one pass over the support.

Differs from the paper:
- What is written is the key of the previous step plus a learned vector of its label, which has just arrived. (The
  paper writes the key of the step and leaves the delay to be learned, over 100,000 episodes.)
- Reads have a learned strength, as in Graves et al., "Neural Turing machines", 2014, https://arxiv.org/abs/1410.5401:
  without one, the softmax over hundreds of cosines is nearly flat.
- The initial weights make use of the memory: the controller depends mostly on the clip, one half of a slot is key and
  the other label, and the output reads the label. From random weights, hundreds of steps on noisy prototypes learned
  to count the labels left, and nothing about the clips.
- There are 256 slots and 2 heads, not 128 and 4: each head writes a slot a step, and 100 support clips must fit.
- The controller's input is a linear projection of the encoder's embedding.
- The classifier must not depend on the order of clips or the numbers of classes. So the support is sorted by content:
  classes by a fixed projection of their mean embedding, clips by the same projection within their class, then one clip
  of each class in turn. Each query is the next step after the support, on a copy of the memory. Training is the
  paper's: random order, random labels, a loss at every step.
- Labels are one-hot over `max_way` outputs, of which an episode uses n_way; in training an episode is run as several
  sequences at a time, each with its own random order and labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import EpisodeError
from ser_fewshot.learners._base import EmbeddingLearner, Task, class_means, count_classes
from ser_fewshot.learners._memory import Memory, MemoryState
from ser_fewshot.learners._metric import Projection
from ser_fewshot.settings import check_size, require

_FORGETTING = -2.0  # added to the bias of the LSTM's forget gates: most of a clip is forgotten at the next one
_READING = 0.3  # initial weight of a label's vector in its output: near the loss ln N, far from certain


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes of the controller and its memory.

    Attributes:
        encoder: of the embeddings.
        width: dimension of the projected embeddings.
        controller: units of the LSTM.
        slots, slot_width: rows of the memory and their width; it holds slots / heads clips.
        heads: reads, and writes, a step.
        decay: of a slot's usage at every step.
        max_way: largest n_way.
        sequences: random orders and labels that an episode is trained on at a time.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))
    width: int = 64
    controller: int = 200
    slots: int = 256
    slot_width: int = 40
    heads: int = 2
    decay: float = 0.95
    max_way: int = 20
    sequences: int = 8

    def __post_init__(self) -> None:
        for name in ("width", "controller", "slots", "slot_width", "heads", "max_way", "sequences"):
            check_size(f"mann.{name}", getattr(self, name))
        require(
            self.max_way >= 2 and self.heads <= self.slots and 0 <= self.decay <= 1,
            "mann",
            found=f"max_way {self.max_way}, slots {self.slots}, heads {self.heads}, decay {self.decay}",
            expected="max_way of at least 2, no more heads than slots, decay in [0, 1]",
            remedy="Change the one that is not.",
        )


class State(NamedTuple):
    """The recurrent state for a batch of sequences.

    Attributes:
        hidden, cell: (batch, controller) of the LSTM.
        reads: (batch, heads * slot_width), the last reads.
    """

    hidden: Tensor
    cell: Tensor
    reads: Tensor
    memory: MemoryState

    def repeat(self, n: int) -> State:
        """Return the state of a single sequence as that of n, without copying."""
        memory = MemoryState(*(part.expand(n, *part.shape[1:]) for part in self.memory))
        return State(self.hidden.expand(n, -1), self.cell.expand(n, -1), self.reads.expand(n, -1), memory)


class MemoryAugmentedNetwork(EmbeddingLearner):
    """Logits are the outputs in use at the step after the support."""

    must_learn: ClassVar[bool] = True

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder)
        self.max_way = settings.max_way
        self.sequences = settings.sequences
        self.n_reads = settings.heads * settings.slot_width
        self.project = Projection(self.encoder.width, settings.width)
        self.controller = nn.LSTMCell(settings.width + settings.max_way + self.n_reads, settings.controller)
        self.memory = Memory(
            settings.controller,
            settings.max_way,
            n_slots=settings.slots,
            width=settings.slot_width,
            n_heads=settings.heads,
            decay=settings.decay,
        )
        self.output = nn.Linear(settings.controller + self.n_reads, settings.max_way)
        self._begin(settings.width)

    def _begin(self, width: int) -> None:
        """Initialise so that keys depend on the clip, and the output on the label vectors that are read."""
        n, n_heads = self.controller.hidden_size, self.memory.n_heads
        with torch.no_grad():
            self.controller.weight_ih[:, :width].normal_(std=width**-0.5)
            self.controller.weight_ih[:, width:].zero_()
            self.controller.bias_ih[n : 2 * n] += _FORGETTING  # gates stand in the order input, forget, cell, output
            self.output.weight[:, :n].zero_()
            self.output.weight[:, n:] = _READING / n_heads * self.memory.labels.weight.T.repeat(1, n_heads)

    def fit_head(self, z: Tensor, y: Tensor, n_way: int) -> Callable[[Tensor], Tensor]:
        """z (n_support, width) -> head from (n_query, width) to (n_query, n_way)."""
        self._check_ways(n_way)
        places, order = canonical_order(z, y, n_way)
        labels = self.labels(places[y[order]])[:, None]  # (n_support, 1, max_way)
        _, state = self.run(self.project(z[order])[:, None], labels)

        def head(query: Tensor) -> Tensor:
            n = len(query)
            output, _ = self.step(self.project(query), labels[-1].expand(n, -1), state.repeat(n))
            return output[:, places]

        return head

    def task_loss(self, task: Task) -> Tensor:
        """Return the loss over all steps of an episode; orders and labels are drawn from torch's global generator.

        Raises:
            EpisodeError: a class has no support, or there are fewer than two, or more than `max_way`.
        """
        n_way = count_classes(task.support_y, len(task.support))
        self._check_ways(n_way)
        z = torch.cat([self.embed(part).x for part in (task.support, task.query)])
        return self.sequence_loss(z, torch.cat([task.support_y, task.query_y]), n_way)

    def sequence_loss(self, z: Tensor, y: Tensor, n_way: int) -> Tensor:
        """z (n, width), y (n,) -> mean cross-entropy over the steps of sequences of random order and labels."""
        order = torch.rand(self.sequences, len(y)).argsort(1).T.to(y.device)  # (n, sequences): the clip of each step
        places = torch.rand(self.sequences, self.max_way).argsort(1)[:, :n_way].T.to(y.device)  # (n_way, sequences)
        numbers = y[order]  # (n, sequences)
        outputs, _ = self.run(self.project(z)[order], self.labels(places.gather(0, numbers)))
        logits = outputs.gather(2, places.T.expand(len(y), -1, -1))  # (n, sequences, n_way)
        return nn.functional.cross_entropy(logits.flatten(0, 1), numbers.flatten())

    def run(self, x: Tensor, labels: Tensor) -> tuple[Tensor, State]:
        """Run sequences through an empty memory; the input of a label is delayed by one step.

        x (steps, batch, width), one-hot labels (steps, batch, max_way) -> outputs (steps, batch, max_way), last state.
        """
        state = self.start(x[0])
        late = torch.cat([torch.zeros_like(labels[:1]), labels[:-1]])
        outputs = []
        for clip, label in zip(x, late, strict=True):
            output, state = self.step(clip, label, state)
            outputs.append(output)
        return torch.stack(outputs), state

    def start(self, x: Tensor) -> State:
        """Return the state before the first clip (batch, width) of sequences: all zero."""
        nothing = x.new_zeros(len(x), self.controller.hidden_size)
        return State(nothing, nothing, x.new_zeros(len(x), self.n_reads), self.memory.empty(len(x), like=x))

    def step(self, x: Tensor, label: Tensor, state: State) -> tuple[Tensor, State]:
        """x (batch, width), the last clip's label (batch, max_way) -> output (batch, max_way), and the next state."""
        inputs = torch.cat([x, label, state.reads], dim=1)
        hidden, cell = self.controller(inputs, (state.hidden, state.cell))
        reads, memory = self.memory(hidden, label, state.memory)
        return self.output(torch.cat([hidden, reads], dim=1)), State(hidden, cell, reads, memory)

    def labels(self, places: Tensor) -> Tensor:
        """Places (...) -> one-hot labels (..., max_way)."""
        return nn.functional.one_hot(places, self.max_way).to(self.output.weight.dtype)

    def _check_ways(self, n_way: int) -> None:
        if n_way > self.max_way:
            raise EpisodeError(
                "mann",
                found=f"{n_way} classes",
                expected=f"at most {self.max_way}, the labels that the network has",
                remedy="Give fewer classes, or train with a higher max_way.",
            )


def canonical_order(z: Tensor, y: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
    """Order a support z (n_support, width) of classes y (n_support,) by its content alone.

    Return the rank of each class (n_way,), and the order of the clips (n_support,): one of each class in turn.
    """
    direction = torch.arange(1, z.shape[1] + 1, dtype=z.dtype, device=z.device).sin()  # arbitrary but fixed
    places = (class_means(z, y, n_way) @ direction).argsort().argsort()
    value = z @ direction
    turn = ((y[:, None] == y) & (value[:, None] > value)).sum(1)  # rank of a clip within its class
    return places, (turn * n_way + places[y]).argsort(stable=True)


LEARNER = MemoryAugmentedNetwork
