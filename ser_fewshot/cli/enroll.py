"""Enrol emotions into a file, or add to one and forget from one."""

from __future__ import annotations

import argparse
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ser_fewshot import audio, corpora
from ser_fewshot.audio import Clip
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.inputs import class_key
from ser_fewshot.cli._console import note, note_random, noted, report_skipped, say, say_json
from ser_fewshot.cli._outputs import require_new
from ser_fewshot.cli._text import counted, words
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import EnrollmentError


def run(arguments: argparse.Namespace) -> None:
    """Write the enrolment file; on any error, nothing is written.

    Raises:
        EnrollmentError: the options contradict each other, or leave nothing to do.
    """
    _check(arguments)
    if arguments.to is None or arguments.out.resolve() != arguments.to.resolve():
        require_new("--out", arguments.out, arguments)
    clips = _clips(arguments.folder, arguments.emotion)
    if arguments.to:
        classifier = FewShotClassifier.load(arguments.to)
        for label in arguments.forget:
            classifier.forget(_name(label))
        with noted():
            for label, paths in clips.items():
                classifier.add(label, _loaded(paths, classifier))
    else:
        classifier = FewShotClassifier.from_pretrained(
            arguments.model, learner=arguments.learner, classes=arguments.classes
        )
        with noted():
            classifier.enroll({label: _loaded(paths, classifier) for label, paths in clips.items()})
    _check_left(classifier, arguments)
    classifier.save(arguments.out)
    note_random(classifier.model)
    if len(classifier.labels) == 1:
        note(f"warning: {classifier.labels[0]} alone is enrolled: add another emotion before you recognise clips")
    if arguments.json:
        say_json({"enrollment": str(arguments.out), "classes": classifier.enrolled})
    else:
        counts = {label: counted(len(names), "clip") for label, names in classifier.enrolled.items()}
        say(f"enrolled {words(counts)}; file: {arguments.out}")


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


def _check_left(classifier: FewShotClassifier, arguments: argparse.Namespace) -> None:
    """Refuse to write an enrolment of nothing."""
    if not classifier.labels:
        raise EnrollmentError(
            "--forget",
            found="every emotion that is enrolled",
            expected="some emotion left, or a new one",
            remedy=f"Leave one out, name clips of another, or delete {arguments.to} if it is of no use any more.",
        )


def _clips(folder: Path | None, emotions: Sequence[Sequence[str]]) -> dict[str, list[Path]]:
    """Return the clips of each emotion, from a folder for each and from what was named one by one."""
    clips: dict[str, list[Path]] = defaultdict(list)
    if folder:
        found = corpora.scan("folder", folder)
        report_skipped(found.skipped, rest="'scan folder' with --json lists them all")
        known = {clip.emotion for clip in found.utterances} & {*corpora.ALIASES}
        if not known and (corpus := corpora.looks_like([clip.path for clip in found.utterances])):
            note(f"warning: the clips are named as those of {corpus}, and each folder becomes a class")
        root = folder.expanduser().absolute()
        for utterance in found.utterances:
            _class_of(clips, _own_word(utterance, root)).append(utterance.path)
        _check_no_class_is_lost(root, clips)
    for name, *sources in emotions:
        if not sources:
            raise EnrollmentError(
                f"--emotion {name}", found="no clips", expected="--emotion NAME CLIP [CLIP ...]", remedy="Name a clip."
            )
        _class_of(clips, _name(name)).extend(map(Path, sources))
    return clips


def _class_of(clips: dict[str, list[Path]], name: str) -> list[Path]:
    """Return the clips of a class, which is the same whatever the letter case of its name."""
    return clips[next((known for known in clips if class_key(known) == class_key(name)), name)]


def _loaded(paths: Sequence[Path], classifier: FewShotClassifier) -> list[Clip]:
    """Return clips as the model takes them, and warn of what is wrong with some but not fatal."""
    clips = [audio.load(path, trim=classifier.model.frontend.trim) for path in paths]
    for path, clip in zip(paths, clips, strict=True):
        for warning in clip.warnings:
            note(f"warning: {path}: {warning}")
    return clips


def _check_no_class_is_lost(root: Path, clips: Mapping[str, Sequence[Path]]) -> None:
    """Refuse a folder with a class folder that gave no clip: its emotion would be missing without a word."""
    used = {path.relative_to(root).parts[0] for paths in clips.values() for path in paths}
    folders = {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith((".", "_"))}
    if lost := sorted(folders - used):
        raise EnrollmentError(
            str(root),
            found=f"no usable clip in {', '.join(lost)}",
            expected="clips in the folder of every emotion",
            remedy="Put some clips there, in a format such as WAV or FLAC, or remove the folder.",
        )


def _own_word(utterance: Utterance, root: Path) -> str:
    """Return the emotion as its folder calls it: an enrolment speaks its user's words, not the corpora's nouns."""
    folders: Mapping[str, str] = {
        corpora.canonical_emotion(part): part for part in reversed(utterance.path.relative_to(root).parts[:-1])
    }
    return _name(folders[str(utterance.emotion)])


def _name(label: str) -> str:
    """Return a name as it is compared: composed, since macOS writes file names with decomposed accents, and bare."""
    return unicodedata.normalize("NFC", label).strip()
