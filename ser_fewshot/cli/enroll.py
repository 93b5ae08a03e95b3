"""Enrol emotions from a few clips into one file."""

from __future__ import annotations

import argparse
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
    from ser_fewshot.classifier import FewShotClassifier
    from ser_fewshot.corpora import Utterance

_NAMED = 5  # speakers in a sentence


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `enroll`."""
    add = parser.add_argument
    add("folder", nargs="?", type=Path, help="a folder with one folder of clips for each emotion: angry/maria/a.wav")
    add("--manifest", nargs="+", type=Path, default=[], metavar="TABLE", help="tables of file, emotion and speaker")
    add(
        "--emotion", nargs="+", action="append", default=[], metavar=("NAME", "CLIP"), help="its clips; may be repeated"
    )
    add("--speaker", metavar="NAME", help="who speaks in all clips of the folder and of --emotion")
    add("--out", type=Path, required=True, help="the enrolment file; with --to it may be the same")
    add_shared(parser, "--force")
    add("--to", type=Path, metavar="FILE", help="add to this enrolment instead of beginning a new one")
    add("--forget", nargs="+", default=[], metavar="NAME", help="emotions to remove from it")
    add_shared(parser, "--model")
    add("--learner", help="another learner on the same encoder")
    add("--classes", choices=("emotion", "speaker"), help="what to tell apart (default: emotion)")
    add(
        "--clean-only",
        action="store_true",
        help="enrol clips as they are, not through noise, a room and a telephone too; with --to as the file says",
    )
    add_shared(parser, "--json")


def run(arguments: argparse.Namespace) -> None:
    """Write the enrolment file; on any error, nothing is written."""
    from ser_fewshot.classifier.inputs import class_key

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
    speakers = {label: members.speakers for label, members in classifier.members.items()}
    known = {class_key(name) for names in speakers.values() for name in names if name is not None}
    of = f"; {counted(len(known), 'speaker')}" if known else ""
    line = f"enrolled {words(counts)}{of}; file: {arguments.out}"
    report = {"enrollment": str(arguments.out), "classes": classifier.enrolled, "speakers": speakers}
    answer(arguments, report, line)


def _enrolled(arguments: argparse.Namespace) -> FewShotClassifier:
    """Return a classifier, new or that of --to, with the named clips and without what is to be forgotten."""
    from ser_fewshot.classifier import FewShotClassifier
    from ser_fewshot.cli._data import load_clips

    if arguments.to:
        classifier = FewShotClassifier.load(arguments.to)
    else:
        model, learner, classes = arguments.model, arguments.learner, arguments.classes
        classifier = FewShotClassifier.from_pretrained(
            model, learner=learner, classes=classes, clean_only=arguments.clean_only
        )
    by_speaker = "speaker" in (arguments.classes, classifier.model.config.view)
    clips = _clips(arguments, by_speaker=by_speaker)
    if arguments.to and clips:
        _note_clean_only(classifier.clean_only, arguments.clean_only)
    for label in arguments.forget:
        classifier.forget(_name(label))
    with data_warnings_as_notes():
        loaded = {label: load_clips(members, classifier.model) for label, members in clips.items()}
        speakers = {
            label: [None if by_speaker else member.speaker for member in members] for label, members in clips.items()
        }
        if not arguments.to:
            classifier.enroll(loaded, speakers=speakers)
            return classifier
        for label, members in loaded.items():
            classifier.add(label, members, speakers=speakers[label])
    return classifier


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that contradict each other, and a command without anything to do."""
    _check_addition(arguments)
    if arguments.speaker is not None and not (arguments.folder or arguments.emotion):
        raise EnrollmentError(
            "--speaker",
            found="neither a folder nor --emotion",
            expected="one of the two beside it",
            remedy="Leave it out: a table of --manifest names its own speakers.",
        )
    if not (arguments.folder or arguments.manifest or arguments.emotion or arguments.forget):
        raise EnrollmentError(
            "enroll",
            found="no clips",
            expected="a folder with one folder of clips for each emotion, --manifest TABLE, or "
            "--emotion NAME CLIP [CLIP ...]",
            remedy="Name some clips, or with --to also something to --forget.",
        )


def _check_addition(arguments: argparse.Namespace) -> None:
    """Refuse options of a new enrolment beside --to, and --forget without it."""
    if arguments.to and (arguments.model or arguments.learner or arguments.classes):
        raise EnrollmentError(
            "--model, --learner and --classes",
            found="an enrolment that has its own model",
            expected="none of the three beside --to",
            remedy="Leave them out, or begin a new enrolment.",
        )
    if arguments.forget and not arguments.to:
        raise EnrollmentError(
            "--forget", found="no enrolment to forget from", expected="--to FILE", remedy="Name the enrolment file."
        )


