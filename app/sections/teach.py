"""Step 1: name an emotion, record or drop clips, see what is enrolled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from .. import handlers, views
from ..session import Mode, Session
from ..texts import DEFAULT, text
from ._shared import Page

DROP_HEIGHT = 140  # pixels
SOUND_FILES = [".wav", ".flac", ".ogg", ".opus", ".mp3"]


@dataclass(frozen=True, eq=False)
class Teach:
    """The components of the section."""

    mode: gr.Radio
    label: gr.Textbox
    microphone: gr.Audio
    files: gr.File
    examples: gr.Button
    undo: gr.Button
    notes: gr.HTML
    classes: gr.HTML


def place(page: Page) -> Teach:
    """Lay the section out where it is called."""
    put = page.wording.put
    put(gr.Markdown(elem_classes="step"), value="teach.title")
    put(gr.Markdown(), value="teach.what")
    mode = gr.Radio(_modes(DEFAULT), value="emotion", label=text(DEFAULT, "teach.mode"), elem_id="mode")
    label = gr.Textbox(
        label=text(DEFAULT, "teach.label"), placeholder=text(DEFAULT, "teach.label_hint"), elem_id="label", max_lines=1
    )
    microphone = gr.Audio(sources=["microphone"], type="numpy", elem_id="record", buttons=[], editable=False)
    files = gr.File(file_count="multiple", file_types=SOUND_FILES, elem_id="drop", height=DROP_HEIGHT)
    with gr.Row(elem_classes="buttons"):
        examples = put(gr.Button(size="sm", elem_id="examples"), value="teach.examples")
        undo = put(gr.Button(size="sm", elem_id="undo"), value="teach.undo")
    notes = gr.HTML(elem_id="teach-notes")
    classes = gr.HTML(views.classes(Session(), language=DEFAULT), elem_id="classes", js_on_load=views.ACTIONS)
    put(microphone, label="teach.record")
    put(files, label="teach.drop")
    return Teach(mode, label, microphone, files, examples, undo, notes, classes)


def wire(teach: Teach, page: Page) -> list[Dependency]:
    """Connect the section; return the events after which the session is another."""
    return [
        page.when(
            teach.microphone.stop_recording,
            lambda session, label, clip: (handlers.add_clips(session, label, [clip], models=page.models), None),
            inputs=[teach.label, teach.microphone],
            outputs=[teach.microphone],
        ),
        page.when(
            teach.files.upload,
            lambda session, label, clips: (handlers.add_clips(session, label, clips or [], models=page.models), None),
            inputs=[teach.label, teach.files],
            outputs=[teach.files],
        ),
        page.when(teach.examples.click, lambda session: handlers.load_examples(session, models=page.models)),
        page.when(teach.undo.click, handlers.undo),
        page.when(teach.mode.input, handlers.change_mode, inputs=[teach.mode]),
        page.when(teach.classes.remove, _remove),
        page.when(teach.classes.forget, _forget),
    ]


def draw(session: Session, language: str) -> tuple[Any, ...]:
    """Return updates of mode, label, notes and classes."""
    mode = session.enrolment.mode
    kind = "" if mode == "emotion" else "_speaker"
    return (
        gr.update(choices=_modes(language), value=mode, label=text(language, "teach.mode")),
        gr.update(label=text(language, f"teach.label{kind}"), placeholder=text(language, f"teach.label_hint{kind}")),
        views.notes_of(session, "teach", language=language),
        views.classes(session, language=language),
    )


def named(event: gr.EventData) -> str:
    """Return the name that a button in the page's HTML carries; anything else that a browser may send is no name."""
    name = event._data.get("name") if isinstance(event._data, dict) else None
    return name if isinstance(name, str) else ""


def _remove(session: Session, event: gr.EventData) -> Session:
    return handlers.remove_clip(session, named(event))


def _forget(session: Session, event: gr.EventData) -> Session:
    return handlers.forget(session, named(event))


def _modes(language: str) -> list[tuple[str, Mode]]:
    return [(text(language, "teach.mode_emotion"), "emotion"), (text(language, "teach.mode_speaker"), "speaker")]
