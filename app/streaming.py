"""Live recognition from the microphone: a window that slides over the last seconds, and a timeline of its answers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ser_fewshot import audio
from ser_fewshot.audio.voice_activity import is_voice
from ser_fewshot.classifier import FewShotClassifier, Prediction
from ser_fewshot.errors import AudioError

from .chunks import taken
from .clips import Given, note
from .session import Code, Mode, Note, Session

WINDOW_SECONDS = 2.0
"""What is recognised at a time: a short utterance."""
HOP_SECONDS = 0.5
"""From one window to the next; also `stream_every` of the microphone."""
TIMELINE_SECONDS = 30.0

_SLACK = 0.05  # s by which a chunk may be shorter than a hop, so that no window waits for the next one


@dataclass(frozen=True, eq=False)
class Moment:
    """The answer to one window.

    Attributes:
        end: when the window ended, in s since the stream began.
        prediction: None where it held no voice.
        latency: from the arrival of the window's last samples to the answer, in s.
        mode: what was told apart.
    """

    end: float
    prediction: Prediction | None
    latency: float
    mode: Mode = "emotion"


@dataclass(frozen=True, eq=False)
class Stream:
    """What the microphone heard.

    Attributes:
        rate: of the microphone, in Hz; 0 before the first samples.
        tail: (n,) or (n, channels) the latest samples, at most one window, as they came.
        heard: seconds since the stream began.
        moments: answers of the last TIMELINE_SECONDS, the latest last.
        notes: what keeps it from recognising.
    """

    rate: int = 0
    tail: NDArray[Any] = field(default_factory=lambda: np.zeros(0, dtype=np.int16))
    heard: float = 0.0
    moments: tuple[Moment, ...] = ()
    notes: tuple[Note, ...] = ()

    def __deepcopy__(self, memo: object) -> Stream:
        """Return itself: nothing in it changes."""
        return self


def hear(stream: Stream, session: Session, chunk: Given) -> Stream:
    """Take the next samples of the microphone, of up to limits.CLIP_SECONDS; recognise once a window moved by a hop.

    Only reads the session, so it needs no turn in the queue of those that change it. A microphone that changes its
    rate or its type of samples begins a new stream.
    """
    start = time.perf_counter()
    classifier = session.enrolment.classifier
    if classifier is None or not session.can_recognise:
        return Stream(notes=(note(Code.TOO_FEW_LABELS, "error", count=len(session.labels)),))
    samples = taken(chunk)
    if not isinstance(samples, tuple):
        return replace(stream, notes=() if samples is None else (samples,))
    stream = _extended(stream, *samples)
    latest = stream.moments[-1].end if stream.moments else 0.0
    full = stream.heard >= WINDOW_SECONDS - _SLACK
    if not full or stream.heard - latest < HOP_SECONDS - _SLACK:
        return stream
    prediction = _recognised(stream, classifier)
    moment = Moment(stream.heard, prediction, time.perf_counter() - start, session.enrolment.mode)
    recent = tuple(one for one in stream.moments if one.end > stream.heard - TIMELINE_SECONDS)
    return replace(stream, moments=(*recent, moment))


def _extended(stream: Stream, rate: int, samples: NDArray[Any]) -> Stream:
    """Return a stream with more samples."""
    alike = (stream.tail.dtype, stream.tail.shape[1:]) == (samples.dtype, samples.shape[1:])
    if stream.rate != rate or not alike:
        stream = Stream(rate, samples[:0])
    window = round(WINDOW_SECONDS * rate)
    tail = np.concatenate([stream.tail, samples[-window:]])[-window:]
    return replace(stream, tail=tail, heard=stream.heard + len(samples) / rate, notes=())


def _recognised(stream: Stream, classifier: FewShotClassifier) -> Prediction | None:
    """Return the answer to the latest window; None where it is silent or holds no speech."""
    try:
        whole = audio.load((stream.rate, stream.tail), trim=False)
        if not is_voice(whole.waveform):
            return None
        trim = classifier.model.frontend.trim
        return classifier.predict(audio.load((audio.SAMPLE_RATE, whole.waveform)) if trim else whole)
    except AudioError:
        return None
