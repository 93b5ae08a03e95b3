"""Meta-transfer learning: pretrain the encoder, freeze it, and meta-learn how to scale and shift its neurons.

Sun et al., "Meta-transfer learning for few-shot learning", 2019, https://arxiv.org/abs/1812.02403.

The idea: (a) the encoder is trained conventionally, to classify all meta-train classes; (b) its weights W and b are
frozen, and episodes train only a scale and a shift of each neuron, W * scale and b + shift, and the initialisation of
the classifier: far fewer values, so that knowledge is transferred rather than overwritten. In an episode the classifier
alone takes gradient steps on the support, and the query loss is differentiated through these steps, to second order.
(c) Classes that failed are drawn again into harder episodes. (d) At meta-test only the classifier adapts.

Differs from the paper:
- The classifier is initialised from the prototypes, not from one learned row of weights a class, as class numbers are
  arbitrary and n_way varies: w = gain * c and b = -sum(gain * c^2) / 2 for a prototype c with learned gains, as in
  Triantafillou et al., "Meta-dataset" (Proto-MAML), 2020, https://arxiv.org/abs/1903.03096.
- The classifier is fitted to embeddings that are centred on the support, at a mean squared norm of 1; a shift of the
  encoder's last layer therefore has no effect.
- Linear layers have one scale a neuron; the paper has convolutions, with one a kernel, as ours have.
- The authors' code shifts the first convolution alone, goes on training the normalisation, and drops the second order
  through the classifier's steps. Here, as in the paper, every layer with a bias is shifted, all else in the encoder is
  frozen, and nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.frontends import Features
from ser_fewshot.learners._base import Objective, Task, count_classes
from ser_fewshot.learners._inner_loop import bind
from ser_fewshot.learners._linear_head import HeadSettings, LinearProbe, clip_weights
from ser_fewshot.settings import require

_Layer = nn.Linear | nn.Conv1d | nn.Conv2d

_FIRST_GAIN = 2.0  # larger gains begin overconfident on untrained embeddings


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is trained, and how the classifier adapts.

    Attributes:
        encoder: is pretrained, frozen, scaled and shifted.
        head: how the classifier is fitted to a support set, in meta-training and at meta-test.
        hard_tasks: episodes that each training step adds, drawn from the classes that failed in its others.
    """

    encoder: EncoderSettings = field(default_factory=lambda: EncoderSettings(name="dense"))
    head: HeadSettings = field(default_factory=HeadSettings)
    hard_tasks: int = 1

    def __post_init__(self) -> None:
        require(
            type(self.hard_tasks) is int and self.hard_tasks >= 0,
            "mtl",
            found=f"hard_tasks {self.hard_tasks}",
            expected="a whole number of at least 0",
            remedy="0 switches hard tasks off.",
        )


