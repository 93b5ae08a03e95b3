"""Step 2: recognise a clip or the running microphone, and say what it was if the answer is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from .. import examples, handlers, views
from ..clips import RECORDING, Given
from ..session import Session, Trail
from ..streaming import HOP_SECONDS, WINDOW_SECONDS, Stream, hear
from ..texts import DEFAULT, text
from ._shared import ONE_AT_A_TIME, Page
from .teach import DROP_HEIGHT, SOUND_FILES, named

STREAMS = 4
"""Microphones that are heard at the same time; more wait for their turn."""
STREAM_SECONDS = 600
"""After which a microphone must be started again, so that a forgotten one does not keep others waiting."""


@dataclass(frozen=True, eq=False)
class Recognise:
    """The components of the section."""

    how: gr.Radio
    clip: gr.Audio
    file: gr.File
    example: gr.Button
    notes: gr.HTML
    answer: gr.HTML
    said: gr.HTML
    microphone: gr.Audio
    about: gr.Markdown
    timeline: gr.HTML
    timeline_said: gr.HTML


def place(page: Page) -> Recognise:
    """Lay the section out where it is called."""
    put = page.wording.put
    put(gr.Markdown(elem_classes="step"), value="recognise.title")
    put(gr.Markdown(), value="recognise.what")
    how = gr.Radio(_ways(DEFAULT), value="once", label=text(DEFAULT, "recognise.how"), elem_id="how", interactive=True)
    # What is not chosen is hidden by the style, not left out as in a tab: a microphone that has just come to the page
    # cannot stream for a moment, and whoever presses its button then is not heard.
    with gr.Column(elem_id="once"):
        clip = gr.Audio(sources=["microphone"], type="filepath", elem_id="clip", buttons=[], editable=False)
        file = gr.File(file_types=SOUND_FILES, elem_id="file-clip", height=DROP_HEIGHT)
        example = put(gr.Button(size="sm", elem_id="example"), value="recognise.example")
        notes = gr.HTML(elem_id="recognise-notes")
        answer = gr.HTML(views.answer(Session(), Trail(), language=DEFAULT), elem_id="answer", js_on_load=views.ACTIONS)
        said = _aloud("answer-said")
    with gr.Column(elem_id="live"):
        about = gr.Markdown(_about(DEFAULT))
        microphone = gr.Audio(
            sources=["microphone"], type="filepath", streaming=True, elem_id="stream", buttons=[], editable=False
        )
        timeline = gr.HTML(views.timeline(Stream(), Session(), language=DEFAULT), elem_id="timeline")
        timeline_said = _aloud("timeline-said")
    put(clip, label="recognise.clip")
    put(file, label="recognise.file")
    put(microphone, label="recognise.microphone")
    return Recognise(how, clip, file, example, notes, answer, said, microphone, about, timeline, timeline_said)


def wire(recognise: Recognise, page: Page) -> tuple[list[Dependency], list[Dependency]]:
    """Connect the section; return the events after which the session, or only the trail, is another."""
    _wire_stream(recognise, page)

    def correct(session: Session, trail: Trail, event: gr.EventData) -> tuple[Session, Trail]:
        return handlers.correct(session, trail, named(event), models=page.models)

    corrected = page.when(recognise.answer.correct, correct, inputs=[page.trail], outputs=[page.trail])
    return [corrected], [
        _recognises(recognise.clip.stop_recording, recognise.clip, page),
        _recognises(recognise.file.upload, recognise.file, page),
        _answers(recognise.example.click, _recognise_example, page),
    ]


def draw(session: Session, trail: Trail, stream: Stream, language: str) -> tuple[Any, ...]:
    """Return updates of how, notes, answer, what is said of it, about and timeline."""
    return (
        gr.update(choices=_ways(language), label=text(language, "recognise.how")),
        views.notes(trail.valid_notes(session.enrolment), language=language),
        views.answer(session, trail, language=language),
        views.answer_said(session, trail, language=language),
        _about(language),
        views.timeline(stream, session, language=language),
    )


def _recognises(trigger: Callable[..., Dependency], source: gr.Audio | gr.File, page: Page) -> Dependency:
    """Let an event recognise the clip that a component holds, which is then ready for the next one."""
    name = RECORDING if isinstance(source, gr.Audio) else None

    def answer(session: Session, trail: Trail, given: Given) -> tuple[Trail, None]:
        return handlers.recognise(session, trail, given, name=name), None

    return _answers(trigger, answer, page, source)


def _answers(trigger: Callable[..., Dependency], act: Callable[..., Any], page: Page, *sources: Block) -> Dependency:
    """Let a handler of (session, trail, *sources) answer an event with a new trail (and the sources anew), in turn."""
    return trigger(
        act,
        inputs=[page.session, page.trail, *sources],
        outputs=[page.trail, *sources],
        api_visibility="private",
        show_progress="minimal",
        **ONE_AT_A_TIME,
    )


def _recognise_example(session: Session, trail: Trail) -> Trail:
    clips = examples.queries()
    return handlers.recognise(session, trail, clips[len(trail.recognised) % len(clips)].path)


def _wire_stream(recognise: Recognise, page: Page) -> None:
    at_once: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    shown = [page.stream, recognise.timeline, recognise.timeline_said]
    recognise.microphone.start_recording(_start, inputs=[page.language], outputs=shown, **at_once)
    recognise.microphone.stop_recording(
        _stop, inputs=[page.stream, page.session, page.language], outputs=shown, **at_once
    )
    recognise.microphone.stream(
        _hear,
        inputs=[recognise.microphone, page.stream, page.session, page.language],
        outputs=shown,
        stream_every=HOP_SECONDS,
        time_limit=STREAM_SECONDS,
        concurrency_limit=STREAMS,
        api_visibility="private",
        show_progress="hidden",
    )


def _start(language: str) -> tuple[Stream, str, str]:
    return Stream(), views.waiting(STREAMS, language=language), ""


def _stop(stream: Stream, session: Session, language: str) -> tuple[Stream, str, str]:
    """Leave the answers where they are; where there are none, nothing waits or listens any more."""
    return _drawn(stream if stream.moments else Stream(), session, language)


def _hear(chunk: Given, stream: Stream, session: Session, language: str) -> tuple[Stream, str, str]:
    return _drawn(hear(stream, session, chunk), session, language)


def _drawn(stream: Stream, session: Session, language: str) -> tuple[Stream, str, str]:
    shown = views.timeline(stream, session, language=language)
    return stream, shown, views.timeline_said(stream, session, language=language)


def _aloud(elem_id: str) -> gr.HTML:
    """Place what only a screen reader tells: the region stays, and is read when its text changes."""
    region = '<p role="status" aria-live="polite">${value}</p>'
    return gr.HTML("", html_template=region, js_on_load=None, elem_id=elem_id, elem_classes="aloud")


def _ways(language: str) -> list[tuple[str, str]]:
    return [(text(language, "recognise.once"), "once"), (text(language, "recognise.live"), "live")]


def _about(language: str) -> str:
    return text(language, "recognise.live_what", window=WINDOW_SECONDS, hop=HOP_SECONDS)
