"""What programs call: four endpoints with stable names, which `gradio_client` finds by `view_api()`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from .. import api, uploads
from ..session import Note, Session, Trail
from ..streaming import Stream
from ..texts import DEFAULT, sentence
from ._shared import ONE_AT_A_TIME, Page

PREDICTIONS = 2
"""Answered at the same time: one a core of a small machine."""

P = ParamSpec("P")
T = TypeVar("T")


def wire(page: Page) -> None:
    """Add the endpoints; each client has a session of its own."""
    label, clips = (
        gr.Textbox(label="label", visible=False),
        gr.File(label="clips", file_count="multiple", visible=False),
    )
    clip, file = gr.File(label="clip", visible=False), gr.File(label="file", visible=False)
    result = gr.JSON(label="result", visible=False)

    @_refusing
    def enroll(session: Session, label: str, clips: list[str] | None) -> tuple[Session, dict[str, Any]]:
        return api.enroll(session, label, clips or [], models=page.models, say=_say)

    _add("enroll", enroll, [page.session, label, clips], [page.session, result], _ENROLL, **ONE_AT_A_TIME)
    _add("predict", _predict, [page.session, clip], [result], _PREDICT, **_SIDE_BY_SIDE)
    forgotten = [page.session, page.trail, page.stream, result]
    _add("forget", _forget, [page.session, label], forgotten, _FORGET, **ONE_AT_A_TIME)
    _add("save", _save, [page.session], [file], _SAVE, **_SIDE_BY_SIDE)


_SIDE_BY_SIDE: dict[str, Any] = {"concurrency_id": "predict", "concurrency_limit": PREDICTIONS}
_ENROLL = "Add clips to a label of your session. Returns the clips of every label, and notes on the clips given."
_PREDICT = "Recognise a clip. Returns label, probabilities, unknown, novelty, nearest, warnings and seconds."
_FORGET = "Remove a label, or everything for an empty one. Returns the clips of every label, and notes."
_SAVE = "Write the enrolment to a file, which FewShotClassifier.load and `ser-fewshot predict` open."


def _add(
    name: str, answer: Callable[..., Any], inputs: list[Any], outputs: list[Any], about: str, **options: Any
) -> None:
    gr.on([], answer, inputs=inputs, outputs=outputs, api_name=name, api_description=about, **options)


def _refusing(answer: Callable[P, T]) -> Callable[P, T]:
    """Turn a request that cannot be answered into the error that a client raises."""

    @functools.wraps(answer)
    def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return answer(*args, **kwargs)
        except api.ApiError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return answered


@_refusing
def _predict(session: Session, clip: str | None) -> dict[str, Any]:
    return api.predict(session, clip, say=_say)


@_refusing
def _forget(session: Session, label: str) -> tuple[Session, Any, Any, dict[str, Any]]:
    session, answer = api.forget(session, label, say=_say)
    # Not as inputs: what is recognised meanwhile would be overwritten by what was there before.
    trail, stream = (Trail(), Stream()) if label == "" else (gr.skip(), gr.skip())
    return session, trail, stream, answer


@_refusing
def _save(session: Session) -> str:
    return str(api.save(session, uploads.subfolder(), say=_say))


def _say(note: Note) -> str:
    return sentence(DEFAULT, note)
