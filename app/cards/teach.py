"""Step 1, teach: name an emotion, record or drop clips, see what is enrolled."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .. import handlers, views
from ..clips import ClipInput
from ..languages import DEFAULT, text, text_of
from ..models import Mode
from ..notes import Code
from ..session import Session
from . import DROP_HEIGHT, SOUND_FILES, Page, States, name_in


def add_to(page: Page) -> None:
    """Lay out the card and connect its events."""
    put = page.put
    put(gr.Markdown(elem_classes="step"), value="teach.title")
    what = gr.Markdown(text(DEFAULT, "teach.what"))
    mode = gr.Radio(_modes(DEFAULT), value="emotion", label=text(DEFAULT, "teach.mode"), elem_id="mode")
    label = gr.Textbox(
        label=text(DEFAULT, "teach.label"), placeholder=text(DEFAULT, "teach.label_hint"), elem_id="label", max_lines=1
    )
    microphone = put(
        gr.Audio(sources=["microphone"], type="filepath", elem_id="record", buttons=[], editable=False),
        label="teach.record",
    )
    files = put(
        gr.File(file_count="multiple", file_types=SOUND_FILES, elem_id="drop", height=DROP_HEIGHT), label="teach.drop"
    )
    add = put(gr.Button(variant="primary", visible=False, elem_id="add"), value="teach.add")
    with gr.Row(elem_classes="buttons"):
        examples = put(gr.Button(size="sm", elem_id="examples"), value="teach.examples")
        undo = put(gr.Button(size="sm", elem_id="undo"), value="teach.undo")
    notes = gr.HTML(elem_id="teach-notes")
    classes = gr.HTML(views.classes(Session(), language=DEFAULT), elem_id="classes", js_on_load=views.ACTIONS)

    def enrol(session: Session, label: str, clip: ClipInput, files: list[str] | None) -> tuple[Any, ...]:
        session = handlers.add_recording_and_files(session, label, clip, files or [], models=page.models)
        waits = any(one.code is Code.NAME_FIRST for one in session.notes)
        left = (gr.skip(), gr.skip()) if waits else (None, None)
        return session, *left, gr.update(visible=waits)

    for trigger in (microphone.stop_recording, files.upload, label.submit, add.click):
        page.when(trigger, enrol, inputs=[label, microphone, files], outputs=[microphone, files, add])
    page.when(examples.click, lambda session: handlers.load_examples(session, models=page.models))
    page.when(undo.click, handlers.undo)
    page.when(mode.input, handlers.change_mode, inputs=[mode])
    page.when(classes.remove, _remove)
    page.when(classes.forget, _forget)
    page.draw(_draw, [what, mode, label, notes, classes])


def _draw(now: States) -> tuple[Any, ...]:
    session, language, mode = now.session, now.language, now.session.enrolment.mode
    return (
        text_of(language, "teach.what", mode),
        gr.update(choices=_modes(language), value=mode, label=text(language, "teach.mode")),
        gr.update(
            label=text_of(language, "teach.label", mode), placeholder=text_of(language, "teach.label_hint", mode)
        ),
        views.notes_of(session, "teach", language=language),
        views.classes(session, language=language),
    )


def _remove(session: Session, event: gr.EventData) -> Session:
    return handlers.remove_clip(session, name_in(event))


def _forget(session: Session, event: gr.EventData) -> Session:
    return handlers.forget(session, name_in(event))


def _modes(language: str) -> list[tuple[str, Mode]]:
    return [(text(language, "teach.mode_emotion"), "emotion"), (text(language, "teach.mode_speaker"), "speaker")]
