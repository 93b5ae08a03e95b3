"""Recognise clips with an enrolment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ser_fewshot.cli._console import counted, data_warnings_as_notes, note, say_json, say_table
from ser_fewshot.cli._options import add_shared, check_order

if TYPE_CHECKING:
    from ser_fewshot.classifier import Prediction


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    parser.add_argument("enrollment", type=Path, metavar="FILE", help="an enrolment file that 'enroll' wrote")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    voice = parser.add_mutually_exclusive_group()
    voice.add_argument("--voice", type=Path, metavar="VOICE", help="the voice of the speaker, a file of 'listen'")
    voice.add_argument(
        "--same-speaker",
        action="store_true",
        help="one speaker speaks in all clips, of several enrolled emotions: estimate the voice from them",
    )
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Print the answer to each clip, an emotion or that it is unknown, and the enrolled clip most alike."""
    predictions = _predictions(arguments)
    pairs = list(zip(arguments.clips, predictions, strict=True))
    if arguments.json:
        say_json([{"clip": str(clip), **prediction.as_dict()} for clip, prediction in pairs])
        return
    rows = (
        (
            clip,
            prediction.text,
            f"{100 * prediction.shares[prediction.answer]:.0f} %",
            f"{prediction.nearest.name} ({prediction.nearest.label})",
            "; ".join(prediction.warnings),
        )
        for clip, prediction in pairs
    )
    say_table(("clip", "emotion", "probability", "nearest enrolled clip", "warnings"), rows)


def _predictions(arguments: argparse.Namespace) -> list[Prediction]:
    """Return the prediction for each clip, and note by what voice."""
    from ser_fewshot.classifier import FewShotClassifier

    check_order(arguments)
    classifier = FewShotClassifier.load(arguments.enrollment)
    voice = None if arguments.voice is None else classifier.load_voice(arguments.voice)
    with data_warnings_as_notes():
        predictions = classifier.predict(list(arguments.clips), voice=voice, same_speaker=arguments.same_speaker)
    if n_clips := predictions[0].voice_clips:
        note(f"the offset of the voice is subtracted, estimated from {counted(n_clips, 'clip')}")
    elif voice is not None:
        note("warning: the model has no statistics of speakers: the voice changes nothing")
    return predictions
