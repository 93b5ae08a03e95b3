"""Step 3: save what was learned to a file, load one, delete everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from .. import handlers, uploads, views
from ..session import Session, Trail
from ..streaming import Stream
from ._shared import Page, asks

_IN_A_PROGRAM = """
```python
from ser_fewshot import FewShotClassifier

classifier = FewShotClassifier.load("my_voice.safetensors")
print(classifier.predict("new.wav").label)
```
```bash
ser-fewshot predict my_voice.safetensors new.wav
```
"""


@dataclass(frozen=True, eq=False)
class Keep:
    """The components of the section."""

    save: gr.Button
    file: gr.File
    load: gr.UploadButton
    delete: gr.Button
    sure: gr.Button
    rather_not: gr.Button
    notes: gr.HTML


def place(page: Page) -> Keep:
    """Lay the section out where it is called."""
    put = page.wording.put
    put(gr.Markdown(elem_classes="step"), value="keep.title")
    put(gr.Markdown(), value="keep.what")
    with gr.Row(elem_classes="buttons"):
        save = put(gr.Button(elem_id="save", variant="primary", min_width=180), value="keep.save")
        load = put(gr.UploadButton(file_types=[".safetensors"], elem_id="load", min_width=180), label="keep.load")
        delete = put(gr.Button(elem_id="delete", variant="stop", min_width=180), value="keep.delete_all")
        sure = put(gr.Button(elem_id="sure", variant="stop", visible=False, min_width=180), value="keep.delete_sure")
        rather_not = put(gr.Button(elem_id="rather-not", visible=False, min_width=120), value="keep.delete_not")
    file = put(gr.File(interactive=False, visible=False, elem_id="file", height=90), label="keep.file")
    notes = gr.HTML(elem_id="keep-notes")
    with put(gr.Accordion(open=False), label="keep.use"):
        put(gr.Markdown(), value="keep.use_what")
        gr.Markdown(_IN_A_PROGRAM)
    return Keep(save, file, load, delete, sure, rather_not, notes)


def wire(keep: Keep, page: Page) -> tuple[list[Dependency], Dependency]:
    """Connect the section; return the events after which other things are enrolled, and that of saving them."""
    asks(keep.delete, keep.sure, keep.rather_not)

    def load(session: Session, path: str | None) -> tuple[Session, None]:
        return handlers.load(session, path, models=page.models), None

    saved = page.when(keep.save.click, _save, outputs=[keep.file])
    return [
        page.when(keep.load.upload, load, inputs=[keep.load], outputs=[keep.load]),
        page.when(keep.sure.click, _forget_everything, outputs=[page.trail, page.stream, keep.file]),
    ], saved


def draw(session: Session, language: str) -> str:
    """Return what stands in the notes."""
    return views.notes_of(session, "keep", language=language)


def _save(session: Session) -> tuple[Session, Any]:
    session, path = handlers.save(session, uploads.subfolder())
    return session, gr.update(value=None if path is None else str(path), visible=path is not None)


def _forget_everything(session: Session) -> tuple[Session, Trail, Stream, Any]:
    return handlers.forget_everything(session), Trail(), Stream(), gr.update(value=None, visible=False)
