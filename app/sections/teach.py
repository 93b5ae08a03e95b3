"""Step 1: name an emotion, record or drop clips, see what is enrolled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from .. import handlers, limits, views
from ..clips import RECORDING, Given, note
from ..models import Models
from ..session import Code, Mode, Note, Session
from ..texts import DEFAULT, text, text_of
from ._shared import Page

DROP_HEIGHT = 140  # pixels
SOUND_FILES = [".wav", ".flac", ".ogg", ".opus", ".mp3"]


@dataclass(frozen=True, eq=False)
class Teach:
    """The components of the section."""

    what: gr.Markdown
    mode: gr.Radio
    label: gr.Textbox
    microphone: gr.Audio
    files: gr.File
    add: gr.Button
    examples: gr.Button
    undo: gr.Button
    notes: gr.HTML
    classes: gr.HTML


def place(page: Page) -> Teach:
    """Lay the section out where it is called."""
    put = page.wording.put
    put(gr.Markdown(elem_classes="step"), value="teach.title")
    what = gr.Markdown(text(DEFAULT, "teach.what"))
    mode = gr.Radio(_modes(DEFAULT), value="emotion", label=text(DEFAULT, "teach.mode"), elem_id="mode")
    label = gr.Textbox(
        label=text(DEFAULT, "teach.label"), placeholder=text(DEFAULT, "teach.label_hint"), elem_id="label", max_lines=1
    )
    microphone = gr.Audio(sources=["microphone"], type="filepath", elem_id="record", buttons=[], editable=False)
    files = gr.File(file_count="multiple", file_types=SOUND_FILES, elem_id="drop", height=DROP_HEIGHT)
    add = put(gr.Button(variant="primary", visible=False, elem_id="add"), value="teach.add")
    with gr.Row(elem_classes="buttons"):
        examples = put(gr.Button(size="sm", elem_id="examples"), value="teach.examples")
        undo = put(gr.Button(size="sm", elem_id="undo"), value="teach.undo")
    notes = gr.HTML(elem_id="teach-notes")
    classes = gr.HTML(views.classes(Session(), language=DEFAULT), elem_id="classes", js_on_load=views.ACTIONS)
    put(microphone, label="teach.record")
    put(files, label="teach.drop")
    return Teach(what, mode, label, microphone, files, add, examples, undo, notes, classes)


def wire(teach: Teach, page: Page) -> list[Dependency]:
    """Connect the section; return the events after which the session is another."""
    sources = [teach.microphone, teach.files]

    def add(session: Session, label: str, clip: Given, files: list[str] | None) -> tuple[Any, ...]:
        session = added(session, label, clip, files or [], models=page.models)
        waits = any(one.code is Code.NAME_FIRST for one in session.notes)
        left = (gr.skip(), gr.skip()) if waits else (None, None)
        return session, *left, gr.update(visible=waits)

    return [
        *(
            page.when(trigger, add, inputs=[teach.label, *sources], outputs=[*sources, teach.add])
            for trigger in (teach.microphone.stop_recording, teach.files.upload, teach.label.submit, teach.add.click)
        ),
        page.when(teach.examples.click, lambda session: handlers.load_examples(session, models=page.models)),
        page.when(teach.undo.click, handlers.undo),
        page.when(teach.mode.input, handlers.change_mode, inputs=[teach.mode]),
        page.when(teach.classes.remove, _remove),
        page.when(teach.classes.forget, _forget),
    ]


def draw(session: Session, language: str) -> tuple[Any, ...]:
    """Return updates of what, mode, label, notes and classes."""
    mode = session.enrolment.mode
    return (
        text_of(language, "teach.what", mode),
        gr.update(choices=_modes(language), value=mode, label=text(language, "teach.mode")),
        gr.update(
            label=text_of(language, "teach.label", mode), placeholder=text_of(language, "teach.label_hint", mode)
        ),
        views.notes_of(session, "teach", language=language),
        views.classes(session, language=language),
    )


def added(session: Session, label: str, clip: Given, files: Sequence[Given], *, models: Models) -> Session:
    """Enrol what was recorded and what was dropped; under what is no name nothing, but a note asks for one."""
    notes: list[Note] = []
    for given, name in (([] if clip is None else [clip], RECORDING), (files, None)):
        if given:
            session = handlers.add_clips(session, label, given, models=models, name=name)
            notes += session.notes
    if any(one.code is Code.BAD_LABEL for one in notes):
        notes = [note(Code.NAME_FIRST, "info", most=limits.LABEL_CHARACTERS)]
    return handlers.said(session, *notes)


def named(event: gr.EventData) -> str:
    """Return the name that a button in the page's HTML carries; anything else that a browser may send is no name."""
    try:
        name = getattr(event, "name", None)
    except TypeError:  # it looks for the name in what the browser sent, whatever that is
        return ""
    return name if isinstance(name, str) else ""


def _remove(session: Session, event: gr.EventData) -> Session:
    return handlers.remove_clip(session, named(event))


def _forget(session: Session, event: gr.EventData) -> Session:
    return handlers.forget(session, named(event))


def _modes(language: str) -> list[tuple[str, Mode]]:
    return [(text(language, "teach.mode_emotion"), "emotion"), (text(language, "teach.mode_speaker"), "speaker")]
