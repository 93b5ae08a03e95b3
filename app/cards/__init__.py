"""The cards of the page: each module lays one out and connects its events. Here is what they share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from ..languages import DEFAULT, languages, text
from ..limits import SESSION_SECONDS
from ..live import Stream
from ..models import Models
from ..profiles import Profiles
from ..session import History, Session, SessionVoice

DROP_HEIGHT = 140  # pixels
SOUND_FILES = [".wav", ".flac", ".ogg", ".opus", ".mp3"]
HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
"""For events that only change what is shown, at once."""
ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "session", "concurrency_limit": 1}
"""For events that change what is enrolled or recognised: two at once would start from the same state, and one would be
lost; and what is asked after a change is answered after it."""

C = TypeVar("C", bound=Block)


class States(NamedTuple):
    """The states of a visitor, of which the page is drawn."""

    session: Session
    history: History
    stream: Stream
    voice: SessionVoice
    language: str
    is_inside_open: bool


class Page:
    """What the cards share: the states of a visitor, the texts of all components, and what is drawn after an event.

    Made inside `gr.Blocks`; `connect` comes last.
    """

    def __init__(self, models: Models, profiles: Profiles | None) -> None:
        """Begin a page; `profiles` are None without `--store`."""
        self.models, self.profiles = models, profiles
        self.session, self.history, self.stream = _state(Session), _state(History), _state(Stream)
        self.voice = _state(SessionVoice)
        self.is_inside_open = gr.State(False)
        self._texts: list[tuple[Block, dict[str, str]]] = []
        self._drawn: list[tuple[Callable[[States], Sequence[Any]], list[Block]]] = []
        self._cleared: list[Block] = []
        self._changes: list[Dependency] = []
        self._other_events: list[Dependency] = []

    def add_language(self) -> None:
        """Place the choice of the language."""
        names = [(name, code) for code, name in languages().items()]
        radio = gr.Radio(names, value=DEFAULT, elem_id="language", scale=1, min_width=240)
        self.language = self.put(radio, label="page.choose_language")

    def put(self, component: C, **names: str) -> C:
        """Give a component texts by their names, such as `label="teach.record"`, in every language; return it."""
        for property_, name in names.items():
            setattr(component, property_, text(DEFAULT, name))
        self._texts.append((component, names))
        return component

    @property
    def translated(self) -> list[Block]:
        """The components with texts."""
        return [component for component, _ in self._texts]

    def translations(self, language: str) -> list[dict[str, Any]]:
        """Return updates of `translated` in a language."""
        words: list[dict[str, Any]] = [
            {property_: text(language, name) for property_, name in names.items()} for _, names in self._texts
        ]
        return [gr.update(**properties) for properties in words]

    def when(
        self,
        trigger: Callable[..., Dependency],
        act: Callable[..., Any],
        *,
        inputs: Sequence[Block] = (),
        outputs: Sequence[Block] = (),
        changes_session: bool = True,
        changes_clips: bool = True,
    ) -> None:
        """Let a handler of (session, *inputs) answer an event with (session, *outputs), in turn; then draw.

        It returns no session unless it `changes_session`; unless it `changes_clips`, what is enrolled and recognised
        stays.
        """
        event = trigger(
            act,
            inputs=[self.session, *inputs],
            outputs=[*([self.session] if changes_session else []), *outputs],
            api_visibility="private",
            show_progress="minimal",
            **ONE_AT_A_TIME,
        )
        (self._changes if changes_clips else self._other_events).append(event)

    @property
    def states(self) -> list[Block]:
        """The components of `States`."""
        return [self.session, self.history, self.stream, self.voice, self.language, self.is_inside_open]

    def redraw_after(self, event: Dependency) -> None:
        """Draw after an event that is not connected by `when`."""
        self._changes.append(event)

    def draw(self, act: Callable[[States], Sequence[Any]], outputs: Sequence[Block]) -> None:
        """Let a function from the states to updates of outputs be called after events."""
        self._drawn.append((act, list(outputs)))

    def clear_after_change(self, figure: gr.HTML) -> None:
        """Empty a figure after events that change what it is of."""
        self._cleared.append(figure)

    def connect(self) -> None:
        """Draw after every event that was connected."""

        def draw(*states: Any) -> list[Any]:
            return [update for act, _ in self._drawn for update in act(States(*states))]

        outputs = [component for _, components in self._drawn for component in components]
        for event in (*self._changes, *self._other_events):
            event.then(draw, inputs=self.states, outputs=outputs, **HIDDEN)
        for event in self._changes:
            for figure in self._cleared:
                event.then(lambda: "", outputs=[figure], **HIDDEN)


def confirm_first(delete: gr.Button, sure: gr.Button, rather_not: gr.Button) -> None:
    """Let a button that deletes ask first: two others come in its place, and what deletes is the click on `sure`."""

    def show(asking: bool) -> tuple[Any, Any, Any]:
        return gr.update(visible=not asking), gr.update(visible=asking), gr.update(visible=asking)

    for button, asking in ((delete, True), (sure, False), (rather_not, False)):
        button.click(functools.partial(show, asking), outputs=[delete, sure, rather_not], **HIDDEN)


def name_in(event: gr.EventData) -> str:
    """Return the name that a button in the page's HTML carries; anything else that a browser may send is no name."""
    try:
        name = getattr(event, "name", None)
    except TypeError:  # it looks for the name in what the browser sent, whatever that is
        return ""
    return name if isinstance(name, str) else ""


def _state(begin: Callable[[], object]) -> gr.State:
    state = gr.State(time_to_live=SESSION_SECONDS)
    # Called for every visitor. Given to the constructor, it would be called at every load of the page too; and a
    # dataclass, as a value or a type, would be taken apart for the page's configuration.
    state.value = functools.partial(begin)
    return state
