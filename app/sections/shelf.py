"""Profiles: enrolments that stay on the server, where it was started with a folder for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.events import Dependency

from ..profiles import Profiles
from ..session import Code, Session
from ._shared import Page, asks


@dataclass(frozen=True, eq=False)
class Shelf:
    """The components of the section."""

    profile: gr.Dropdown
    name: gr.Textbox
    keep: gr.Button
    replace: gr.Button
    open: gr.Button
    delete: gr.Button
    sure: gr.Button
    rather_not: gr.Button


def place(page: Page) -> Shelf:
    """Lay the section out where it is called."""
    put = page.wording.put
    with put(gr.Accordion(elem_id="profiles"), label="keep.profiles"), gr.Row():
        with gr.Column(min_width=280):
            name = put(gr.Textbox(elem_id="profile-name", max_lines=1), label="keep.profile_name")
            keep = put(gr.Button(size="sm", elem_id="profile-keep"), value="keep.profile_keep")
            replace = put(
                gr.Button(size="sm", variant="stop", visible=False, elem_id="profile-replace"),
                value="keep.profile_replace",
            )
        with gr.Column(min_width=280):
            profile = put(gr.Dropdown([], elem_id="profile"), label="keep.profile")
            with gr.Row():
                open_ = put(gr.Button(size="sm", elem_id="profile-open"), value="keep.profile_open")
                delete = put(
                    gr.Button(size="sm", variant="stop", elem_id="profile-delete"), value="keep.profile_delete"
                )
                sure = put(
                    gr.Button(size="sm", variant="stop", visible=False, elem_id="profile-sure"),
                    value="keep.profile_delete_sure",
                )
                rather_not = put(
                    gr.Button(size="sm", visible=False, elem_id="profile-rather-not"), value="keep.delete_not"
                )
    return Shelf(profile, name, keep, replace, open_, delete, sure, rather_not)


def wire(shelf: Shelf, page: Page, profiles: Profiles) -> list[Dependency]:
    """Connect the section; return the events after which the session is another."""

    def save(session: Session, name: str, request: gr.Request, *, replace: bool = False) -> tuple[Session, Any, Any]:
        session = profiles.save(session, name, user=_user(request), replace=replace)
        exists = any(one.code is Code.PROFILE_EXISTS for one in session.notes)
        return session, choices(profiles.names(_user(request)), session), gr.update(visible=exists)

    def replace(session: Session, name: str, request: gr.Request) -> tuple[Session, Any, Any]:
        return save(session, name, request, replace=True)

    def load(session: Session, name: str | None, request: gr.Request) -> Session:
        return profiles.load(session, name or "", user=_user(request), models=page.models)

    def delete(session: Session, name: str | None, request: gr.Request) -> tuple[Session, Any]:
        session = profiles.delete(session, name or "", user=_user(request))
        return session, choices(profiles.names(_user(request)), session)

    def listed(request: gr.Request) -> Any:
        return choices(profiles.names(_user(request)), Session())

    gr.on(None, listed, inputs=None, outputs=[shelf.profile], api_visibility="private", queue=False)
    asks(shelf.delete, shelf.sure, shelf.rather_not)
    shelf.name.input(  # that was asked of another name
        lambda: gr.update(visible=False), outputs=[shelf.replace], api_visibility="private", queue=False
    )
    kept = [shelf.profile, shelf.replace]
    return [
        page.when(shelf.keep.click, save, inputs=[shelf.name], outputs=kept),
        page.when(shelf.replace.click, replace, inputs=[shelf.name], outputs=kept),
        page.when(shelf.open.click, load, inputs=[shelf.profile]),
        page.when(shelf.sure.click, delete, inputs=[shelf.profile], outputs=[shelf.profile]),
    ]


def choices(names: Sequence[str], session: Session) -> dict[str, Any]:
    """Return an update of the list of profiles: the one that was just kept is chosen, else the first."""
    kept = next((one.values["name"] for one in session.notes if one.code is Code.PROFILE_SAVED), None)
    return gr.update(choices=list(names), value=kept if kept in names else next(iter(names), None))


def _user(request: gr.Request) -> str:
    return request.username or ""
