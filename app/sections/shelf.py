"""Profiles: enrolments that stay on the server, where it was started with a folder for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from ..profiles import Profiles
from ..session import Session
from ._shared import Page


@dataclass(frozen=True, eq=False)
class Shelf:
    """The components of the section."""

    profile: gr.Dropdown
    name: gr.Textbox
    keep: gr.Button
    open: gr.Button
    delete: gr.Button


def place(page: Page) -> Shelf:
    """Lay the section out where it is called."""
    put = page.wording.put
    with put(gr.Accordion(elem_id="profiles"), label="keep.profiles"), gr.Row():
        with gr.Column(min_width=280):
            name = put(gr.Textbox(elem_id="profile-name", max_lines=1), label="keep.profile_name")
            keep = put(gr.Button(size="sm", elem_id="profile-keep"), value="keep.profile_keep")
        with gr.Column(min_width=280):
            profile = put(gr.Dropdown([], elem_id="profile"), label="keep.profile")
            with gr.Row():
                open_ = put(gr.Button(size="sm", elem_id="profile-open"), value="keep.profile_open")
                delete = put(
                    gr.Button(size="sm", variant="stop", elem_id="profile-delete"), value="keep.profile_delete"
                )
    return Shelf(profile, name, keep, open_, delete)


def wire(shelf: Shelf, page: Page, profiles: Profiles) -> list[Dependency]:
    """Connect the section; return the events after which the session is another."""

    def save(session: Session, name: str, request: gr.Request) -> tuple[Session, Any]:
        session = profiles.save(session, name, user=_user(request))
        return session, listed(request)

    def load(session: Session, name: str | None, request: gr.Request) -> Session:
        return profiles.load(session, name or "", user=_user(request), models=page.models)

    def delete(session: Session, name: str | None, request: gr.Request) -> tuple[Session, Any]:
        session = profiles.delete(session, name or "", user=_user(request))
        return session, listed(request)

    def listed(request: gr.Request) -> Any:
        names = profiles.names(_user(request))
        return gr.update(choices=list(names), value=names[0] if names else None)

    gr.on(None, listed, inputs=None, outputs=[shelf.profile], api_visibility="private", queue=False)
    return [
        page.when(shelf.keep.click, save, inputs=[shelf.name], outputs=[shelf.profile]),
        page.when(shelf.open.click, load, inputs=[shelf.profile]),
        page.when(shelf.delete.click, delete, inputs=[shelf.profile], outputs=[shelf.profile]),
    ]


def _user(request: gr.Request) -> str:
    return request.username or ""
