"""Write model and enrolled emotions as one file that runs without torch."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from ser_fewshot.cli._console import answer, counted
from ser_fewshot.cli._options import add_shared, require_new


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    add = parser.add_argument
    add("enrollment", type=Path, metavar="FILE", help="an enrolment file that 'enroll' wrote")
    add("--format", choices=("onnx",), default="onnx", help="default: onnx")
    add("--out", type=Path, required=True, help="the file, such as model.onnx")
    add("--voice", type=Path, metavar="VOICE", help="whose offset the graph subtracts by default, a file of 'listen'")
    add_shared(parser, "--force", "--json")


def run(arguments: argparse.Namespace) -> None:
    """Write an ONNX graph, from waveform to probabilities; if it does not give what PyTorch gives, write nothing."""
    from ser_fewshot.classifier import FewShotClassifier
    from ser_fewshot.classifier.onnx import export_onnx

    require_new("--out", arguments.out, arguments)
    classifier = FewShotClassifier.load(arguments.enrollment)
    voice = None if arguments.voice is None else classifier.load_voice(arguments.voice)
    exported = export_onnx(classifier, arguments.out, voice=voice)
    answer(
        arguments,
        {"file": str(arguments.out), "format": arguments.format, **asdict(exported)},
        f"exported {counted(len(exported.labels), 'emotion')}: {', '.join(exported.labels)}; "
        f"clips of up to {exported.longest:g} s; probabilities within {max(exported.deviation, 1e-9):.0e} of PyTorch; "
        f"{exported.size / 1e6:.1f} MB; file: {arguments.out}",
    )
