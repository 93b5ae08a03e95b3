"""The page: three steps and a look inside, laid out and wired; every section is a file of its own."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import views
from .models import Models
from .profiles import Profiles
from .sections import endpoints, inside, keep, recognise, shelf, teach
from .sections._shared import Page, shows
from .session import Session, Trail
from .streaming import Stream
from .texts import DEFAULT, languages, preferred, text
from .wording import Wording

UPLOAD_SECONDS = 600
"""Files that were uploaded or saved are deleted after this time; sound itself is kept in memory only."""

_SAY_LANGUAGE = "(code) => { document.documentElement.lang = code; }"  # screen readers choose their voice by it


def build(models: Models, *, profiles: Profiles | None = None) -> gr.Blocks:
    """Return the page, ready to be launched.

    Args:
        models: what all visitors share.
        profiles: where enrolments stay on the server, if they may.
    """
    title = text(DEFAULT, "page.title").lstrip("# ")
    blocks = gr.Blocks(title=title, analytics_enabled=False, delete_cache=(60, UPLOAD_SECONDS))
    with blocks:
        wording = Wording()
        language = _head(wording)
        page = Page(models, profiles, language, wording)
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320, elem_classes="card"):
                teaching = teach.place(page)
            with gr.Column(min_width=320, elem_classes="card"):
                recognising = recognise.place(page)
        looking = inside.place(page)
        with gr.Column(elem_classes="card"):
            keeping = keep.place(page)
            shelved = shelf.place(page) if profiles else None
        foot = "page.privacy_store" if profiles else "page.privacy"
        wording.put(gr.Markdown(elem_classes="foot"), value=foot)
        wording.put(gr.Markdown(elem_classes="foot"), value="page.ethics")

        corrected, recognised = recognise.wire(recognising, page)
        replaced, saved = keep.wire(keeping, page)
        changed = [*teach.wire(teaching, page), *corrected, *recognised, *replaced, *_wire_language(page)]
        if profiles and shelved:
            changed += shelf.wire(shelved, page, profiles)
        inside.wire(looking, page)
        endpoints.wire(page)
        gr.on(None, None, js=views.FOCUS, api_visibility="private")
        _wire_drawing(page, [*changed, saved], teaching, recognising, looking, keeping)
        shows(changed, lambda: "", inputs=[], outputs=[looking.comparison])  # that was of other clips
    return blocks


def _head(wording: Wording) -> gr.Radio:
    with gr.Row(elem_classes="head"):
        with gr.Column(scale=4, min_width=280):
            wording.put(gr.Markdown(), value="page.title")
            wording.put(gr.Markdown(), value="page.lead")
        names = [(name, code) for code, name in languages().items()]
        return wording.put(
            gr.Radio(names, value=DEFAULT, elem_id="language", scale=1, min_width=240), label="page.choose_language"
        )


def _wire_language(page: Page) -> list[Any]:
    """Let the texts follow the visitor's choice, and before that his browser's."""
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}

    def of_browser(request: gr.Request) -> list[Any]:
        language = preferred(request.headers.get("accept-language", ""))
        return [language, *page.wording.updates(language)]

    page.language.change(None, inputs=[page.language], js=_SAY_LANGUAGE, api_visibility="private")
    outputs = page.wording.components
    return [
        gr.on(None, of_browser, inputs=None, outputs=[page.language, *outputs], **hidden),
        page.language.input(page.wording.updates, inputs=[page.language], outputs=outputs, **hidden),
    ]


def _wire_drawing(
    page: Page,
    events: list[Any],
    teaching: teach.Teach,
    recognising: recognise.Recognise,
    looking: inside.Inside,
    keeping: keep.Keep,
) -> None:
    """Draw all of the page that depends on the states after every event that changes one."""

    def draw(session: Session, trail: Trail, stream: Stream, language: str, looked_at: bool) -> tuple[Any, ...]:
        return (
            *teach.draw(session, language),
            *recognise.draw(session, trail, stream, language),
            keep.draw(session, language),
            *inside.draw(looked_at, session, trail, language),
        )

    shows(
        events,
        draw,
        inputs=[page.session, page.trail, page.stream, page.language, looking.is_open],
        outputs=[
            *(teaching.what, teaching.mode, teaching.label, teaching.notes, teaching.classes),
            *(recognising.how, recognising.notes, recognising.answer, recognising.said, recognising.about),
            recognising.timeline,
            *(keeping.notes, looking.map, looking.confusion),
        ],
    )
