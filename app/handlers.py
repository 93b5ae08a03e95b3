"""What the page does: pure functions from a state and an input to a new state.

None of them raises for what a visitor did: the new state's `notes` say it, and a note of level "error" means that
nothing was changed. All that change a session must share one queue (one `concurrency_id` with a limit of 1), or two
events at once of one visitor would each start from the same state and one would be lost.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.classifier.inputs import misspelt
from ser_fewshot.errors import SerFewshotError

from . import enrolment_file, examples, limits
from .clips import RECORDING, ClipInput, Sound, check
from .diagnostics import doubts_of
from .enrolment import Enrolment, checked_name, seconds_of
from .models import Mode, Models
from .notes import Code, Note, note
from .session import History, Recognised, Session, SessionVoice

FILE_NAME = "my_voice.safetensors"


def add_clips(
    session: Session, label: str, given: Sequence[ClipInput], *, models: Models, name: str | None = None
) -> Session:
    """Check clips and enrol those that pass under a label, a new one or one that is there.

    They are called `name`, by default as their files. Notes say of every refused clip why, and how many were added.
    """
    checked = _label(label)
    if isinstance(checked, Note):
        return with_notes(session, checked)
    if not given:
        return with_notes(session, note(Code.NO_CLIP))
    classifier = session.enrolment.classifier or models.empty(session.enrolment.mode)
    notes: list[Note] = []
    sounds: list[Sound] = []
    for one in given[: limits.CLIPS_AT_ONCE]:
        sound, about = check(one, name=name, trim=classifier.model.frontend.trim)
        notes += about
        sounds += [] if sound is None else [sound]
    admitted, refused = session.enrolment.admit(sounds, checked)
    if len(given) > limits.CLIPS_AT_ONCE:
        notes.append(note(Code.TOO_MANY_AT_ONCE, most=limits.CLIPS_AT_ONCE))
    notes += refused
    if not admitted:
        return with_notes(session, *notes)
    notes += [note(Code.ADDED, count=len(admitted), label=checked), *_misspelt(checked, session.enrolment)]
    return _changed(session, session.enrolment.with_clips(checked, admitted, models=models), *notes)


def add_recording_and_files(
    session: Session, label: str, recording: ClipInput, files: Sequence[ClipInput], *, models: Models
) -> Session:
    """Enrol a recording and dropped files; without a legal label nothing, but a note asks for one."""
    notes: list[Note] = []
    for given, name in (([] if recording is None else [recording], RECORDING), (files, None)):
        if given:
            session = add_clips(session, label, given, models=models, name=name)
            notes += session.notes
    if any(one.code is Code.BAD_LABEL for one in notes):
        notes = [note(Code.NAME_FIRST, most=limits.LABEL_CHARACTERS)]
    return with_notes(session, *notes)


def load_examples(session: Session, *, models: Models) -> Session:
    """Enrol the example clips in place of what was enrolled; undo brings that back."""
    enrolment = Enrolment(session.enrolment.mode)
    trim = models.empty(enrolment.mode).model.frontend.trim
    for label, sounds in examples.sounds(enrolment.mode, trim=trim).items():
        enrolment = enrolment.with_clips(label, sounds, models=models)
    return _changed(session, enrolment, _summary(Code.EXAMPLES_LOADED, enrolment))


def remove_clip(session: Session, name: str) -> Session:
    """Remove one clip by its name; a label goes with its last clip."""
    label = session.enrolment.label_of(name)
    if label is None:
        return with_notes(session, note(Code.UNKNOWN_CLIP, name=str(name)))
    return _changed(session, session.enrolment.without(label, clip=name), note(Code.REMOVED, name=name, label=label))


def forget(session: Session, label: str) -> Session:
    """Remove a label and its clips."""
    name = _label(label)
    if isinstance(name, Note) or name not in session.labels:
        return with_notes(session, note(Code.UNKNOWN_LABEL, label=str(label), labels=", ".join(session.labels)))
    return _changed(session, session.enrolment.without(name), note(Code.FORGOTTEN, label=name))


def forget_everything(session: Session) -> Session:
    """Remove all of it, also what undo holds; the page must start a new history, stream and voice beside it."""
    return Session(
        Enrolment(session.enrolment.mode), notes=(note(Code.EVERYTHING_FORGOTTEN),), person=session.person + 1
    )


def undo(session: Session) -> Session:
    """Return to what was enrolled before the last change."""
    if not session.past:
        return with_notes(session, note(Code.NOTHING_TO_UNDO))
    return replace(session, enrolment=session.past[-1], past=session.past[:-1], notes=(note(Code.UNDONE),))


def change_mode(session: Session, mode: Mode) -> Session:
    """Take classes of another kind, "emotion" or "speaker", with nothing enrolled; undo brings back what was."""
    if mode == session.enrolment.mode or mode not in get_args(Mode):  # a program may send anything
        return with_notes(session)
    return _changed(new_person(session), Enrolment(mode), note(Code.MODE_CHANGED, mode=mode))


def new_person(session: Session) -> Session:
    """Begin anew to get used to a voice."""
    return replace(session, person=session.person + 1, notes=())


def recognise(session: Session, history: History, given: ClipInput, *, name: str | None = None) -> History:
    """Recognise one clip alone, called as its file by default; `last` is the answer, unless the notes hold an error."""
    return recognise_and_listen(session, history, SessionVoice(), given, name=name)[0]


def recognise_and_listen(
    session: Session, history: History, voice: SessionVoice, given: ClipInput, *, name: str | None = None
) -> tuple[History, SessionVoice]:
    """Recognise one clip with the voice of earlier ones, and then add it to the voice, unless it is no speech."""
    classifier = session.enrolment.classifier
    if classifier is None or not session.can_recognise:
        return replace(history, notes=(note(Code.TOO_FEW_LABELS, count=len(session.labels)),)), voice
    sound, notes = check(given, name=name, trim=classifier.model.frontend.trim)
    if sound is None:
        return replace(history, notes=notes), voice
    listen = all(one.code is not Code.NO_SPEECH for one in notes)
    answer, voice = _recognised(session, classifier, sound, voice, listen=listen)
    return History((*history.recognised, answer)[-limits.RECOGNISED :], notes), voice


def correct(session: Session, history: History, label: str, *, models: Models) -> tuple[Session, History]:
    """Add the last recognised clip to a label, a new one too ("no, this was awe"), and recognise it again.

    A clip that was corrected before moves from the label that it was given then.
    """
    name, last = _label(label), history.last
    if last is None or isinstance(name, Note):
        fault = name if isinstance(name, Note) else note(Code.NOTHING_RECOGNISED)
        return with_notes(session, fault), replace(history, notes=(fault,))
    before = session.enrolment if name == last.corrected else _uncorrected(session.enrolment, last)
    sounds, notes = before.admit([last.sound], name)
    if not sounds:
        return with_notes(session, *notes), replace(history, notes=notes)
    done = note(Code.CORRECTED, name=sounds[0].clip.name, label=name)
    changed = _changed(session, before.with_clips(name, sounds, models=models), done, *_misspelt(name, before))
    again, now = last, changed.enrolment.classifier
    if now is not None and changed.can_recognise:
        again, _ = _recognised(changed, now, last.sound, last.voice, listen=False)
    return changed, History((*history.recognised[:-1], replace(again, corrected=name)), changed.notes)


def save(session: Session, folder: Path) -> tuple[Session, Path | None]:
    """Write the enrolment to a file in a folder that is this visitor's alone; None where there is nothing.

    The file opens with `FewShotClassifier.load` and `ser-fewshot predict`; no sound is in it.
    """
    path = folder / FILE_NAME
    session = write(session, path, _summary(Code.SAVED, session.enrolment), hidden=folder)
    return session, path if any(one.code is Code.SAVED for one in session.notes) else None


def write(session: Session, path: Path, done: Note, *, hidden: Path) -> Session:
    """Write the enrolment to a file -> a session with the note that it is done, or an error that hides a folder."""
    if session.enrolment.classifier is None or not session.labels:
        return with_notes(session, note(Code.NOTHING_TO_SAVE))
    try:
        session.enrolment.classifier.save(path)
    except SerFewshotError as error:
        return with_notes(session, bad_file(error, hidden))
    return with_notes(session, done)


def load(session: Session, path: Path | str | None, *, models: Models) -> Session:
    """Take an enrolment file in place of what is enrolled; a file that cannot be trusted changes nothing."""
    if path is None:
        return with_notes(session, note(Code.NO_FILE))
    try:
        loaded = enrolment_file.read(Path(path), models)
    except SerFewshotError as error:
        return with_notes(session, bad_file(error, Path(path).parent))
    if isinstance(loaded, Note):
        return with_notes(session, loaded)
    return _changed(session, loaded, _summary(Code.LOADED, loaded))


def with_notes(session: Session, *notes: Note) -> Session:
    """Return a session in which nothing changed but the notes."""
    return replace(session, notes=notes)


def bad_file(error: SerFewshotError, folder: Path) -> Note:
    """Return an error as a note, without the server's folders, which are no visitor's business."""
    return note(Code.BAD_FILE, detail=str(error).replace(f"{folder}{os.sep}", "").replace(str(folder), ""))


def _changed(session: Session, enrolment: Enrolment, *notes: Note) -> Session:
    """Return a session with another enrolment, from which undo leads back as far as memory allows."""
    past = (*session.past, session.enrolment)[-limits.UNDO_STEPS :]
    while past and seconds_of(sound for one in (*past, enrolment) for sound in one.sounds.values()) > (
        2 * limits.SOUND_SECONDS
    ):
        past = past[1:]
    return replace(session, enrolment=enrolment, past=past, notes=notes)


def _uncorrected(enrolment: Enrolment, last: Recognised) -> Enrolment:
    """Return an enrolment without the clip that an earlier correction added to it."""
    name = None if last.corrected is None else enrolment.name_of(last.sound)
    label = None if name is None else enrolment.label_of(name)
    return enrolment if label is None or label != last.corrected else enrolment.without(label, clip=name)


def _recognised(
    session: Session, classifier: FewShotClassifier, sound: Sound, voice: SessionVoice, *, listen: bool
) -> tuple[Recognised, SessionVoice]:
    """Recognise a clip by the classifier of a session of at least two classes -> its answer, and the voice after it."""
    start = time.perf_counter()
    prediction, after = voice.predict(session, classifier, sound.clip, listen=listen)
    seconds = time.perf_counter() - start
    doubts, mode = doubts_of(classifier, prediction), session.enrolment.mode
    return Recognised(sound, prediction, seconds, doubts, None, mode, weakref.ref(classifier), voice), after


def _label(label: object) -> str | Note:
    """Return the name of a class as it is enrolled, or why it is none."""
    return checked_name(label, most=limits.LABEL_CHARACTERS, otherwise=Code.BAD_LABEL)


def _misspelt(label: str, enrolment: Enrolment) -> tuple[Note, ...]:
    """Return a warning about a new name that looks like another one; names of people may differ by a letter."""
    similar = misspelt([label], enrolment.clips) if enrolment.mode == "emotion" else {}
    return tuple(note(Code.MISSPELT, label=name, meant=meant) for name, meant in similar.items())


def _summary(code: Code, enrolment: Enrolment) -> Note:
    return note(code, count=enrolment.count, labels=", ".join(enrolment.clips))
