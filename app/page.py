"""The page: a card for each of three steps, a look inside, and the endpoints for programs."""

from __future__ import annotations

from typing import Any

import gradio as gr

from . import endpoints, views
from .cards import HIDDEN, Page, look_inside, recognise, save, teach
from .languages import DEFAULT, preferred, text
from .limits import UPLOAD_SECONDS
from .models import Models
from .profiles import Profiles

_SET_LANGUAGE = "(code) => { document.documentElement.lang = code; }"  # screen readers choose their voice by it


def build(models: Models, *, profiles: Profiles | None = None) -> gr.Blocks:
    """Return the page, ready to be launched; `profiles` are None where none are kept on the server."""
    title = text(DEFAULT, "page.title").lstrip("# ")
    blocks = gr.Blocks(title=title, analytics_enabled=False, delete_cache=(60, UPLOAD_SECONDS))
    with blocks:
        page = Page(models, profiles)
        _add_head(page)
        with gr.Row(equal_height=False):
            with gr.Column(min_width=320, elem_classes="card"):
                teach.add_to(page)
            with gr.Column(min_width=320, elem_classes="card"):
                recognise.add_to(page)
        look_inside.add_to(page)
        with gr.Column(elem_classes="card"):
            save.add_to(page)
        page.put(gr.Markdown(elem_classes="foot"), value="page.privacy_store" if profiles else "page.privacy")
        page.put(gr.Markdown(elem_classes="foot"), value="page.ethics")
        endpoints.add_to(page)
        _connect_language(page)
        gr.on(None, None, js=views.FOCUS, api_visibility="private")
        page.connect()
    return blocks


def _add_head(page: Page) -> None:
    with gr.Row(elem_classes="head"):
        with gr.Column(scale=4, min_width=280):
            page.put(gr.Markdown(), value="page.title")
            page.put(gr.Markdown(), value="page.lead")
        page.add_language()


def _connect_language(page: Page) -> None:
    """Let the texts follow the visitor's choice, and before that his browser's."""

    def of_browser(request: gr.Request) -> list[Any]:
        language = preferred(request.headers.get("accept-language", ""))
        return [language, *page.translations(language)]

    outputs = page.translated
    page.language.change(None, inputs=[page.language], js=_SET_LANGUAGE, api_visibility="private")
    page.redraw_after(gr.on(None, of_browser, inputs=None, outputs=[page.language, *outputs], **HIDDEN))
    page.redraw_after(page.language.input(page.translations, inputs=[page.language], outputs=outputs, **HIDDEN))
