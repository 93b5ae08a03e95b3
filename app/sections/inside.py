"""A look inside: the map, what is taken for what, and learners side by side; drawn only while it is open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from .. import comparing, insight, views
from ..session import Session, Trail
from ._shared import Page


@dataclass(frozen=True, eq=False)
class Inside:
    """The components of the section."""

    fold: gr.Accordion
    is_open: gr.State
    map: gr.HTML
    confusion: gr.HTML
    compare: gr.Button
    comparison: gr.HTML


def place(page: Page) -> Inside:
    """Lay the section out where it is called."""
    put = page.wording.put
    is_open = gr.State(False)
    with put(gr.Accordion(open=False, elem_id="inside"), label="inside.title") as fold:
        put(gr.Markdown(), value="inside.what")
        with gr.Row():
            with gr.Column(min_width=320):
                clip_map = gr.HTML(elem_id="map")
            with gr.Column(min_width=320):
                confusion = gr.HTML(elem_id="confusion")
        put(gr.Markdown(), value="inside.compare_what")
        compare = put(gr.Button(size="sm", elem_id="compare"), value="inside.compare")
        comparison = gr.HTML(elem_id="comparison")
    return Inside(fold, is_open, clip_map, confusion, compare, comparison)


def wire(inside: Inside, page: Page) -> None:
    """Connect the section."""
    states = [page.session, page.trail, page.language]
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    inside.fold.expand(lambda: True, outputs=[inside.is_open], queue=False, **hidden).then(
        draw, inputs=[inside.is_open, *states], outputs=[inside.map, inside.confusion], **hidden
    )
    inside.fold.collapse(lambda: False, outputs=[inside.is_open], queue=False, **hidden)

    def compare(session: Session, trail: Trail, language: str) -> str:
        return views.comparison(comparing.compare(session, trail, models=page.models), language=language)

    inside.compare.click(
        compare, inputs=states, outputs=[inside.comparison], api_visibility="private", show_progress="minimal"
    )


def draw(is_open: bool, session: Session, trail: Trail, language: str) -> tuple[str, str]:
    """Return the map and the confusion; nothing while nobody looks, since they take time."""
    if not is_open:
        return "", ""
    points = insight.map_points(session, trail)
    return (
        views.clip_map(points, labels=session.labels, language=language),
        views.confusion(insight.confusion(session), language=language),
    )