def _note_clean_only(of_file: bool, of_option: bool) -> None:
    """Say how clips are added where the file's setting is not that of --clean-only."""
    if of_file and not of_option:
        note("the enrolment is clean only: clips are added as they are, not through noise, a room and a telephone too")
    elif of_option and not of_file:
        note("the enrolment is not clean only: --clean-only changes nothing, it needs a new enrolment")


def _clips(arguments: argparse.Namespace, *, by_speaker: bool) -> dict[str, list[Utterance]]:
    """Return the clips of each class, from a folder of folders, from manifests and from the options `--emotion`."""
    from ser_fewshot.corpora import Utterance

    if arguments.speaker is not None and by_speaker:
        raise EnrollmentError(
            "--speaker",
            found=f"{arguments.speaker!r}, with speakers as classes",
            expected="it beside emotions only",
            remedy=f"Leave it out, or enrol a class: --emotion {arguments.speaker!r} CLIP [CLIP ...].",
        )
    clips: dict[str, list[Utterance]] = defaultdict(list)
    if arguments.folder:
        _add_folder(clips, arguments.folder, arguments.speaker)
    if arguments.manifest:
        _add_manifests(clips, arguments.manifest, by_speaker=by_speaker)
    for name, *sources in arguments.emotion:
        if not sources:
            raise EnrollmentError(
                f"--emotion {name}", found="no clips", expected="--emotion NAME CLIP [CLIP ...]", remedy="Name a clip."
            )
        members = (Utterance(source, Path(source), "", speaker=arguments.speaker) for source in sources)
        _class_of(clips, _name(name)).extend(members)
    return clips


def _add_folder(clips: dict[str, list[Utterance]], folder: Path, speaker: str | None) -> None:
    """Add the clips of a folder of folders, under the names of those."""
    from ser_fewshot import corpora

    found = corpora.scan("folder", folder)
    note_skipped(found.skipped, rest="'scan folder' with --json lists them all")
    known = {clip.emotion for clip in found.utterances} & {*corpora.ALIASES}
    if not known and (corpus := corpora.looks_like([clip.path for clip in found.utterances])):
        note(f"warning: the clips are named as those of {corpus}, and each folder becomes a class")
    others = sorted({str(clip.speaker) for clip in found.utterances} - {"None", str(speaker)})
    if speaker is not None and others:
        raise EnrollmentError(
            "--speaker",
            found=f"{speaker!r}, and folders of the speakers {words(others[:_NAMED])}",
            expected="one of the two",
            remedy="Leave it out: the folders name the speakers.",
        )
    root = folder.expanduser().absolute()
    for utterance in found.utterances:
        _class_of(clips, _folder_name(utterance, root)).append(replace(utterance, speaker=speaker or utterance.speaker))
    _check_no_class_is_lost(root, clips)


def _add_manifests(clips: dict[str, list[Utterance]], tables: Sequence[Path], *, by_speaker: bool) -> None:
    """Add the clips of manifests by emotion or by speaker; with several corpora, speakers are told apart by them."""
    from ser_fewshot.cli._data import read_manifests

    utterances = read_manifests(tables).utterances
    several = len({one.corpus for one in utterances}) > 1
    unlabelled = 0
    for one in utterances:
        speaker = one.speaker_key if several else one.speaker
        label = speaker if by_speaker else one.emotion
        if label is None:
            unlabelled += 1
        else:
            _class_of(clips, _name(label)).append(replace(one, speaker=speaker))
    if unlabelled:
        note(f"warning: {counted(unlabelled, 'clip')} without {'a speaker' if by_speaker else 'an emotion'} left out")


def _class_of(clips: dict[str, list[Utterance]], name: str) -> list[Utterance]:
    """Return the list of clips of a class, whose name may be in another letter case."""
    from ser_fewshot.classifier.inputs import class_key

    return clips[next((known for known in clips if class_key(known) == class_key(name)), name)]


def _check_no_class_is_lost(root: Path, clips: Mapping[str, Sequence[Utterance]]) -> None:
    """Refuse a class folder without a usable clip, whose emotion would otherwise be missing without a word."""
    used = {one.path.relative_to(root).parts[0] for members in clips.values() for one in members}
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
