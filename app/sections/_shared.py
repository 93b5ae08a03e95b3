"""What all sections need: the states of a visitor, and the one way in which an event changes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from ..models import Models
from ..profiles import Profiles
from ..session import Session, Trail
from ..streaming import Stream
from ..wording import Wording

KEPT_SECONDS = 2 * 3600
"""How long a visitor who does nothing keeps his enrolment; gradio drops that of a closed page after an hour."""

ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "session", "concurrency_limit": 1}
"""For events of the page that change what is enrolled or recognised: two at once would start from the same state, and
one would be lost; and what is asked after a change is answered after it."""


def _state(begin: Callable[[], object]) -> gr.State:
    state = gr.State(time_to_live=KEPT_SECONDS)
    # Called for every visitor. Given to the constructor, it would be called at every load of the page too; and a
    # dataclass, as a value or a type, would be taken apart for the page's configuration.
    state.value = functools.partial(begin)
    return state


@dataclass(frozen=True, eq=False)
class Page:
    """What the sections share; made inside `gr.Blocks`.

    Attributes:
        models: of all visitors.
        profiles: of this server; None without `--store`.
        language: the code of the visitor's language.
        wording: the texts of the components.
    """

    models: Models
    profiles: Profiles | None
    language: gr.Radio
    wording: Wording
    session: gr.State = field(default_factory=lambda: _state(Session))
    trail: gr.State = field(default_factory=lambda: _state(Trail))
    stream: gr.State = field(default_factory=lambda: _state(Stream))

    def when(
        self,
        trigger: Callable[..., Dependency],
        act: Callable[..., Any],
        *,
        inputs: Sequence[Block] = (),
        outputs: Sequence[Block] = (),
        **options: Any,
    ) -> Dependency:
        """Let a handler of (session, *inputs) answer an event with a new session (and more outputs), in turn."""
        return trigger(
            act,
            inputs=[self.session, *inputs],
            outputs=[self.session, *outputs],
            api_visibility="private",
            show_progress="minimal",
            **{**ONE_AT_A_TIME, **options},
        )


def asks(delete: gr.Button, sure: gr.Button, rather_not: gr.Button) -> None:
    """Let a button that deletes ask first: two others come in its place, and what deletes is the click on `sure`."""

    def answer(asking: bool) -> tuple[Any, Any, Any]:
        return gr.update(visible=not asking), gr.update(visible=asking), gr.update(visible=asking)

    for button, asking in ((delete, True), (sure, False), (rather_not, False)):
        button.click(
            functools.partial(answer, asking),
            outputs=[delete, sure, rather_not],
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )


def shows(
    after: Sequence[Dependency], draw: Callable[..., Any], *, inputs: Sequence[Block], outputs: Sequence[Block]
) -> None:
    """Draw what changed as soon as each of some events is done."""
    for event in after:
        event.then(
            draw,
            inputs=list(inputs),
            outputs=list(outputs),
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
