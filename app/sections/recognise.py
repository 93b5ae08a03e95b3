"""Step 2: recognise a clip or the running microphone, and say what it was if the answer is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
from gradio.events import Dependency

from .. import examples, handlers, views
from ..clips import Given
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

    clip: gr.Audio
    file: gr.File
    example: gr.Button
    notes: gr.HTML
    answer: gr.HTML
    microphone: gr.Audio
    about: gr.Markdown
    timeline: gr.HTML


def place(page: Page) -> Recognise:
    """Lay the section out where it is called."""
    put = page.wording.put
    put(gr.Markdown(elem_classes="step"), value="recognise.title")
    put(gr.Markdown(), value="recognise.what")
    with gr.Tabs():
        with put(gr.Tab(elem_id="once"), label="recognise.once"):
            clip = gr.Audio(sources=["microphone"], type="numpy", elem_id="clip", buttons=[], editable=False)
            file = gr.File(file_types=SOUND_FILES, elem_id="file-clip", height=DROP_HEIGHT)
            example = put(gr.Button(size="sm", elem_id="example"), value="recognise.example")
            notes = gr.HTML(elem_id="recognise-notes")
            answer = gr.HTML(
                views.answer(Session(), Trail(), language=DEFAULT), elem_id="answer", js_on_load=views.ACTIONS
            )
        with put(gr.Tab(elem_id="live"), label="recognise.live"):
            about = gr.Markdown(_about(DEFAULT))
            microphone = gr.Audio(
                sources=["microphone"], type="numpy", streaming=True, elem_id="stream", buttons=[], editable=False
            )
            timeline = gr.HTML(views.timeline(Stream(), Session(), language=DEFAULT), elem_id="timeline")
    put(clip, label="recognise.clip")
    put(file, label="recognise.file")
    put(microphone, label="recognise.microphone")
    return Recognise(clip, file, example, notes, answer, microphone, about, timeline)


def wire(recognise: Recognise, page: Page) -> tuple[list[Dependency], list[Dependency]]:
    """Connect the section; return the events after which the session, or only the trail, is another."""
    _wire_stream(recognise, page)

    def correct(session: Session, trail: Trail, event: gr.EventData) -> tuple[Session, Trail]:
        return handlers.correct(session, trail, named(event), models=page.models)

    corrected = page.when(recognise.answer.correct, correct, inputs=[page.trail], outputs=[page.trail])
    return [corrected], [
        _recognises(recognise.clip.stop_recording, recognise.clip, page),
        _recognises(recognise.file.upload, recognise.file, page),
        recognise.example.click(
            _recognise_example,
            inputs=[page.session, page.trail],
            outputs=[page.trail],
            api_visibility="private",
            show_progress="minimal",
            **ONE_AT_A_TIME,
        ),
    ]


def draw(session: Session, trail: Trail, stream: Stream, language: str) -> tuple[str, ...]:
    """Return what stands in notes, answer, about and timeline."""
    return (
        views.notes(trail.notes, language=language),
        views.answer(session, trail, language=language),
        _about(language),
        views.timeline(stream, session, language=language),
    )


def _recognises(trigger: Callable[..., Dependency], source: gr.Audio | gr.File, page: Page) -> Dependency:
    """Let an event recognise the clip that a component holds, which is then ready for the next one."""

    def answer(session: Session, trail: Trail, given: Given) -> tuple[Trail, None]:
        return handlers.recognise(session, trail, given), None

    return trigger(
        answer,
        inputs=[page.session, page.trail, source],
        outputs=[page.trail, source],
        api_visibility="private",
        show_progress="minimal",
        **ONE_AT_A_TIME,
    )


def _recognise_example(session: Session, trail: Trail) -> Trail:
    clips = examples.queries()
    return handlers.recognise(session, trail, clips[len(trail.recognised) % len(clips)].path)


def _wire_stream(recognise: Recognise, page: Page) -> None:
    recognise.microphone.start_recording(
        Stream, outputs=[page.stream], api_visibility="private", show_progress="hidden", queue=False
    )
    recognise.microphone.stream(
        _hear,
        inputs=[recognise.microphone, page.stream, page.session, page.language],
        outputs=[page.stream, recognise.timeline],
        stream_every=HOP_SECONDS,
        time_limit=STREAM_SECONDS,
        concurrency_limit=STREAMS,
        api_visibility="private",
        show_progress="hidden",
    )


def _hear(chunk: Given, stream: Stream, session: Session, language: str) -> tuple[Stream, str]:
    stream = hear(stream, session, chunk)
    return stream, views.timeline(stream, session, language=language)


def _about(language: str) -> str:
    return text(language, "recognise.live_what", window=WINDOW_SECONDS, hop=HOP_SECONDS)