class MetaTransfer(LinearProbe):
    """A linear head that begins at the prototypes, on a scaled and shifted encoder."""

    objectives: ClassVar[tuple[Objective, ...]] = ("classes", "episodes")

    def __init__(self, dim: int, settings: Settings) -> None:
        super().__init__(dim, settings.encoder, settings.head)
        self.hard_tasks = settings.hard_tasks
        self.scale_shift = ScaleShift(self.encoder)
        self.gain = nn.Parameter(torch.full((self.encoder.width,), _FIRST_GAIN))

    def begin(self, objective: Objective) -> None:
        """Train the encoder's weights on "classes", scales, shifts and gains on "episodes"."""
        self.requires_grad_(objective == "episodes")
        self.encoder.requires_grad_(objective == "classes")

    def embed(self, features: Features) -> Features:
        """(n, frames, dim) -> (n, width), by the scaled and shifted encoder; idempotent."""
        if features.pooled:
            return features
        return Features(self.scale_shift(self.encoder, features), torch.ones_like(features.lengths))

    def start(self, z: Tensor, y: Tensor, n_way: int) -> tuple[Tensor, Tensor]:
        """z (..., n, width), y (..., n) -> the head of a prototypical network with a weighted metric."""
        members = nn.functional.one_hot(y, n_way).to(z.dtype) * clip_weights(y, n_way, dtype=z.dtype)[..., None]
        prototypes = members.mT @ z  # (..., n_way, width)
        weight = self.gain * prototypes
        return weight, -(weight * prototypes).sum(-1) / 2

    def accumulate_many(self, tasks: Sequence[Task], weight: float) -> list[float]:
        """Call `accumulate` for each task, all tasks of one shape at once."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for number, task in enumerate(tasks):
            n_way = count_classes(task.support_y, len(task.support))
            alike.setdefault((n_way, len(task.support), len(task.query)), []).append(number)
        losses = [0.0] * len(tasks)
        for (n_way, n_support, _), numbers in alike.items():
            group = [tasks[number] for number in numbers]
            loss = self._losses(group, n_way=n_way, n_support=n_support)
            (weight * loss.sum()).backward()  # type: ignore[no-untyped-call]
            for number, value in zip(numbers, loss.tolist(), strict=True):
                losses[number] = value
        return losses

    def _losses(self, tasks: Sequence[Task], *, n_way: int, n_support: int) -> Tensor:
        """Return the query loss of each of several tasks of one shape, (tasks,)."""
        clips = _join([part for task in tasks for part in (task.support, task.query)])
        z = self.embed(clips).x
        z = z.view(len(tasks), -1, z.shape[1])  # (tasks, n_support + n_query, width)
        head = self.fit_head(z[:, :n_support], torch.stack([task.support_y for task in tasks]), n_way)
        logits = head(z[:, n_support:])  # (tasks, n_query, n_way)
        query_y = torch.stack([task.query_y for task in tasks])
        return nn.functional.cross_entropy(logits.mT, query_y, reduction="none").mean(1)


def _join(parts: Sequence[Features]) -> Features:
    """Return the clips of all parts as one batch, padded to the longest."""
    lengths = torch.cat([part.lengths for part in parts])
    longest = max(part.x.shape[1] for part in parts)
    padded = [nn.functional.pad(part.x, (0, 0, 0, longest - part.x.shape[1])) for part in parts]
    return Features(torch.cat(padded), lengths)


class ScaleShift(nn.Module):
    """A scale for each kernel of a convolution and each neuron of a linear layer, a shift for each bias.

    The weight (out, in, *kernel) of a convolution is multiplied by a scale (out, in, 1, ...), the weight (out, in) of a
    linear layer by one of (out, 1). Scales begin at 1, shifts (out,) at 0. The network itself is not stored.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        layers = list(_layers(network))
        self.scales = nn.ParameterList(layer.weight.new_ones(_scale_shape(layer)) for layer in layers)
        self.shifts = nn.ParameterList(torch.zeros_like(layer.bias) for layer in layers if layer.bias is not None)

    def weights(self, network: nn.Module) -> dict[Tensor, Tensor]:
        """Return the scaled or shifted tensor for each weight and bias of the network's layers."""
        changed: dict[Tensor, Tensor] = {}
        shifts = iter(self.shifts)
        for scale, layer in zip(self.scales, _layers(network), strict=True):
            changed[layer.weight] = layer.weight * scale
            if layer.bias is not None:
                changed[layer.bias] = layer.bias + next(shifts)
        return changed

    def forward(self, network: nn.Module, *inputs: object) -> Tensor:
        """Return the output of the scaled and shifted network, which is not changed."""
        output: Tensor = bind(network, self.weights(network))(*inputs)
        return output


def _layers(network: nn.Module) -> Iterator[_Layer]:
    return (layer for layer in network.modules() if isinstance(layer, _Layer))


def _scale_shape(layer: _Layer) -> tuple[int, ...]:
    shape = tuple(layer.weight.shape)
    return (shape[0], 1) if isinstance(layer, nn.Linear) else (*shape[:2], *(1 for _ in shape[2:]))


LEARNER = MetaTransfer
