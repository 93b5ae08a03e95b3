"""Step 2, recognise: a clip or the running microphone; the visitor corrects a wrong answer."""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr
from gradio.blocks import Block

from .. import examples, handlers, limits, views
from ..clips import RECORDING, ClipInput
from ..languages import DEFAULT, text
from ..live import HOP_SECONDS, WINDOW_SECONDS, Stream, extend
from ..session import History, Session, SessionVoice
from . import DROP_HEIGHT, HIDDEN, SOUND_FILES, Page, States, name_in


def add_to(page: Page) -> None:
    """Lay out the card and connect its events."""
    page.put(gr.Markdown(elem_classes="step"), value="recognise.title")
    page.put(gr.Markdown(), value="recognise.what")
    how = gr.Radio(_ways(DEFAULT), value="once", label=text(DEFAULT, "recognise.how"), elem_id="how", interactive=True)
    page.draw(lambda now: [gr.update(choices=_ways(now.language), label=text(now.language, "recognise.how"))], [how])
    voice = _add_voice(page)
    # What is not chosen is hidden by the style, not left out as in a tab: a microphone that has just come to the page
    # cannot stream for a moment, and the first words would be lost.
    with gr.Column(elem_id="once"):
        _add_clip(page)
    with gr.Column(elem_id="live"):
        _add_live(page, voice)


def _add_voice(page: Page) -> list[Block]:
    """Place what is known of the voice -> the components that `_draw_voice` updates."""
    with gr.Row(visible=False, elem_id="voice", equal_height=True) as row:
        known = gr.HTML(elem_id="voice-clips")
        new = page.put(gr.Button(size="sm", elem_id="new-person", scale=0, min_width=140), value="recognise.new_person")
    page.when(new.click, handlers.new_person, changes_clips=False)
    page.draw(lambda now: _draw_voice(now.voice, now.session, now.language), [row, known])
    return [row, known]


def _draw_voice(voice: SessionVoice, session: Session, language: str) -> tuple[Any, str]:
    shown = views.voice(voice, session, language=language)
    return gr.update(visible=bool(shown)), shown


def _add_clip(page: Page) -> None:
    clip = page.put(
        gr.Audio(sources=["microphone"], type="filepath", elem_id="clip", buttons=[], editable=False),
        label="recognise.clip",
    )
    file = page.put(gr.File(file_types=SOUND_FILES, elem_id="file-clip", height=DROP_HEIGHT), label="recognise.file")
    example = page.put(gr.Button(size="sm", elem_id="example"), value="recognise.example")
    notes = gr.HTML(elem_id="recognise-notes")
    answer = gr.HTML(views.answer(Session(), History(), language=DEFAULT), elem_id="answer", js_on_load=views.ACTIONS)
    announcement = _live_region("answer-announcement")

    def recognise(
        name: str | None, session: Session, history: History, voice: SessionVoice, given: ClipInput
    ) -> tuple[Any, ...]:
        return *handlers.recognise_and_listen(session, history, voice, given, name=name), None  # ready for the next

    def recognise_example(session: Session, history: History) -> History:
        clips = examples.queries()  # of another person than the visitor: alone
        return handlers.recognise(session, history, clips[len(history.recognised) % len(clips)].path)

    def correct(session: Session, history: History, event: gr.EventData) -> tuple[Session, History]:
        return handlers.correct(session, history, name_in(event), models=page.models)

    def draw(now: States) -> tuple[str, ...]:
        return (
            views.notes(now.history.valid_notes(now.session.enrolment), language=now.language),
            views.answer(now.session, now.history, language=now.language),
            views.answer_announcement(now.session, now.history, language=now.language),
        )

    for trigger, act, states in (
        (clip.stop_recording, functools.partial(recognise, RECORDING), [page.history, page.voice, clip]),
        (file.upload, functools.partial(recognise, None), [page.history, page.voice, file]),
        (example.click, recognise_example, [page.history]),
    ):
        page.when(trigger, act, inputs=states, outputs=states, changes_session=False)
    page.when(answer.correct, correct, inputs=[page.history], outputs=[page.history])
    page.draw(draw, [notes, answer, announcement])


def _add_live(page: Page, voice: list[Block]) -> None:
    about = gr.Markdown(_about(DEFAULT))
    microphone = page.put(
        gr.Audio(sources=["microphone"], type="filepath", streaming=True, elem_id="stream", buttons=[], editable=False),
        label="recognise.microphone",
    )
    timeline = gr.HTML(views.timeline(Stream(), Session(), language=DEFAULT), elem_id="timeline")
    announcement = _live_region("timeline-announcement")
    page.draw(
        lambda now: (_about(now.language), views.timeline(now.stream, now.session, language=now.language)),
        [about, timeline],
    )
    states, shown = [page.stream, page.session, page.language], [page.stream, timeline, announcement]
    microphone.start_recording(_start, inputs=[page.language], outputs=shown, **HIDDEN)
    microphone.stop_recording(_stop, inputs=states, outputs=shown, **HIDDEN)
    microphone.stream(
        _extend,
        inputs=[microphone, *states, page.voice],
        outputs=[*shown, page.voice, *voice],
        stream_every=HOP_SECONDS,
        time_limit=limits.STREAM_SECONDS,
        concurrency_limit=limits.STREAMS,
        **{**HIDDEN, "queue": True},
    )


def _extend(chunk: ClipInput, stream: Stream, session: Session, language: str, voice: SessionVoice) -> tuple[Any, ...]:
    stream, voice = extend(stream, session, voice, chunk)
    return *_drawn(stream, session, language), voice, *_draw_voice(voice, session, language)


def _start(language: str) -> tuple[Stream, str, str]:
    return Stream(), views.waiting(limits.STREAMS, language=language), ""


def _stop(stream: Stream, session: Session, language: str) -> tuple[Stream, str, str]:
    """Leave the answers where they are; where there are none, begin anew: nothing waits or listens any more."""
    return _drawn(stream if stream.windows else Stream(), session, language)


def _drawn(stream: Stream, session: Session, language: str) -> tuple[Stream, str, str]:
    shown = views.timeline(stream, session, language=language)
    return stream, shown, views.timeline_announcement(stream, session, language=language)


def _live_region(elem_id: str) -> gr.HTML:
    """Place what only a screen reader reads: the region stays, and is read when its text changes."""
    region = '<p role="status" aria-live="polite">${value}</p>'
    return gr.HTML("", html_template=region, js_on_load=None, elem_id=elem_id, elem_classes="visually-hidden")


def _ways(language: str) -> list[tuple[str, str]]:
    return [(text(language, "recognise.once"), "once"), (text(language, "recognise.live"), "live")]


def _about(language: str) -> str:
    return text(language, "recognise.live_what", window=WINDOW_SECONDS, hop=HOP_SECONDS)
