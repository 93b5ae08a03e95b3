"""The graph of an export to ONNX: the module that is traced, and how."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ser_fewshot.audio import MIN_SECONDS, SAMPLE_RATE
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.frontends import Features, normalize
from ser_fewshot.learners import evaluating

Waveform = NDArray[np.float32]

_OPSET = 18  # the oldest that torch's exporter writes without converting
_LOGGERS = ("torch", "onnxscript", "onnx_ir")  # of warnings that no user can act on


@runtime_checkable
class TraceableFrontEnd(Protocol):
    """A front-end that can be exported.

    Attributes:
        traceable_seconds: the longest clip, in s, of which the module below gives what `analyse` gives.
    """

    @property
    def traceable_seconds(self) -> float: ...

    def traceable(self) -> nn.Module:
        """Return a module from one waveform (1, samples) to its frames (1, frames, dim)."""


class Graph(nn.Module):
    """The module that is traced."""

    def __init__(self, frontend: TraceableFrontEnd, classifier: FewShotClassifier) -> None:
        super().__init__()
        self.frontend, self.learner = frontend.traceable(), classifier.model.learner
        self.adapted: Any = classifier._state.classifier  # there is one: `predict` has refused to go on without
        self.temperature = classifier._state.temperature
        self.normalization = classifier.model.config.normalization
        speakers = classifier.model.speakers
        self.width = None if speakers is None else len(speakers.basis)

    def forward(self, waveform: Tensor, offset: Tensor | None = None) -> Tensor:
        """(1, samples), (width,) -> (1, n_way)."""
        (frames,) = normalize([self.frontend(waveform)[0]], self.normalization)
        features = Features(frames[None], torch.full((1,), frames.shape[0]))
        embedded = self.learner.embed(features)
        embedded = embedded if offset is None else replace(embedded, x=embedded.x - offset)
        logits: Tensor = self.adapted(embedded)
        return (logits / self.temperature).softmax(1)


def traced(graph: Graph, *, like: Waveform, longest: float) -> Any:
    """Return the graph as a protocol buffer, for clips of MIN_SECONDS to `longest` s.

    Raises:
        torch.onnx.OnnxExporterError: a step cannot be traced, or ONNX has no operation for it.
    """
    offset = () if graph.width is None else (torch.zeros(graph.width),)
    samples = torch.export.Dim("samples", min=round(MIN_SECONDS * SAMPLE_RATE), max=round(longest * SAMPLE_RATE))
    with _quiet(), evaluating(graph.learner):
        program: Any = torch.onnx.export(
            graph.eval(),
            (torch.from_numpy(like)[None], *offset),
            dynamo=True,
            input_names=["waveform", "offset"][: 1 + len(offset)],
            output_names=["probabilities"],
            dynamic_shapes=({1: samples}, None)[: 1 + len(offset)],
            opset_version=_OPSET,
            custom_translation_table=_translations(),
            verbose=False,
        )
    proto = program.model_proto
    # These fields only describe the tracing, with paths of this machine.
    described = [proto.graph, *proto.graph.node, *proto.graph.initializer, *proto.graph.input, *proto.graph.output]
    for part in described:
        part.ClearField("metadata_props")
    proto.graph.ClearField("value_info")
    return proto


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Return the operations of torch that its exporter does not know, in those of ONNX."""
    from onnxscript import opset18  # noqa: PLC0415 - it may not be installed

    op: Any = opset18  # its types do not know that a list is as good as a constant

    def city_block(a: Any, b: Any, p: float, compute_mode: int | None = None) -> Any:
        """a (n, width), b (m, width) -> sums of absolute differences (n, m), which is `torch.cdist` for p = 1."""
        if p != 1:
            raise NotImplementedError(f"cdist with p = {p}")
        return op.ReduceSum(op.Abs(op.Sub(op.Unsqueeze(a, [1]), op.Unsqueeze(b, [0]))), [2], keepdims=0)

    def stable_sort(x: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Any:
        """Sort; of equal values TopK promises the one with the lower index first, as a stable sort does."""
        return op.TopK(x, op.Gather(op.Shape(x), [dim]), axis=dim, largest=int(descending))

    aten = torch.ops.aten
    return {aten._cdist_forward.default: city_block, aten.sort.stable: stable_sort}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings of torch's exporter."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    try:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # where it prints a graph that it gave up on
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
