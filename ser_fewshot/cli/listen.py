"""Listen to a speaker: write the voice, from clips of any emotion without labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from ser_fewshot.cli._console import answer, counted, data_warnings_as_notes
from ser_fewshot.cli._options import add_shared, check_order, require_new


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `listen`."""
    add = parser.add_argument
    add("enrollment", type=Path, metavar="FILE", help="an enrolment file that 'enroll' wrote")
    add("clips", nargs="+", type=Path, metavar="CLIP", help="clips of one speaker")
    add("--out", type=Path, required=True, help="the file, such as anna.voice; with --voice may be the same")
    add("--voice", type=Path, metavar="VOICE", help="a voice of the same speaker, to which the clips are added")
    add_shared(parser, "--force", "--json")


def run(arguments: argparse.Namespace) -> None:
    """Write the mean embedding of the clips, which `predict --voice` takes; on any error, nothing is written."""
    from ser_fewshot.classifier import FewShotClassifier
    from ser_fewshot.cli._data import load_clips
    from ser_fewshot.corpora import Utterance

    check_order(arguments)
    if arguments.voice is None or arguments.out.resolve() != arguments.voice.resolve():
        require_new("--out", arguments.out, arguments)
    classifier = FewShotClassifier.load(arguments.enrollment)
    old = None if arguments.voice is None else classifier.load_voice(arguments.voice)
    clips = load_clips([Utterance(path.name, path, "") for path in arguments.clips], classifier.model)
    with data_warnings_as_notes():
        voice = classifier.listen(clips) if old is None else old.update(clips)
    voice.save(arguments.out)
    line = f"listened to {counted(voice.n_clips, 'clip')}; file: {arguments.out}"
    answer(arguments, {"voice": str(arguments.out), "voice_clips": voice.n_clips}, line)
