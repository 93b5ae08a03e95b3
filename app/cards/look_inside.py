"""A look inside: the map, the confusion matrix, and learners side by side; drawn only while it is open."""

from __future__ import annotations

import gradio as gr

from .. import comparison, diagnostics, views
from ..session import History, Session
from . import HIDDEN, Page, States


def add_to(page: Page) -> None:
    """Lay out the card and connect its events."""
    put = page.put
    with put(gr.Accordion(open=False, elem_id="inside"), label="inside.title") as fold:
        put(gr.Markdown(), value="inside.what")
        with gr.Row():
            with gr.Column(min_width=320):
                clip_map = gr.HTML(elem_id="map")
            with gr.Column(min_width=320):
                confusion = gr.HTML(elem_id="confusion")
        put(gr.Markdown(), value="inside.compare_what")
        button = put(gr.Button(size="sm", elem_id="compare"), value="inside.compare")
        learners = gr.HTML(elem_id="comparison")

    def compare(session: Session, history: History, language: str) -> str:
        return views.comparison(comparison.compare(session, history, models=page.models), language=language)

    figures = [clip_map, confusion]
    fold.expand(lambda: True, outputs=[page.is_inside_open], **HIDDEN).then(
        lambda *states: _draw(States(*states)),
        inputs=page.states,
        outputs=figures,
        **{**HIDDEN, "queue": True},
    )
    fold.collapse(lambda: False, outputs=[page.is_inside_open], **HIDDEN)
    states = [page.session, page.history, page.language]
    button.click(compare, inputs=states, outputs=[learners], api_visibility="private", show_progress="minimal")
    page.draw(_draw, figures)
    page.clear_after_change(learners)


def _draw(now: States) -> tuple[str, str]:
    """Return the map and the confusion; nothing while nobody looks, since they take time."""
    if not now.is_inside_open:
        return "", ""
    points = diagnostics.map_points(now.session, now.history)
    return (
        views.clip_map(points, labels=now.session.labels, language=now.language),
        views.confusion(diagnostics.confusion(now.session), language=now.language),
    )
