"""What the page does: pure functions from a state and an input to a new state.

None of them raises for what a visitor did: the new state's `notes` say it, and a note of level "error" means that
nothing was changed. All that change a session must share one queue (one `concurrency_id` with a limit of 1), or two
events at once of one visitor would each start from the same state and one would be lost.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import get_args

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.inputs import misspelt
from ser_fewshot.errors import SerFewshotError

from . import enrolled, examples, limits
from .clips import Given, check, note
from .contents import contents_of, refusal_of
from .doubts import doubts_of
from .intake import fit, legal_name, name_of, seconds_of, take
from .models import Models
from .session import Code, Enrolment, Mode, Note, Recognised, Session, Sound, Trail

FILE_NAME = "my_voice.safetensors"


def add_clips(
    session: Session, label: str, given: Sequence[Given], *, models: Models, name: str | None = None
) -> Session:
    """Check clips and enrol those that pass under a label, a new one or one that is there.

    `given` are what gradio hands over: paths of files, (rate, samples) of recordings, None for nothing; `name` is what
    to call them, by default as their files. Notes say of every refused clip why, and how many were added.
    """
    checked = _label(label)
    if isinstance(checked, Note):
        return said(session, checked)
    if not given:
        return said(session, note(Code.NO_CLIP, "error"))
    base = session.enrolment.classifier or models.empty(session.enrolment.mode)
    sounds, notes = take(given, checked, session.enrolment, trim=base.model.frontend.trim, name=name)
    if not sounds:
        return said(session, *notes)
    added = note(Code.ADDED, "info", count=len(sounds), label=checked)
    notes = (*notes, added, *_misspelt(checked, session.enrolment))
    return _changed(session, _with(session.enrolment, checked, sounds, models=models), *notes)


def load_examples(session: Session, *, models: Models) -> Session:
    """Enrol the synthetic clips that come with the package, in place of what was enrolled; undo brings that back."""
    enrolment = Enrolment(session.enrolment.mode)
    trim = models.empty(enrolment.mode).model.frontend.trim
    for label, sounds in examples.sounds(enrolment.mode, trim=trim).items():
        enrolment = _with(enrolment, label, sounds, models=models)
    return _changed(session, enrolment, _summary(Code.EXAMPLES_LOADED, enrolment))


def remove_clip(session: Session, name: str) -> Session:
    """Remove one clip by its name; a label without clips goes with its last one."""
    label = session.enrolment.label_of(name)
    if label is None:
        return said(session, note(Code.UNKNOWN_CLIP, "error", name=str(name)))
    changed = _without(session.enrolment, label, clip=name)
    return _changed(session, changed, note(Code.REMOVED, "info", name=name, label=label))


def forget(session: Session, label: str) -> Session:
    """Remove a label and its clips."""
    now = session.enrolment
    name = _label(label)
    if isinstance(name, Note) or name not in now.clips:
        return said(session, note(Code.UNKNOWN_LABEL, "error", label=str(label), labels=", ".join(now.clips)))
    return _changed(session, _without(now, name), note(Code.FORGOTTEN, "info", label=name))


def forget_everything(session: Session) -> Session:
    """Remove all of it, the steps of undo too; the page must start a new trail and a new stream beside it."""
    return Session(Enrolment(session.enrolment.mode), notes=(note(Code.EVERYTHING_FORGOTTEN, "info"),))


def undo(session: Session) -> Session:
    """Return to what was enrolled before the last change."""
    if not session.past:
        return said(session, note(Code.NOTHING_TO_UNDO, "info"))
    return Session(session.past[-1], session.past[:-1], (note(Code.UNDONE, "info"),))


def change_mode(session: Session, mode: Mode) -> Session:
    """Tell other things apart, "emotion" or "speaker": begins with nothing enrolled; undo brings back what was."""
    if mode == session.enrolment.mode or mode not in get_args(Mode):  # a program may send anything
        return said(session)
    return _changed(session, Enrolment(mode), note(Code.MODE_CHANGED, "info", mode=mode))


def recognise(session: Session, trail: Trail, given: Given, *, name: str | None = None) -> Trail:
    """Recognise one clip; the new trail's `last` is the answer, unless its notes hold an error.

    `name` is what to call the clip, by default as its file.
    """
    classifier = session.enrolment.classifier
    if classifier is None or not session.can_recognise:
        return replace(trail, notes=(note(Code.TOO_FEW_LABELS, "error", count=len(session.labels)),))
    sound, notes = check(given, name=name, trim=classifier.model.frontend.trim)
    if sound is None:
        return replace(trail, notes=notes)
    answer = _recognised(classifier, sound, mode=session.enrolment.mode)
    return Trail((*trail.recognised, answer)[-limits.TRAIL :], notes)


def correct(session: Session, trail: Trail, label: str, *, models: Models) -> tuple[Session, Trail]:
    """Add the last recognised clip to a label, a new one too ("no, this was awe"), and recognise it again.

    A clip that was corrected before moves from the label that it was given then.
    """
    name = _label(label)
    if trail.last is None or isinstance(name, Note):
        fault = name if isinstance(name, Note) else note(Code.NOTHING_RECOGNISED, "error")
        return said(session, fault), replace(trail, notes=(fault,))
    before = session.enrolment if name == trail.last.corrected else _uncorrected(session.enrolment, trail.last)
    sounds, notes = fit([trail.last.sound], name, before)
    if not sounds:
        return said(session, *notes), replace(trail, notes=notes)
    done = note(Code.CORRECTED, "info", name=sounds[0].clip.name, label=name)
    changed = _changed(session, _with(before, name, sounds, models=models), done, *_misspelt(name, before))
    now, mode = changed.enrolment.classifier, changed.enrolment.mode
    again = _recognised(now, trail.last.sound, mode=mode) if now is not None and changed.can_recognise else trail.last
    return changed, Trail((*trail.recognised[:-1], replace(again, corrected=name)), changed.notes)


def save(session: Session, folder: Path) -> tuple[Session, Path | None]:
    """Write the enrolment to a file in a folder that is this visitor's alone; None where there is nothing.

    The file opens with `FewShotClassifier.load` and `ser-fewshot predict`; no sound is in it.
    """
    classifier = session.enrolment.classifier
    if classifier is None or not session.labels:
        return said(session, note(Code.NOTHING_TO_SAVE, "error")), None
    path = folder / FILE_NAME
    try:
        classifier.save(path)
    except SerFewshotError as error:
        return said(session, note(Code.BAD_FILE, "error", detail=_without_folder(error, folder))), None
    return said(session, _summary(Code.SAVED, session.enrolment)), path


def load(session: Session, path: Path | str | None, *, models: Models) -> Session:
    """Take an enrolment file in place of what is enrolled; a file that cannot be trusted changes nothing."""
    if path is None:
        return said(session, note(Code.NO_FILE, "error"))
    try:
        contents = contents_of(Path(path))
        refusal = refusal_of(contents)
        if refusal is not None:
            return said(session, refusal)
        loaded = Enrolment(*enrolled.on_shared_model(Path(path), contents.config, models))
    except SerFewshotError as error:
        return said(session, note(Code.BAD_FILE, "error", detail=_without_folder(error, Path(path).parent)))
    return _changed(session, loaded, _summary(Code.LOADED, loaded))


def said(session: Session, *notes: Note) -> Session:
    """Return a session in which nothing changed but what there is to say."""
    return replace(session, notes=notes)


def _changed(session: Session, enrolment: Enrolment, *notes: Note) -> Session:
    """Return a session with another enrolment, from which undo leads back as far as memory allows."""
    past = (*session.past, session.enrolment)[-limits.UNDO_STEPS :]
    while past and seconds_of(sound for one in (*past, enrolment) for sound in one.sounds.values()) > (
        2 * limits.SOUND_SECONDS
    ):
        past = past[1:]
    return Session(enrolment, past, notes)


def _with(enrolment: Enrolment, label: str, sounds: Sequence[Sound], *, models: Models) -> Enrolment:
    """Return an enrolment with more clips."""
    base = enrolment.classifier or models.empty(enrolment.mode)
    classifier = enrolled.with_clips(base, label, [sound.clip for sound in sounds])
    new: Mapping[str, Sound] = {sound.clip.name: sound for sound in sounds}
    return replace(enrolment, classifier=classifier, sounds=MappingProxyType({**enrolment.sounds, **new}))


def _without(enrolment: Enrolment, label: str, *, clip: str | None = None) -> Enrolment:
    """Return an enrolment without a label that is there, or without one of its clips, and the sounds of the others."""
    if enrolment.classifier is None:
        return enrolment
    classifier = enrolled.without(enrolment.classifier, label, clip=clip)
    left = {name for names in classifier.enrolled.values() for name in names}
    sounds = {name: sound for name, sound in enrolment.sounds.items() if name in left}
    return replace(enrolment, classifier=classifier, sounds=MappingProxyType(sounds))


def _uncorrected(enrolment: Enrolment, last: Recognised) -> Enrolment:
    """Return an enrolment without the clip that an earlier correction added to it."""
    name = None if last.corrected is None else name_of(last.sound, enrolment)
    label = None if name is None else enrolment.label_of(name)
    return enrolment if label is None or label != last.corrected else _without(enrolment, label, clip=name)


def _recognised(classifier: FewShotClassifier, sound: Sound, *, mode: Mode) -> Recognised:
    """Return what a clip is recognised as; two classes are enrolled."""
    start = time.perf_counter()
    prediction = classifier.predict(sound.clip)
    seconds = time.perf_counter() - start
    doubts = doubts_of(classifier, prediction)
    return Recognised(sound, prediction, seconds, doubts, mode=mode, given_by=weakref.ref(classifier))


def _label(label: object) -> str | Note:
    """Return the name of a class as it is enrolled, or why it is none."""
    return legal_name(label, most=limits.LABEL_CHARACTERS, otherwise=Code.BAD_LABEL)


def _misspelt(label: str, enrolment: Enrolment) -> tuple[Note, ...]:
    """Return a doubt about a new name that looks like another one; names of people may differ by a letter."""
    found = misspelt([label], enrolment.clips) if enrolment.mode == "emotion" else {}
    return tuple(note(Code.MISSPELT, "warning", label=name, meant=meant) for name, meant in found.items())


def _summary(code: Code, enrolment: Enrolment) -> Note:
    return note(code, "info", count=enrolment.count, labels=", ".join(enrolment.clips))


def _without_folder(error: SerFewshotError, folder: Path) -> str:
    """Return an error without the server's folders, which are no visitor's business."""
    return str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), "")
