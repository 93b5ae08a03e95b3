"""Live recognition: windows, hops, the timeline of 30 s, and what chunks are refused."""

import numpy as np
import pytest
import soundfile
from visitors import codes, enrolled, packaged

from app import handlers, limits, live
from app.live import HOP_SECONDS, TIMELINE_SECONDS, WINDOW_SECONDS, Stream
from app.notes import Code
from app.session import Session, SessionVoice
from ser_fewshot import audio
from ser_fewshot.quickstart import DEMO_MANIFEST

SPEECH = [audio.load(path, trim=False).waveform for path in sorted(DEMO_MANIFEST.parent.glob("*.ogg"))[:8]]
VOICE = (np.concatenate(SPEECH) * 32767).astype(np.int16)
TWO = enrolled({"low": 2, "high": 2})


def extend(stream, session, chunk):
    return live.extend(stream, session, SessionVoice(), chunk)[0]


def played(samples, *, seconds=HOP_SECONDS, rate=16_000, session=TWO, stream=None):
    """Play samples to a page in chunks; return the stream after each of them."""
    step = round(seconds * rate)
    streams = [stream or Stream()]
    for start in range(0, len(samples), step):
        streams.append(extend(streams[-1], session, (rate, samples[start : start + step])))
    return streams[1:]


def test_a_window_is_recognised_as_the_same_clip_would_be_once_it_is_full_and_then_after_every_hop():
    streams = played(VOICE[: 16_000 * 4])
    assert [len(stream.windows) for stream in streams] == [0, 0, 0, 1, 2, 3, 4, 5]
    assert [window.end for window in streams[-1].windows] == pytest.approx([2.0, 2.5, 3.0, 3.5, 4.0])
    first = streams[-1].windows[0]
    expected = TWO.enrolment.classifier.predict(audio.load((16_000, VOICE[:32_000]))).probabilities
    assert first.prediction.probabilities == pytest.approx(expected, abs=1e-4)
    assert first.latency > 0


def test_chunks_of_any_length_give_windows_that_are_at_least_a_hop_apart():
    for seconds in (0.33, 1.7):
        ends = [window.end for window in played(VOICE[: 16_000 * 6], seconds=seconds)[-1].windows]
        assert len(ends) >= 3
        assert min(np.diff(ends)) >= HOP_SECONDS - 0.06


def test_the_timeline_and_the_samples_do_not_grow(monkeypatch):
    monkeypatch.setattr(live, "is_voice", lambda _: False)  # takes time
    stream = played(np.resize(VOICE, round(16_000 * (TIMELINE_SECONDS + 5))), seconds=1.0)[-1]
    assert stream.seconds == pytest.approx(TIMELINE_SECONDS + 5)
    assert stream.windows[0].end > stream.seconds - TIMELINE_SECONDS - 1
    assert len(stream.windows) <= TIMELINE_SECONDS + 1
    assert len(stream.tail) == 16_000 * WINDOW_SECONDS
    stream = extend(stream, TWO, (16_000, np.resize(VOICE, 16_000 * 12)))
    assert stream.tail.base is None or len(stream.tail.base) <= 2 * len(stream.tail)  # no view of a long chunk


def test_where_nobody_speaks_a_window_has_no_answer():
    noise = np.random.default_rng(0).integers(-900, 900, 40_000, dtype=np.int16)
    for quiet in (np.zeros(40_000, dtype=np.int16), noise):
        assert [window.prediction for window in played(quiet)[-1].windows] == [None, None]


def test_microphones_of_any_rate_channels_and_type_are_recognised_and_a_change_begins_anew():
    voice = VOICE[:32_000]
    for rate, samples in (
        (48_000, np.repeat(voice, 3)),
        (16_000, np.stack([voice] * 2, 1)),
        (16_000, voice.astype(np.int32) << 16),
        (16_000, voice / np.float32(32768)),
    ):
        assert [window.prediction is not None for window in played(samples, rate=rate)[-1].windows] == [True]
    stream = played(np.repeat(VOICE[:16_000], 3), rate=48_000, stream=played(voice)[-1])[-1]
    assert (stream.rate, stream.windows, stream.seconds) == (48_000, (), pytest.approx(1.0))


