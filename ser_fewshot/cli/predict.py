"""Recognise clips with an enrolment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ser_fewshot.cli._console import say_json, say_table
from ser_fewshot.cli._options import add_shared
from ser_fewshot.errors import EnrollmentError
from ser_fewshot.storage.paths import what_is


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    parser.add_argument("enrollment", type=Path, metavar="FILE", help="an enrolment file that 'enroll' wrote")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Print the most probable emotion of each clip, or that it is unknown, and the enrolled clip most alike.

    Raises:
        EnrollmentError: the first argument is a clip.
    """
    from ser_fewshot.classifier import FewShotClassifier

    _check_order(arguments.enrollment, arguments.clips)
    predictions = FewShotClassifier.load(arguments.enrollment).predict(list(arguments.clips))
    pairs = list(zip(arguments.clips, predictions, strict=True))
    if arguments.json:
        say_json([{"clip": str(clip), **asdict(prediction)} for clip, prediction in pairs])
        return
    rows = (
        (
            clip,
            f"unknown, most like {prediction.label}" if prediction.unknown else prediction.label,
            f"{100 * prediction.probabilities[prediction.label]:.0f} %",
            f"{prediction.nearest.name} ({prediction.nearest.label})",
            "; ".join(prediction.warnings),
        )
        for clip, prediction in pairs
    )
    say_table(("clip", "emotion", "probability", "nearest enrolled clip", "warnings"), rows)


def _check_order(enrollment: Path, clips: Sequence[Path]) -> None:
    """Refuse a clip in the place of the enrolment, which would otherwise only be called damaged."""
    if what_is(enrollment) != "a sound file":
        return
    swapped = [path for path in clips if what_is(path) != "a sound file"]
    raise EnrollmentError(
        str(enrollment),
        found="a sound file as the first argument",
        expected="the enrolment file first, then the clips",
        remedy=f"The arguments look swapped: ser-fewshot predict {swapped[0]} {enrollment}"
        if swapped
        else "Name the file that 'enroll' wrote before the clips.",
    )
