"""What programs call: the functions behind the endpoints enroll, predict, forget and save.

They take and return plain JSON values; a fault is an `ApiError` with the sentence to show (the page turns it into
`gradio.Error`). `say` turns a note into an English sentence (see `texts`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import handlers
from .clips import Given
from .models import Models
from .session import Code, Note, Session, Trail

Say = Callable[[Note], str]


class ApiError(Exception):
    """A request that cannot be answered; its text is one sentence for each fault."""


def enroll(
    session: Session, label: str, clips: Sequence[Given], *, models: Models, say: Say
) -> tuple[Session, dict[str, Any]]:
    """Add clips to a label -> {"classes": {label: [names]}, "notes": [sentences]}.

    Raises:
        ApiError: not one clip could be added.
    """
    changed = handlers.add_clips(session, label, clips, models=models)
    if not any(one.code is Code.ADDED for one in changed.notes):
        raise _refused(changed.notes, say)
    return changed, _classes(changed, say)


def predict(session: Session, clip: Given, *, say: Say) -> dict[str, Any]:
    """Recognise a clip, and keep nothing of it.

    The answer is {"label", "probabilities": {label: p}, "unknown": bool, "novelty": p | None, "nearest": {"name",
    "label", "distance"}, "warnings": [sentences], "doubts": [sentences], "seconds"}.

    Raises:
        ApiError: the clip cannot be used, or fewer than two classes are enrolled.
    """
    heard = handlers.recognise(session, Trail(), clip)
    _require(heard.notes, say)
    last = heard.recognised[-1]
    return {
        **asdict(last.prediction),
        "warnings": [say(one) for one in heard.notes],
        "doubts": [say(one) for one in last.doubts],
        "seconds": last.seconds,
    }


def forget(session: Session, label: str, *, say: Say) -> tuple[Session, dict[str, Any]]:
    """Remove a label, or everything if it is "" -> {"classes": {label: [names]}, "notes": [sentences]}.

    Raises:
        ApiError: there is no such label.
    """
    changed = handlers.forget_everything(session) if label == "" else handlers.forget(session, label)
    _require(changed.notes, say)
    return changed, _classes(changed, say)


def save(session: Session, folder: Path, *, say: Say) -> Path:
    """Write the enrolment -> the file.

    Raises:
        ApiError: nothing is enrolled.
    """
    saved, path = handlers.save(session, folder)
    if path is None:
        raise _refused(saved.notes, say)
    return path


def _classes(session: Session, say: Say) -> dict[str, Any]:
    classes = {label: list(names) for label, names in session.enrolment.clips.items()}
    return {"classes": classes, "notes": [say(one) for one in session.notes]}


def _require(notes: Sequence[Note], say: Say) -> None:
    if any(one.level == "error" for one in notes):
        raise _refused(notes, say)


def _refused(notes: Sequence[Note], say: Say) -> ApiError:
    return ApiError(" ".join(say(one) for one in notes if one.level == "error"))
