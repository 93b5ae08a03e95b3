"""Live recognition: a window that slides over the microphone's last seconds, and the timeline of its answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_fewshot import audio
from ser_fewshot.audio.decode import decoder
from ser_fewshot.audio.source import opened
from ser_fewshot.audio.voice_activity import is_voice
from ser_fewshot.classifier import Prediction
from ser_fewshot.errors import AudioError

from . import limits
from .clips import RECORDING, ClipInput, size_of
from .enrolment import Enrolment
from .models import Mode
from .notes import Code, Note, note
from .session import Session, SessionVoice, Uncopied

WINDOW_SECONDS = 2.0
"""What is recognised at a time: a short utterance."""
HOP_SECONDS = 0.5
"""From one window to the next; also `stream_every` of the microphone."""
TIMELINE_SECONDS = 30.0

_SLACK = 0.05  # s by which a chunk may be shorter than a hop, so that no window waits for the next one
_FAINTEST = 0.3  # opacity of a mark on the timeline


@dataclass(frozen=True, eq=False)
class Window:
    """The answer to one window.

    Attributes:
        end: when it ended, in s since the stream began.
        prediction: None where it held no voice.
        latency: from the arrival of its last samples to the answer, in s.
        mode: what the classes were.
    """

    end: float
    prediction: Prediction | None
    latency: float
    mode: Mode = "emotion"


@dataclass(frozen=True, eq=False)
class Stream(Uncopied):
    """The state of a visitor's microphone.

    Attributes:
        rate: in Hz; 0 before the first samples.
        tail: (n,) or (n, channels) the latest samples, at most one window, as they came.
        seconds: of sound since the stream began.
        windows: of the last TIMELINE_SECONDS, the latest last.
        notes: what keeps it from recognising.
        person: `Session.person` of the latest samples.
        listened: until when its windows were added to the voice of that person, in s since the stream began.
    """

    rate: int = 0
    tail: NDArray[Any] = field(default_factory=lambda: np.zeros(0, dtype=np.int16))
    seconds: float = 0.0
    windows: tuple[Window, ...] = ()
    notes: tuple[Note, ...] = ()
    person: int = 0
    listened: float = 0.0

    def valid_windows(self, enrolment: Enrolment) -> tuple[Window, ...]:
        """Return the windows whose answer names no class that is no longer enrolled."""
        return tuple(one for one in self.windows if enrolment.has_classes_of(one.prediction, mode=one.mode))


def extend(stream: Stream, session: Session, voice: SessionVoice, chunk: ClipInput) -> tuple[Stream, SessionVoice]:
    """Take the next samples of the microphone, of up to limits.CLIP_SECONDS; recognise once a window moved by a hop.

    Windows with a voice that do not overlap are added to the voice of the session. Only reads the session, so it needs
    no turn in the queue of those that change it. A microphone that changes its rate or its type of samples begins a new
    stream.
    """
    start = time.perf_counter()
    if not session.can_recognise:
        return Stream(notes=(note(Code.TOO_FEW_LABELS, count=len(session.labels)),)), voice
    samples = _read(chunk)
    if not isinstance(samples, tuple):
        return replace(stream, notes=() if samples is None else (samples,)), voice
    if stream.person != session.person:  # the samples so far are of another person
        stream = replace(stream, person=session.person, listened=stream.seconds)
    stream = _appended(stream, *samples)
    latest = stream.windows[-1].end if stream.windows else 0.0
    full = stream.seconds >= WINDOW_SECONDS - _SLACK
    if not full or stream.seconds - latest < HOP_SECONDS - _SLACK:
        return stream, voice
    listen = stream.seconds - stream.listened >= WINDOW_SECONDS - _SLACK
    prediction, voice = _predict(stream, session, voice, listen=listen)
    window = Window(stream.seconds, prediction, time.perf_counter() - start, session.enrolment.mode)
    recent = tuple(one for one in stream.windows if one.end > stream.seconds - TIMELINE_SECONDS)
    listened = stream.seconds if listen and prediction is not None else stream.listened
    return replace(stream, windows=(*recent, window), listened=listened), voice


def marks(windows: Sequence[Window], label: str | None, *, now: float) -> list[tuple[float, float]]:
    """Return (start in s, opacity) of the windows that were recognised as a label, or as unknown for None."""
    origin = now - TIMELINE_SECONDS
    return [
        (one.end - origin - HOP_SECONDS, max(one.prediction.shares[label], _FAINTEST))
        for one in windows
        if one.prediction is not None and label == one.prediction.answer
    ]


def runs(windows: Sequence[Window], *, now: float) -> list[tuple[Prediction | None, float, float]]:
    """Return (answer, from and to how many s ago) of windows in a row with the same answer, the latest last."""
    same = [tuple(group) for _, group in groupby(windows, key=_answer)]
    return [(one[-1].prediction, now - one[0].end + HOP_SECONDS, now - one[-1].end) for one in same]


def stable_answer(windows: Sequence[Window]) -> Prediction | None:
    """Return the latest answer that two windows in a row gave; None before there was one.

    Screen readers read it aloud: an answer that comes and goes within a hop would only interrupt.
    """
    for before, after in reversed(tuple(pairwise(windows))):
        if after.prediction is not None and _answer(before) == _answer(after):
            return after.prediction
    return None


def _answer(window: Window) -> tuple[str | None] | None:
    """Return what distinguishes one answer from another, which is not the label that an unknown clip is most like."""
    return None if window.prediction is None else (window.prediction.answer,)


def _read(chunk: ClipInput) -> tuple[int, NDArray[Any]] | Note | None:
    """Return (rate in Hz, samples) of a chunk, why it is refused, or None without samples; channels of files are mixed.

    It is bounded in bytes, seconds and rate before it is decoded. `audio.load` is for whole clips: it refuses silence
    and what is short.
    """
    if chunk is None:
        return None
    if size_of(chunk) > limits.CLIP_BYTES:
        return note(Code.TOO_BIG, name=RECORDING, most=limits.CLIP_BYTES // 2**20)
    if isinstance(chunk, tuple):
        rate, samples = chunk
        return _refusal(rate, len(samples)) or ((rate, samples) if len(samples) else None)
    try:
        with opened(RECORDING, chunk) as window, decoder(RECORDING, window) as sound:
            rate, most = sound.samplerate, round(limits.CLIP_SECONDS * sound.samplerate)
            if (refusal := _refusal(rate, sound.total or 0)) is not None:
                return refusal
            samples = np.concatenate([block.mean(axis=1) for block in sound.blocks(0, most + 1)])
    except AudioError as error:
        return note(Code.UNREADABLE, name=RECORDING, detail=str(error))
    return _refusal(rate, len(samples)) or (rate, samples)


def _refusal(rate: int, count: int) -> Note | None:
    """Return why so many samples at a rate in Hz are refused; None if they are not."""
    least, most = limits.MICROPHONE_HERTZ
    if not least <= rate <= most:
        return note(Code.BAD_RATE, rate=rate, least=least, most=most)
    if count > limits.CLIP_SECONDS * rate:
        return note(Code.TOO_LONG, name=RECORDING, most=limits.CLIP_SECONDS)
    return None


def _appended(stream: Stream, rate: int, samples: NDArray[Any]) -> Stream:
    same = (stream.tail.dtype, stream.tail.shape[1:]) == (samples.dtype, samples.shape[1:])
    if stream.rate != rate or not same:
        stream = Stream(rate, samples[:0], person=stream.person)
    window = round(WINDOW_SECONDS * rate)
    tail = np.concatenate([stream.tail, samples[-window:]])[-window:]
    return replace(stream, tail=tail, seconds=stream.seconds + len(samples) / rate, notes=())


def _predict(
    stream: Stream, session: Session, voice: SessionVoice, *, listen: bool
) -> tuple[Prediction | None, SessionVoice]:
    """Recognise the latest window, None where it is silent or holds no voice; return the voice after it, too."""
    classifier = session.enrolment.classifier
    try:
        whole = audio.load((stream.rate, stream.tail), trim=False)
        if classifier is None or not is_voice(whole.waveform):
            return None, voice
        trim = classifier.model.frontend.trim
        clip = audio.load((audio.SAMPLE_RATE, whole.waveform)) if trim else whole
        return voice.predict(session, classifier, clip, listen=listen)
    except AudioError:
        return None, voice
