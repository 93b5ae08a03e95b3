"""Endpoints for programs, with stable names: enroll, predict, forget and save, which `gradio_client` calls.

They take and return plain JSON values; each client has a session of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from . import handlers, limits, uploads
from .cards import ONE_AT_A_TIME, Page
from .clips import ClipInput
from .languages import DEFAULT, sentence
from .live import Stream
from .models import Models
from .notes import Code, Note
from .session import History, Session, SessionVoice

_SIDE_BY_SIDE: dict[str, Any] = {"concurrency_id": "predict", "concurrency_limit": limits.PREDICTIONS}
_ABOUT = {
    "enroll": "Add clips to a label of your session. Returns the clips of every label, and notes on the clips given.",
    "predict": "Recognise a clip alone or, with same_person, by the voice of the clips that were given so before, to "
    "which it is added. Returns answer, shares, unknown_share, label, probabilities, unknown, novelty, nearest, "
    "warnings, seconds and voice_clips.",
    "forget": "Remove a label, or everything for an empty one. Returns the clips of every label, and notes.",
    "save": "Write the enrolment to a file, which FewShotClassifier.load and `ser-fewshot predict` open.",
}


def enroll(
    session: Session, label: str, clips: Sequence[ClipInput], *, models: Models
) -> tuple[Session, dict[str, Any]]:
    """Add clips to a label -> {"classes": {label: [names]}, "notes": [sentences]}.

    Raises:
        gr.Error: not one clip could be added.
    """
    changed = handlers.add_clips(session, label, clips, models=models)
    if not any(one.code is Code.ADDED for one in changed.notes):
        raise _error(changed.notes)
    return changed, _classes(changed)


def predict(
    session: Session, voice: SessionVoice, clip: ClipInput, same_person: bool = False
) -> tuple[SessionVoice, dict[str, Any]]:
    """Recognise a clip alone, and keep nothing of it; or as one of the `same_person`, by the voice of the clips before.

    The answer is {"answer": label | None, "shares": {label: p}, "unknown_share": p, "label",
    "probabilities": {label: p}, "unknown": bool, "novelty": p | None, "nearest": {"name", "label", "distance"},
    "warnings": [sentences], "doubts": [sentences], "seconds", "voice_clips": n}.

    Raises:
        gr.Error: the clip cannot be used, or fewer than two classes are enrolled.
    """
    if same_person:
        history, voice = handlers.recognise_and_listen(session, History(), voice, clip)
    else:
        history = handlers.recognise(session, History(), clip)
    _raise_for(history.notes)
    last = history.recognised[-1]
    return voice, {
        **last.prediction.as_dict(),
        "warnings": _sentences(history.notes),
        "doubts": _sentences(last.doubts),
        "seconds": last.seconds,
    }


def forget(session: Session, label: str) -> tuple[Session, Any, Any, Any, dict[str, Any]]:
    """Remove a label, or everything if it is "" -> {"classes": {label: [names]}, "notes": [sentences]}.

    Raises:
        gr.Error: there is no such label.
    """
    changed = handlers.forget_everything(session) if label == "" else handlers.forget(session, label)
    _raise_for(changed.notes)
    # Not as inputs: what is recognised meanwhile would be overwritten by what was there before.
    everything = (History(), Stream(), SessionVoice()) if label == "" else (gr.skip(),) * 3
    return changed, *everything, _classes(changed)


def save(session: Session, folder: Path) -> str:
    """Write the enrolment -> the file.

    Raises:
        gr.Error: nothing is enrolled.
    """
    session, path = handlers.save(session, folder)
    if path is None:
        raise _error(session.notes)
    return str(path)


def add_to(page: Page) -> None:
    """Add the endpoints to a page."""
    label = gr.Textbox(label="label", visible=False)
    clips = gr.File(label="clips", file_count="multiple", visible=False)
    clip, file = gr.File(label="clip", visible=False), gr.File(label="file", visible=False)
    same_person = gr.Checkbox(label="same_person", visible=False)
    result = gr.JSON(label="result", visible=False)

    def add_clips(session: Session, label: str, clips: list[str] | None) -> tuple[Session, dict[str, Any]]:
        return enroll(session, label, clips or [], models=page.models)

    def recognise(session: Session, voice: SessionVoice, clip: ClipInput, same_person: bool) -> tuple[Any, Any]:
        voice, answer = predict(session, voice, clip, same_person)
        return voice if same_person else gr.skip(), answer

    everything = [page.session, page.history, page.stream, page.voice, result]
    for name, answer, inputs, outputs, queue in (
        ("enroll", add_clips, [page.session, label, clips], [page.session, result], ONE_AT_A_TIME),
        ("predict", recognise, [page.session, page.voice, clip, same_person], [page.voice, result], _SIDE_BY_SIDE),
        ("forget", forget, [page.session, label], everything, ONE_AT_A_TIME),
        ("save", lambda session: save(session, uploads.subfolder()), [page.session], [file], _SIDE_BY_SIDE),
    ):
        gr.on([], answer, inputs=inputs, outputs=outputs, api_name=name, api_description=_ABOUT[name], **queue)


def _classes(session: Session) -> dict[str, Any]:
    classes = {label: list(names) for label, names in session.enrolment.clips.items()}
    return {"classes": classes, "notes": _sentences(session.notes)}


def _sentences(notes: Sequence[Note]) -> list[str]:
    return [sentence(DEFAULT, one) for one in notes]


def _raise_for(notes: Sequence[Note]) -> None:
    if any(one.level == "error" for one in notes):
        raise _error(notes)


def _error(notes: Sequence[Note]) -> gr.Error:
    faults = _sentences([one for one in notes if one.level == "error"])
    return gr.Error(" ".join(faults), print_exception=False)
