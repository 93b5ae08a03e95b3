"""Enrol emotions from a few clips into one file."""

from __future__ import annotations

import argparse
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ser_fewshot.cli._console import (
    answer,
    counted,
    data_warnings_as_notes,
    note,
    note_random,
    note_skipped,
    words,
)
from ser_fewshot.cli._options import add_shared, require_new
from ser_fewshot.errors import EnrollmentError

if TYPE_CHECKING:
    from ser_fewshot.audio import Clip
    from ser_fewshot.classifier import FewShotClassifier
    from ser_fewshot.corpora import Utterance


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `enroll`."""
    add = parser.add_argument
    add("folder", nargs="?", type=Path, help="a folder with one folder of clips for each emotion")
    add(
        "--emotion",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "CLIP"),
        help="an emotion, or a speaker, and its clips; may be repeated",
    )
    add("--out", type=Path, required=True, help="the enrolment file; with --to it may be the same")
    add_shared(parser, "--force")
    add("--to", type=Path, metavar="FILE", help="add to this enrolment instead of beginning a new one")
    add("--forget", nargs="+", default=[], metavar="NAME", help="emotions to remove from it")
    add_shared(parser, "--model")
    add("--learner", help="another learner on the same encoder")
    add("--classes", choices=("emotion", "speaker"), help="what to tell apart (default: emotion)")
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Write the enrolment file; on any error, nothing is written.

    Raises:
        EnrollmentError: the options contradict each other, or leave nothing to do.
    """
    _check(arguments)
    if arguments.to is None or arguments.out.resolve() != arguments.to.resolve():
        require_new("--out", arguments.out, arguments)
    classifier = _enrolled(arguments)
    if not classifier.labels:
        raise EnrollmentError(
            "--forget",
            found="every emotion that is enrolled",
            expected="some emotion left, or a new one",
            remedy=f"Leave one out, name clips of another, or delete {arguments.to} if it is of no use any more.",
        )
    classifier.save(arguments.out)
    note_random(classifier.model)
    if len(classifier.labels) == 1:
        note(f"warning: {classifier.labels[0]} alone is enrolled: add another emotion before you recognise clips")
    counts = {label: counted(len(names), "clip") for label, names in classifier.enrolled.items()}
    line = f"enrolled {words(counts)}; file: {arguments.out}"
    answer(arguments, {"enrollment": str(arguments.out), "classes": classifier.enrolled}, line)


def _enrolled(arguments: argparse.Namespace) -> FewShotClassifier:
    """Return a classifier, new or that of --to, with the named clips and without what is to be forgotten."""
    from ser_fewshot.classifier import FewShotClassifier

    clips = _clips(arguments.folder, arguments.emotion)
    if arguments.to:
        classifier = FewShotClassifier.load(arguments.to)
        for label in arguments.forget:
            classifier.forget(_name(label))
        with data_warnings_as_notes():
            for label, paths in clips.items():
                classifier.add(label, _loaded(paths, classifier))
        return classifier
    classifier = FewShotClassifier.from_pretrained(
        arguments.model, learner=arguments.learner, classes=arguments.classes
    )
    with data_warnings_as_notes():
        classifier.enroll({label: _loaded(paths, classifier) for label, paths in clips.items()})
    return classifier


def _check(arguments: argparse.Namespace) -> None:
    if arguments.to and (arguments.model or arguments.learner or arguments.classes):
        raise EnrollmentError(
            "--model, --learner and --classes",
            found="an enrolment that has its own model already",
            expected="none of the three beside --to",
            remedy="Leave them out, or begin a new enrolment.",
        )
    if arguments.forget and not arguments.to:
        raise EnrollmentError(
            "--forget", found="no enrolment to forget from", expected="--to FILE", remedy="Name the enrolment file."
        )
    if not (arguments.folder or arguments.emotion or arguments.forget):
        raise EnrollmentError(
            "enroll",
            found="no clips",
            expected="a folder with one folder of clips for each emotion, or --emotion NAME CLIP [CLIP ...]",
            remedy="Name some clips, or with --to also something to --forget.",
        )


def _clips(folder: Path | None, emotions: Sequence[Sequence[str]]) -> dict[str, list[Path]]:
    """Return the clips of each emotion, from the folders of one folder and from the options `--emotion`."""
    from ser_fewshot import corpora

    clips: dict[str, list[Path]] = defaultdict(list)
    if folder:
        found = corpora.scan("folder", folder)
        note_skipped(found.skipped, rest="'scan folder' with --json lists them all")
        known = {clip.emotion for clip in found.utterances} & {*corpora.ALIASES}
        if not known and (corpus := corpora.looks_like([clip.path for clip in found.utterances])):
            note(f"warning: the clips are named as those of {corpus}, and each folder becomes a class")
        root = folder.expanduser().absolute()
        for utterance in found.utterances:
            _class_of(clips, _folder_name(utterance, root)).append(utterance.path)
        _check_no_class_is_lost(root, clips)
    for name, *sources in emotions:
        if not sources:
            raise EnrollmentError(
                f"--emotion {name}", found="no clips", expected="--emotion NAME CLIP [CLIP ...]", remedy="Name a clip."
            )
        _class_of(clips, _name(name)).extend(map(Path, sources))
    return clips


def _class_of(clips: dict[str, list[Path]], name: str) -> list[Path]:
    """Return the list of clips of a class, whose name may be in another letter case."""
    from ser_fewshot.classifier.inputs import class_key

    return clips[next((known for known in clips if class_key(known) == class_key(name)), name)]


def _loaded(paths: Sequence[Path], classifier: FewShotClassifier) -> list[Clip]:
    """Load clips as the model takes them, and print their warnings."""
    from ser_fewshot import audio

    clips = [audio.load(path, trim=classifier.model.frontend.trim) for path in paths]
    for path, clip in zip(paths, clips, strict=True):
        for warning in clip.warnings:
            note(f"warning: {path}: {warning}")
    return clips


def _check_no_class_is_lost(root: Path, clips: Mapping[str, Sequence[Path]]) -> None:
    """Refuse a class folder without a usable clip, whose emotion would otherwise be missing without a word."""
    used = {path.relative_to(root).parts[0] for paths in clips.values() for path in paths}
    folders = {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith((".", "_"))}
    if lost := sorted(folders - used):
        raise EnrollmentError(
            str(root),
            found=f"no usable clip in {', '.join(lost)}",
            expected="clips in the folder of every emotion",
            remedy="Put some clips there, in a format such as WAV or FLAC, or remove the folder.",
        )


def _folder_name(utterance: Utterance, root: Path) -> str:
    """Return the emotion under the name of its folder, which is the user's, and not the canonical noun."""
    from ser_fewshot import corpora

    folders: Mapping[str, str] = {
        corpora.canonical_emotion(part): part for part in reversed(utterance.path.relative_to(root).parts[:-1])
    }
    return _name(folders[str(utterance.emotion)])


def _name(label: str) -> str:
    """Return a stripped name in composed form, since macOS decomposes the accents in file names."""
    return unicodedata.normalize("NFC", label).strip()
