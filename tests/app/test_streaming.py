"""The microphone: windows, hops, a timeline of 30 s, and what is said of silence."""

import numpy as np
import pytest
import soundfile
from visitors import codes, enrolled, packaged

from app import chunks, handlers, limits
from app.session import Code, Session
from app.streaming import HOP_SECONDS, TIMELINE_SECONDS, WINDOW_SECONDS, Stream, hear
from ser_fewshot import audio
from ser_fewshot.quickstart import DEMO_MANIFEST

SPEECH = [audio.load(path, trim=False).waveform for path in sorted(DEMO_MANIFEST.parent.glob("*.ogg"))[:8]]
VOICE = (np.concatenate(SPEECH) * 32767).astype(np.int16)
TWO = enrolled({"low": 2, "high": 2})


def said(samples, *, seconds=HOP_SECONDS, rate=16_000, session=TWO, stream=None):
    """Play samples to a page in chunks; return the stream after each of them."""
    step = round(seconds * rate)
    streams = [stream or Stream()]
    for start in range(0, len(samples), step):
        streams.append(hear(streams[-1], session, (rate, samples[start : start + step])))
    return streams[1:]


def test_nothing_is_said_before_a_window_is_full_and_then_after_every_hop():
    streams = said(VOICE[: 16_000 * 4])
    assert [len(stream.moments) for stream in streams] == [0, 0, 0, 1, 2, 3, 4, 5]
    assert [moment.end for moment in streams[-1].moments] == pytest.approx([2.0, 2.5, 3.0, 3.5, 4.0])


def test_a_window_is_recognised_as_the_same_clip_would_be():
    stream = said(VOICE[:32_000])[-1]
    clip = audio.load((16_000, VOICE[:32_000]))
    expected = TWO.enrolment.classifier.predict(clip).probabilities
    assert stream.moments[-1].prediction.probabilities == pytest.approx(expected, abs=1e-4)
    assert stream.moments[-1].latency > 0


@pytest.mark.parametrize("seconds", [0.1, 0.33, 1.7])
def test_chunks_of_any_length_give_windows_that_are_at_least_a_hop_apart(seconds):
    ends = [moment.end for moment in said(VOICE[: 16_000 * 8], seconds=seconds)[-1].moments]
    assert len(ends) >= 3
    assert min(np.diff(ends)) >= HOP_SECONDS - 0.06


def test_the_timeline_and_the_samples_do_not_grow():
    stream = said(np.resize(VOICE, round(16_000 * (TIMELINE_SECONDS + 5))), seconds=1.0)[-1]
    assert stream.heard == pytest.approx(TIMELINE_SECONDS + 5)
    assert stream.moments[0].end > stream.heard - TIMELINE_SECONDS - 1
    assert len(stream.moments) <= TIMELINE_SECONDS + 1
    assert len(stream.tail) == 16_000 * WINDOW_SECONDS


@pytest.mark.parametrize(
    "quiet",
    [np.zeros(40_000, dtype=np.int16), np.random.default_rng(0).integers(-900, 900, 40_000, dtype=np.int16)],
    ids=["silence", "noise"],
)
def test_where_nobody_speaks_there_is_a_moment_without_an_answer(quiet):
    moments = said(quiet)[-1].moments
    assert moments
    assert {moment.prediction for moment in moments} == {None}


@pytest.mark.parametrize(
    ("rate", "samples"),
    [
        (48_000, np.repeat(VOICE[:48_000], 3)),
        (16_000, np.stack([VOICE[:48_000]] * 2, 1)),
        (16_000, VOICE[:48_000].astype(np.int32) << 16),
        (16_000, VOICE[:48_000] / np.float32(32768)),
    ],
    ids=["48-khz", "stereo", "int32", "float"],
)
def test_microphones_differ_and_are_all_heard(rate, samples):
    assert [moment.prediction is not None for moment in said(samples, rate=rate)[-1].moments] == [True, True, True]


def test_a_microphone_that_changes_its_rate_begins_anew():
    stream = said(np.repeat(VOICE[:16_000], 3), rate=48_000, stream=said(VOICE[:48_000])[-1])[-1]
    assert (stream.rate, stream.moments) == (48_000, ())
    assert stream.heard == pytest.approx(1.0)