def test_chunks_that_come_as_files_are_the_same_sound_also_without_a_length(tmp_path):
    arrays, stream = played(VOICE[:40_000])[-1], Stream()
    for number in range(5):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, VOICE[8_000 * number : 8_000 * (number + 1)], 16_000)
        whole = path.read_bytes()
        assert whole[36:40] == b"data"
        path.write_bytes(whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:])  # as Chromium writes them
        stream = extend(stream, TWO, str(path))
    assert stream.seconds == pytest.approx(2.5)
    for one, other in zip(stream.windows, arrays.windows, strict=True):
        assert one.prediction.probabilities == pytest.approx(other.prediction.probabilities, abs=1e-4)


def test_a_chunk_beyond_the_limits_is_refused_with_the_reason_and_an_empty_one_changes_nothing(tmp_path):
    before = played(VOICE[:40_000])[-1]
    for rate, samples, code in (
        (7_999, VOICE[:4_000], Code.BAD_RATE),
        (192_010, VOICE[:96_000], Code.BAD_RATE),
        (16_000, np.resize(VOICE, 16_000 * 15 + 1), Code.TOO_LONG),
    ):
        soundfile.write(tmp_path / "chunk.wav", samples, rate)
        soundfile.write(tmp_path / "chunk.flac", samples, rate)
        for chunk in ((rate, samples), tmp_path / "chunk.wav", tmp_path / "chunk.flac"):
            after = extend(before, TWO, chunk)
            assert [(note.code, note.level) for note in after.notes] == [(code, "error")]
            assert (after.seconds, after.windows, after.tail is before.tail) == (before.seconds, before.windows, True)
    for empty in (None, (16_000, np.zeros(0, dtype=np.int16))):
        after = extend(before, TWO, empty)
        assert (after.seconds, after.windows) == (before.seconds, before.windows)


def test_a_chunk_that_is_too_big_or_no_sound_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "chunk.wav"
    path.write_bytes(b"no sound")
    assert codes(extend(Stream(), TWO, str(path))) == [Code.UNREADABLE]
    monkeypatch.setattr(limits, "CLIP_BYTES", 7)
    monkeypatch.setattr(live, "decoder", lambda *_: pytest.fail("it was opened"))
    assert codes(extend(Stream(), TWO, str(path))) == [Code.TOO_BIG]


def test_two_classes_are_needed_and_a_new_one_counts_from_the_next_window():
    assert codes(extend(Stream(), Session(), (16_000, VOICE[:8_000]))) == [Code.TOO_FEW_LABELS]
    stream = played(VOICE[:32_000])[-1]
    after = played(VOICE[32_000:40_000], session=enrolled({"shrill": 1}, TWO), stream=stream)[-1]
    assert [len(window.prediction.probabilities) for window in after.windows] == [2, 3]


def test_the_default_model_answers_a_window_well_within_its_hop():
    session = handlers.load_examples(Session(), models=packaged())
    latencies = [window.latency for window in played(VOICE[: 16_000 * 5], session=session)[-1].windows]
    assert float(np.median(latencies)) < HOP_SECONDS


def test_windows_that_hold_a_voice_and_do_not_overlap_are_added_to_it_and_a_new_person_begins_with_new_sound():
    session, stream, voice = handlers.load_examples(Session(), models=packaged()), Stream(), SessionVoice()
    quiet, seconds = np.zeros(16_000 * 3, dtype=np.int16), []

    def play(samples, *, session=session):
        nonlocal stream, voice
        counts = []
        for start in range(0, len(samples), 8_000):
            stream, voice = live.extend(stream, session, voice, (16_000, samples[start : start + 8_000]))
            counts.append(voice.of(session).n_clips if voice.of(session) else 0)
            seconds.append(stream.windows[-1].latency if stream.windows else 0)
        return counts

    assert play(VOICE[: 16_000 * 5]) == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert [one.prediction.voice_clips for one in stream.windows] == [0, 1, 1, 1, 1, 2, 2]
    assert play(quiet)[-1] <= 3  # its beginning still holds the voice
    another = handlers.new_person(session)
    assert play(VOICE[16_000 * 5 : 16_000 * 8], session=another) == [0, 0, 0, 1, 1, 1]
    assert float(np.median(seconds)) < HOP_SECONDS
