"""Step 3, keep: save the enrolment to a file or, with a store, as a profile; load one; delete everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from .. import handlers, uploads, views
from ..live import Stream
from ..notes import Code
from ..profiles import Profiles
from ..session import History, Session, SessionVoice
from . import HIDDEN, Page, confirm_first

_IN_A_PROGRAM = """
```python
from ser_fewshot import FewShotClassifier

classifier = FewShotClassifier.load("my_voice.safetensors")
print(classifier.predict("new.wav").text)
```
```bash
ser-fewshot predict my_voice.safetensors new.wav
```
"""


def add_to(page: Page) -> None:
    """Lay out the card and connect its events."""
    put = page.put
    put(gr.Markdown(elem_classes="step"), value="keep.title")
    put(gr.Markdown(), value="keep.what")
    with gr.Row(elem_classes="buttons"):
        save = put(gr.Button(elem_id="save", variant="primary", min_width=180), value="keep.save")
        load = put(
            gr.UploadButton(file_types=[".safetensors"], elem_id="load", min_width=180),
            label="keep.load",
        )
        delete = put(gr.Button(elem_id="delete", variant="stop", min_width=180), value="keep.delete_all")
        sure = put(gr.Button(elem_id="sure", variant="stop", visible=False, min_width=180), value="keep.delete_sure")
        rather_not = put(gr.Button(elem_id="rather-not", visible=False, min_width=120), value="keep.delete_not")
    file = put(gr.File(interactive=False, visible=False, elem_id="file", height=90), label="keep.file")
    notes = gr.HTML(elem_id="keep-notes")
    with put(gr.Accordion(open=False), label="keep.use"):
        put(gr.Markdown(), value="keep.use_what")
        gr.Markdown(_IN_A_PROGRAM)

    def opened(session: Session, path: str | None) -> tuple[Session, None]:
        return handlers.load(session, path, models=page.models), None

    confirm_first(delete, sure, rather_not)
    page.when(save.click, save_file, outputs=[file], changes_clips=False)
    page.when(load.upload, opened, inputs=[load], outputs=[load])
    page.when(sure.click, _forget_everything, outputs=[page.history, page.stream, page.voice, file])
    page.draw(lambda now: [views.notes_of(now.session, "keep", language=now.language)], [notes])
    if page.profiles:
        _add_profiles(page, page.profiles)


def save_file(session: Session) -> tuple[Session, Any]:
    """Return the session with notes, and an update of the file to download."""
    session, path = handlers.save(session, uploads.subfolder())
    return session, gr.update(value=None if path is None else str(path), visible=path is not None)


def profile_choices(names: Sequence[str], session: Session) -> dict[str, Any]:
    """Return an update of the list of profiles: the one that was just saved is chosen, else the first."""
    saved = next((one.values["name"] for one in session.notes if one.code is Code.PROFILE_SAVED), None)
    return gr.update(choices=list(names), value=saved if saved in names else next(iter(names), None))


def _forget_everything(session: Session) -> tuple[Session, History, Stream, SessionVoice, Any]:
    hidden = gr.update(value=None, visible=False)
    return handlers.forget_everything(session), History(), Stream(), SessionVoice(), hidden


def _add_profiles(page: Page, profiles: Profiles) -> None:
    with page.put(gr.Accordion(elem_id="profiles"), label="keep.profiles"), gr.Row():
        with gr.Column(min_width=280):
            name = page.put(gr.Textbox(elem_id="profile-name", max_lines=1), label="keep.profile_name")
            keep = _button(page, "keep")
            replace = _button(page, "replace", variant="stop", visible=False)
        with gr.Column(min_width=280):
            profile = page.put(gr.Dropdown([], elem_id="profile"), label="keep.profile")
            with gr.Row():
                load = _button(page, "open")
                delete = _button(page, "delete", variant="stop")
                sure = _button(page, "sure", variant="stop", visible=False, text="keep.profile_delete_sure")
                rather_not = _button(page, "rather-not", visible=False, text="keep.delete_not")

    def saved(session: Session, name: str, request: gr.Request, *, replace: bool = False) -> tuple[Session, Any, Any]:
        session = profiles.save(session, name, user=_user(request), replace=replace)
        exists = any(one.code is Code.PROFILE_EXISTS for one in session.notes)
        return session, profile_choices(profiles.names(_user(request)), session), gr.update(visible=exists)

    def replaced(session: Session, name: str, request: gr.Request) -> tuple[Session, Any, Any]:
        return saved(session, name, request, replace=True)

    def loaded(session: Session, name: str | None, request: gr.Request) -> Session:
        return profiles.load(session, name or "", user=_user(request), models=page.models)

    def deleted(session: Session, name: str | None, request: gr.Request) -> tuple[Session, Any]:
        session = profiles.delete(session, name or "", user=_user(request))
        return session, profile_choices(profiles.names(_user(request)), session)

    def listed(request: gr.Request) -> Any:
        return profile_choices(profiles.names(_user(request)), Session())

    gr.on(None, listed, inputs=None, outputs=[profile], **HIDDEN)
    confirm_first(delete, sure, rather_not)
    name.input(lambda: gr.update(visible=False), outputs=[replace], **HIDDEN)  # it was shown for another name
    page.when(keep.click, saved, inputs=[name], outputs=[profile, replace])
    page.when(replace.click, replaced, inputs=[name], outputs=[profile, replace])
    page.when(load.click, loaded, inputs=[profile])
    page.when(sure.click, deleted, inputs=[profile], outputs=[profile])


def _button(page: Page, name: str, *, text: str | None = None, **settings: Any) -> gr.Button:
    button = gr.Button(size="sm", elem_id=f"profile-{name}", **settings)
    return page.put(button, value=text or f"keep.profile_{name}")


def _user(request: gr.Request) -> str:
    return request.username or ""
