"""Write an enrolment as one ONNX graph, from waveform to probabilities."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.onnx import export_onnx
from ser_fewshot.cli._console import say, say_json
from ser_fewshot.cli._outputs import require_new
from ser_fewshot.cli._text import counted


def run(arguments: argparse.Namespace) -> None:
    """Write the graph; if it does not give what PyTorch gives, nothing is written."""
    require_new("--out", arguments.out, arguments)
    exported = export_onnx(FewShotClassifier.load(arguments.enrollment), arguments.out)
    if arguments.json:
        say_json({"file": str(arguments.out), "format": arguments.format, **asdict(exported)})
        return
    say(
        f"exported {counted(len(exported.labels), 'emotion')}: {', '.join(exported.labels)}; "
        f"clips of up to {exported.longest:g} s; probabilities within {max(exported.deviation, 1e-9):.0e} of PyTorch; "
        f"{exported.size / 1e6:.1f} MB; file: {arguments.out}"
    )
