"""Memory-augmented network: it reads the support clip by clip and keeps in a memory what goes with what.

Santoro et al., "Meta-learning with memory-augmented neural networks", 2016, https://arxiv.org/abs/1605.06065.

The idea: a recurrent network is given the clips of an episode as a sequence, each together with the label of the clip
before it, and has to name every clip as it comes. Labels mean something else in every episode, so the only way is to
hold a clip until its label arrives, write both to an external memory, and find them again by content when a like clip
comes. Adapted is running the support through it: no gradient, no distance, only a memory.

Differs from the paper:
- What is written is the key of the step before plus a learned vector of the label that has just come. (In the paper it
  is the key of the step, and that a clip has to wait for its label is left to be learned, over 100,000 episodes.)
- Reads have a learned strength, as in Graves et al., "Neural Turing machines", 2014, https://arxiv.org/abs/1410.5401:
  without one, the softmax over hundreds of cosines is nearly flat.
- Weights begin where the memory is of use: the controller looks mostly at the clip, one half of a slot is key and the
  other label, and the output reads the label. Begun at random, hundreds of steps on prototypes with noise taught it to
  count which labels were left, and nothing about the clips.
- There are 256 slots and 2 heads, not 128 and 4: each head writes a slot a step, and 100 support clips must find room.
- The controller sees a linear projection of the encoder's embedding.
- Adapted must give one classifier whatever the order of the clips and the numbers of the classes. So the support is
  put in an order that its content decides: classes by a fixed projection of their mean embedding, clips by the same
  projection within their class, then one clip of each class in turn. A query is the next step after the support, each
  on a memory of its own. Training is the paper's: random order, random labels, a loss at every step.
- Labels are one-hot over `max_way` places, of which an episode uses as many as it has classes; in training they are
  drawn anew for each sequence, and an episode is run as several sequences at a time, each of another order and labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.learners._base import EmbeddingLearner, Task, class_means, count_classes
from ser_fewshot.learners._memory import Memory, MemoryState
from ser_fewshot.learners._projection import Projection, check_sizes

_FORGETTING = -2.0  # added to the LSTM's forget gates: most of a clip has gone when the next one comes
_READING = 0.3  # share of a label's vector in the output that begins by naming it: near ln N, far from certain


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sizes of the controller and its memory.

    Attributes:
        encoder: what the embedding is made by.
        width: values of an embedding that the controller sees.
        controller: units of the LSTM.
        slots, slot_width: the memory's rows and the values in each; slots / heads clips find room.
        heads: reads, and writes, a step.
        decay: of a slot's usage at every step.
        max_way: the largest number of classes an episode may have.
        sequences: orders and labels an episode is trained on at a time.
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
        names = ("width", "controller", "slots", "slot_width", "heads", "max_way", "sequences")
        check_sizes("mann", **{name: getattr(self, name) for name in names})
        if self.max_way < 2 or self.heads > self.slots or not 0 <= self.decay <= 1:
            raise SettingsError(
                "mann",
                found=f"max_way {self.max_way}, slots {self.slots}, heads {self.heads}, decay {self.decay}",
                expected="max_way of at least 2, no more heads than slots, decay in [0, 1]",
                remedy="Change the one that is not.",
            )


@dataclass(frozen=True, eq=False)
class State:
    """What the network carries from one step to the next, for a batch of sequences.

    Attributes:
        hidden, cell: (batch, controller) of the LSTM.
        reads: (batch, heads * slot_width), what was read last.
        memory: the memory.
    """

    hidden: Tensor
    cell: Tensor
    reads: Tensor
    memory: MemoryState

    def repeat(self, n: int) -> State:
        """Return the state of a single sequence as that of n; nothing is copied."""
        hidden, cell, reads = (part.expand(n, -1) for part in (self.hidden, self.cell, self.reads))
        return State(hidden, cell, reads, self.memory.repeat(n))


class MemoryAugmentedNetwork(EmbeddingLearner):
    """Logits are the network's output, at the step after the support, in the label places that are in use."""

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
        """Begin where keys depend on the clip, and the output on the label vectors that are read."""
        n, n_heads = self.controller.hidden_size, self.memory.n_heads
        with torch.no_grad():
            self.controller.weight_ih[:, :width].normal_(std=width**-0.5)
            self.controller.weight_ih[:, width:].zero_()
            self.controller.bias_ih[n : 2 * n] += _FORGETTING  # gates stand in the order input, forget, cell, output
            self.output.weight[:, :n].zero_()
            self.output.weight[:, n:] = _READING / n_heads * self.memory.labels.weight.T.repeat(1, n_heads)

    def extra_repr(self) -> str:
        """Show what no sub-module and no parameter shows."""
        memory = self.memory
        sizes = f"slots={memory.n_slots}, slot_width={memory.width}, heads={memory.n_heads}, decay={memory.decay}"
        return f"{sizes}, sequences={self.sequences}"

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

    def accumulate(self, task: Task, weight: float) -> float:
        """Add the gradient of `weight` times the loss over all steps of an episode, and return the loss.

        Orders and labels are drawn from torch's generator, as dropout is.

        Raises:
            EpisodeError: a class has no support, or there are fewer than two, or more than `max_way`.
        """
        n_way = count_classes(task.support_y, len(task.support))
        self._check_ways(n_way)
        z = torch.cat([self.embed(part).x for part in (task.support, task.query)])
        loss = self.sequence_loss(z, torch.cat([task.support_y, task.query_y]), n_way)
        (weight * loss).backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def sequence_loss(self, z: Tensor, y: Tensor, n_way: int) -> Tensor:
        """z (n, width), y (n,) -> mean cross-entropy over the steps of sequences of random order and labels."""
        order = torch.rand(self.sequences, len(y)).argsort(1).T.to(y.device)  # (n, sequences): the clip of each step
        places = torch.rand(self.sequences, self.max_way).argsort(1)[:, :n_way].T.to(y.device)  # (n_way, sequences)
        numbers = y[order]  # (n, sequences)
        outputs, _ = self.run(self.project(z)[order], self.labels(places.gather(0, numbers)))
        logits = outputs.gather(2, places.T.expand(len(y), -1, -1))  # (n, sequences, n_way)
        return nn.functional.cross_entropy(logits.flatten(0, 1), numbers.flatten())

    def run(self, x: Tensor, labels: Tensor) -> tuple[Tensor, State]:
        """Run sequences through an empty memory.

        Args:
            x: (steps, batch, width) projected embeddings.
            labels: (steps, batch, max_way), one-hot; the network sees each one step later.

        Returns:
            Outputs (steps, batch, max_way), and the state after the last step.
        """
        state = self.start(x[0])
        late = torch.cat([torch.zeros_like(labels[:1]), labels[:-1]])
        outputs = []
        for clip, label in zip(x, late, strict=True):
            output, state = self.step(clip, label, state)
            outputs.append(output)
        return torch.stack(outputs), state

    def start(self, x: Tensor) -> State:
        """Return the state before the first clip (batch, width) of sequences: nothing seen, nothing in memory."""
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
    """Order a support by its content alone.

    Args:
        z: (n_support, width) embeddings.
        y: (n_support,) class numbers.
        n_way: how many classes.

    Returns:
        The place of each class (n_way,), and the order of the clips (n_support,): one of each class in turn.
    """
    direction = torch.arange(1, z.shape[1] + 1, dtype=z.dtype, device=z.device).sin()  # fixed, and of no meaning
    places = (class_means(z, y, n_way) @ direction).argsort().argsort()
    value = z @ direction
    turn = ((y[:, None] == y) & (value[:, None] > value)).sum(1)  # how many of its class come before a clip
    return places, (turn * n_way + places[y]).argsort(stable=True)


LEARNER = MemoryAugmentedNetwork
