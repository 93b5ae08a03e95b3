"""Recognise clips with an enrolment."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.commands._console import say_json, say_table


def run(arguments: argparse.Namespace) -> None:
    """Print the most probable emotion of each clip, or that it is unknown, and the enrolled clip most alike."""
    predictions = FewShotClassifier.load(arguments.enrollment).predict(list(arguments.clips))
    pairs = list(zip(arguments.clips, predictions, strict=True))
    if arguments.json:
        say_json([{"clip": str(clip), **asdict(prediction)} for clip, prediction in pairs])
        return
    say_table(
        ("clip", "emotion", "probability", "nearest enrolled clip", "warnings"),
        (
            (
                clip,
                f"unknown, most like {prediction.label}" if prediction.unknown else prediction.label,
                f"{100 * prediction.probabilities[prediction.label]:.0f} %",
                f"{prediction.nearest.name} ({prediction.nearest.label})",
                "; ".join(prediction.warnings),
            )
            for clip, prediction in pairs
        ),
    )