@pytest.mark.parametrize("format_", ["WAV", "FLAC"])
def test_chunks_that_come_as_files_are_the_same_sound(tmp_path, format_):
    arrays, stream = said(VOICE[:48_000])[-1], Stream()
    for number in range(6):
        path = tmp_path / f"{number}.{format_}"
        soundfile.write(path, VOICE[8_000 * number : 8_000 * (number + 1)], 16_000)
        stream = hear(stream, TWO, str(path))
    assert stream.heard == pytest.approx(3.0)
    for one, other in zip(stream.moments, arrays.moments, strict=True):
        assert one.prediction.probabilities == pytest.approx(other.prediction.probabilities, abs=1e-4)


def test_a_chunk_whose_header_does_not_know_its_length_is_heard(tmp_path):
    """So Chromium writes them."""
    path = tmp_path / "chunk.wav"
    soundfile.write(path, VOICE[:8_000], 16_000)
    whole = path.read_bytes()
    assert whole[36:40] == b"data"
    path.write_bytes(whole[:4] + b"\xff" * 4 + whole[8:40] + b"\xff" * 4 + whole[44:])
    assert hear(Stream(), TWO, str(path)).heard == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("rate", "samples", "code"),
    [
        (7_999, VOICE[:4_000], Code.BAD_RATE),
        (192_010, VOICE[:96_000], Code.BAD_RATE),
        (16_000, np.resize(VOICE, 16_000 * 15 + 1), Code.TOO_LONG),
    ],
)
@pytest.mark.parametrize("format_", [None, "WAV", "FLAC"])
def test_a_chunk_beyond_the_limits_is_refused_with_the_reason(tmp_path, rate, samples, code, format_):
    before, chunk = said(VOICE[:40_000])[-1], (rate, samples)
    if format_ is not None:
        chunk = tmp_path / f"chunk.{format_}"
        soundfile.write(chunk, samples, rate)
    after = hear(before, TWO, chunk)
    assert [(note.code, note.level) for note in after.notes] == [(code, "error")]
    assert (after.heard, after.moments, after.tail is before.tail) == (before.heard, before.moments, True)


def test_a_chunk_that_is_too_big_or_no_sound_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "chunk.wav"
    path.write_bytes(b"no sound")
    assert codes(hear(Stream(), TWO, str(path))) == [Code.UNREADABLE]
    monkeypatch.setattr(limits, "CLIP_BYTES", 7)
    monkeypatch.setattr(chunks, "decoder", lambda *_: pytest.fail("it was opened"))
    assert codes(hear(Stream(), TWO, str(path))) == [Code.TOO_BIG]


def test_a_long_chunk_is_cut_to_the_window_before_it_is_kept():
    stream = hear(said(VOICE[:16_000])[-1], TWO, (16_000, np.resize(VOICE, 16_000 * 12)))
    assert stream.heard == pytest.approx(13.0)
    assert len(stream.tail) == 16_000 * WINDOW_SECONDS
    assert stream.tail.base is None or len(stream.tail.base) <= 2 * len(stream.tail)


@pytest.mark.parametrize("chunk", [None, (16_000, np.zeros(0, dtype=np.int16))])
def test_an_empty_chunk_changes_nothing(chunk):
    before = said(VOICE[:40_000])[-1]
    after = hear(before, TWO, chunk)
    assert (after.heard, after.moments) == (before.heard, before.moments)


def test_with_too_little_enrolled_it_says_so():
    assert codes(hear(Stream(), Session(), (16_000, VOICE[:8_000]))) == [Code.TOO_FEW_LABELS]


def test_a_class_that_is_added_while_somebody_speaks_counts_from_the_next_window():
    stream = said(VOICE[:32_000])[-1]
    after = said(VOICE[32_000:40_000], session=enrolled({"shrill": 1}, TWO), stream=stream)[-1]
    assert [len(moment.prediction.probabilities) for moment in after.moments] == [2, 3]


def test_the_default_model_answers_a_window_well_within_its_hop():
    session = handlers.load_examples(Session(), models=packaged())
    said(VOICE[:40_000], session=session)  # imports
    latencies = [moment.latency for moment in said(VOICE[: 16_000 * 6], session=session)[-1].moments]
    assert float(np.median(latencies)) < HOP_SECONDS
