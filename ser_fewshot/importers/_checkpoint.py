"""A checkpoint in the terms of transformers, and the report of its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ser_fewshot.errors import CheckpointError
from ser_fewshot.storage.tensors import listed


@dataclass(frozen=True, eq=False)
class Head:
    """An emotion head that is affine in the mean over time of the last layer, or of a mixture of all: weight h + bias.

    Attributes:
        weight: (n_classes, width).
        bias: (n_classes,).
        labels: (n_classes,) of its rows.
        layers: (n_layers,) shares of all layers before their softmax; None where it reads the last alone.
    """

    weight: Tensor
    bias: Tensor
    labels: tuple[str, ...]
    layers: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A speech encoder in the terms of transformers, whatever its file was.

    Attributes:
        layout: the plug-in that read it.
        architecture: its configuration, as transformers names it.
        preprocessor: as in preprocessor_config.json.
        tensors: its weights by the names of the base model, floating point ones as float32.
        dropped: name in the file -> why it is left out.
        head: its emotion head, if it has one that can be carried over.
        notes: what had to be assumed, one sentence each.
    """

    layout: str
    architecture: dict[str, Any]
    preprocessor: dict[str, Any]
    tensors: dict[str, Tensor]
    dropped: dict[str, str] = field(default_factory=dict)
    head: Head | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class KeyReport:
    """What became of every key.

    Attributes:
        matched: names that go into the model.
        dropped: name -> why it is left out on purpose.
        missing: names that the model needs and the source lacks.
        unexpected: names that the model has no place for and no rule drops.
        misshapen: name -> both shapes, in words.
    """

    matched: tuple[str, ...]
    dropped: dict[str, str]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: dict[str, str]

    @property
    def reasons(self) -> dict[str, tuple[str, ...]]:
        """Reason -> the keys that were dropped for it, sorted."""
        return {
            reason: tuple(sorted(name for name, why in self.dropped.items() if why == reason))
            for reason in sorted(set(self.dropped.values()))
        }


def compare(
    expected: Mapping[str, Sequence[int]], tensors: Mapping[str, Tensor], *, dropped: Mapping[str, str]
) -> KeyReport:
    """Compare the weights of a source with the shapes that a model expects, by name."""
    shared = sorted(set(expected) & set(tensors))
    misshapen = {
        name: f"{tuple(tensors[name].shape)} instead of {tuple(expected[name])}"
        for name in shared
        if tuple(tensors[name].shape) != tuple(expected[name])
    }
    return KeyReport(
        matched=tuple(name for name in shared if name not in misshapen),
        dropped=dict(dropped),
        missing=tuple(sorted(set(expected) - set(tensors))),
        unexpected=tuple(sorted(set(tensors) - set(expected))),
        misshapen=misshapen,
    )


def check_complete(report: KeyReport, *, origin: str, allow_partial: bool) -> None:
    """Refuse a source that does not fill the model, so that nobody unknowingly runs on random weights."""
    faults = [f"{name} of shape {shapes}" for name, shapes in report.misshapen.items()]
    partial = not allow_partial and (report.missing or report.unexpected)
    if not (faults or partial or not report.matched):
        return
    parts = {"": faults, "missing: ": report.missing, "unexpected: ": report.unexpected}
    advice = "" if faults or not report.matched else "; --allow-partial takes what matches and leaves the rest random"
    n_expected = len(report.matched) + len(report.missing) + len(faults)
    raise CheckpointError(
        origin,
        found=f"{len(report.matched)} matching weights; "
        + "; ".join(f"{part}{listed(names)}" for part, names in parts.items() if names),
        expected=f"all {n_expected} weights of its architecture, and no others",
        remedy=f"Take weights and configuration from one source{advice}.",
    )
