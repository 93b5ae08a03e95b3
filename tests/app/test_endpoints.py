"""The page for programs: its endpoints through gradio's own client, several visitors at once, what is never fetched."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import numpy as np
import pytest
import safehttpx
from gradio.data_classes import FileData
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from pages import DEMO, clips, page_alone
from visitors import enrolled, models, recording

from app import endpoints, handlers, limits
from app.cards.save import save_file
from app.live import Stream
from app.page import build
from app.session import History, Session, SessionVoice
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.cli import demo

pytest_plugins = ["pages"]

VISITORS = 4
PREDICTIONS = 3
EMOTIONS = ("anger", "fear", "sadness", "boredom")
TWO = enrolled({"low": 2, "high": 2})
ANGER = str(DEMO / "anger_en-us-Annie_2.ogg")


@pytest.fixture(scope="module")
def blocks() -> gr.Blocks:
    return build(models())


def client(address: str) -> Client:
    return Client(address, verbose=False, analytics_enabled=False)


def enroll(visitor: Client, label: str, paths: list[str]) -> dict:
    return visitor.predict(label, [handle_file(path) for path in paths], api_name="/enroll")


def predict(visitor: Client, path: str) -> dict:
    return visitor.predict(handle_file(path), api_name="/predict")


def test_the_endpoints_take_and_return_plain_values(tmp_path):
    session, answer = endpoints.enroll(Session(), "low", [recording("low"), None], models=models())
    assert answer["classes"] == {"low": ["recording"]}
    assert session.enrolment.clips == {"low": ("recording",)}
    assert "No clip: record one or drop a file." in answer["notes"]
    _, predicted = endpoints.predict(TWO, SessionVoice(), recording("low", 1))
    assert predicted["label"] == "low"
    assert sum(predicted["probabilities"].values()) == pytest.approx(1, rel=1e-4)
    assert set(predicted["nearest"]) == {"name", "label", "distance"}
    assert {"unknown", "novelty", "warnings", "doubts", "seconds", "voice_clips"} < set(predicted)
    assert "does not sound like speech" in predicted["warnings"][0]
    for one in (answer, predicted):
        assert json.loads(json.dumps(one)) == one
    assert FewShotClassifier.load(endpoints.save(TWO, tmp_path)).enrolled == TWO.enrolment.clips


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda _: endpoints.enroll(TWO, "", [recording("low")], models=models()), "name of 1 to"),
        (lambda _: endpoints.enroll(TWO, "low", [None], models=models()), "No clip"),
        (lambda _: endpoints.predict(Session(), SessionVoice(), recording("low")), "at least two"),
        (lambda _: endpoints.predict(TWO, SessionVoice(), (16_000, np.zeros(16_000))), "silent"),
        (lambda _: endpoints.forget(TWO, "joy"), "not enrolled"),
        (lambda _: endpoints.forget(TWO, None), "not enrolled"),  # nothing but "" forgets everything
        (lambda folder: endpoints.save(Session(), folder), "nothing to save"),
    ],
    ids=["no-name", "no-clip", "nothing-enrolled", "silent", "unknown-label", "no-label", "nothing-to-save"],
)
def test_what_cannot_be_done_is_an_error_with_the_reason(tmp_path, call, sentence):
    with pytest.raises(gr.Error, match=sentence):
        call(tmp_path)


def test_forgetting_everything_drops_history_and_stream_and_forgetting_a_label_does_not():
    session, history, stream, voice, answer = endpoints.forget(TWO, "")
    assert (session.labels, session.past, history.recognised, stream.seconds, voice.voice) == ((), (), (), 0.0, None)
    assert answer["classes"] == {}
    session, *others, answer = endpoints.forget(TWO, "low")
    assert (list(answer["classes"]), others) == (["high"], [gr.skip()] * 3)


def test_a_program_enrols_recognises_saves_and_forgets(address, tmp_path):
    visitor = client(address)
    assert set(visitor.view_api(return_format="dict")["named_endpoints"]) == {"/enroll", "/predict", "/forget", "/save"}
    with pytest.raises(AppError, match="at least two"):
        predict(visitor, ANGER)
    words = tmp_path / "words.wav"
    words.write_text("no sound")
    with pytest.raises(AppError, match="no sound file"):
        enroll(visitor, "anger", [str(words)])
    enroll(visitor, "anger", clips("anger"))
    assert set(enroll(visitor, "fear", clips("fear"))["classes"]) == {"anger", "fear"}
    assert predict(visitor, ANGER)["label"] == "anger"
    for same_person, voice_clips in ((True, 0), (True, 1), (False, 0), (True, 2)):
        answer = visitor.predict(handle_file(ANGER), same_person, api_name="/predict")
        assert answer["voice_clips"] == voice_clips
    saved = visitor.predict(api_name="/save")
    assert FewShotClassifier.load(saved).labels == ("anger", "fear")
    assert set(visitor.predict("anger", api_name="/forget")["classes"]) == {"fear"}
    assert visitor.predict("", api_name="/forget")["classes"] == {}


def test_visitors_with_the_same_labels_never_see_each_others_clips(address):
    """Visitor i calls emotion i "one" and emotion i + 1 "other"; then predictions from all of them at once."""
    visitors = [client(address) for _ in range(VISITORS)]

    def emotion_of(number: int, label: str) -> str:
        return EMOTIONS[(number + (label == "other")) % len(EMOTIONS)]

    def enrol(number: int) -> dict:
        enroll(visitors[number], "one", clips(emotion_of(number, "one"), 2))
        return enroll(visitors[number], "other", clips(emotion_of(number, "other"), 2))["classes"]

    def ask(number: int) -> list[dict]:
        """One after the other: gradio's client drops requests of one visitor that overlap."""
        pair = clips(EMOTIONS[number], 2, sentence=2)
        return [predict(visitors[number], pair[request % 2]) for request in range(PREDICTIONS)]

    with ThreadPoolExecutor(VISITORS) as pool:
        for number, classes in enumerate(pool.map(enrol, range(VISITORS))):
            emotions = {label: {name.split("_")[0] for name in names} for label, names in classes.items()}
            assert emotions == {label: {emotion_of(number, label)} for label in ("one", "other")}
        answers = list(pool.map(ask, range(VISITORS)))
    # The same clip of the same visitor has the same answer, whoever else asked at that time.
    for number, (first, second, *rest) in enumerate(answers):
        for request, answer in enumerate([first, second, *rest]):
            assert answer["nearest"]["name"].startswith(emotion_of(number, answer["nearest"]["label"]))
            assert answer["probabilities"] == pytest.approx((first, second)[request % 2]["probabilities"], abs=1e-4)


def test_a_page_with_accounts_answers_nobody_else():
    with page_alone(auth=[("mina", "secret")]) as address:
        assert httpx.get(f"{address}gradio_api/info").status_code == 401
        with pytest.raises(Exception, match="credentials"):
            client(address)
        assert Client(address, auth=("mina", "secret"), verbose=False).view_api(return_format="dict")


def test_what_is_too_large_or_outside_the_page_or_a_video_is_refused(address, tmp_path):
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(limits.ENROLLMENT_BYTES + 1)
    with large.open("rb") as file:
        assert httpx.post(f"{address}gradio_api/upload", files={"files": file}, timeout=60).status_code == 413
    for path in ("/etc/passwd", str(Path(__file__))):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)
        body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        asked = httpx.post(f"{address}gradio_api/call/predict", json=body).json()
        with httpx.stream("GET", f"{address}gradio_api/call/predict/{asked['event_id']}", timeout=30) as events:
            assert "event: error" in "".join(events.iter_text())
    for path in ("process_recording", "process_recording/"):  # of the screen: it would be outside the page's own folder
        assert httpx.post(f"{address}gradio_api/{path}", files={"video": b"video"}).status_code == 404


def test_an_address_instead_of_a_file_is_never_fetched(address, monkeypatch):
    """Gradio would fetch it; its own check, which refuses addresses of this machine, is made to pass them."""

    async def passed(host):
        return host

    monkeypatch.setattr(safehttpx, "async_validate_url", passed)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.0)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/voice.wav"
        file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
        asked = [
            *(("POST", f"{way}/predict", {"data": [file]}) for way in ("call", "run", "api")),
            ("POST", "call/enroll", {"data": ["anger", [file]]}),
            ("POST", "call/v2/predict", {"clip": file}),
            ("POST", "queue/join", {"data": [None, file], "fn_index": 0, "session_hash": "me"}),
            *(("GET", f"{way}{url}", None) for way in ("file=", "file/", "proxy=")),
        ]
        for method, path, body in asked:
            answer = httpx.request(method, f"{address}gradio_api/{path}", json=body, timeout=30)
            assert (answer.status_code, "fetches nothing" in answer.text) == (403, True), path
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_gradio_decodes_no_sound_of_a_visitor(blocks, monkeypatch):
    """It would decode a whole upload, whatever it grows to, before any limit of the page."""
    monkeypatch.setattr("gradio.processing_utils.audio_from_file", lambda *_: pytest.fail("it was decoded"))
    players = [block for block in blocks.blocks.values() if isinstance(block, gr.Audio)]
    assert {player.elem_id for player in players} == {"record", "clip", "stream"}
    for player in players:
        assert player.preprocess(FileData(path="huge.flac")) == "huge.flac"


def test_a_saved_file_is_where_uploads_are_until_it_is_fetched_and_its_kind_can_be_loaded(
    blocks, tmp_path, monkeypatch
):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    by_name = {fn.api_name: fn for fn in blocks.fns.values()}
    states = [blocks.blocks[block._id].value.func for block in by_name["forget"].outputs[:-1]]
    assert states == [Session, History, Stream, SessionVoice]  # what an endpoint returns goes where it belongs
    saved = [Path(by_name["save"].fn(TWO)), Path(save_file(TWO)[1]["value"])]
    assert {path.parent.parent for path in saved} == {tmp_path}
    assert len(set(saved)) == 2
    assert {FewShotClassifier.load(path).labels for path in saved} == {("low", "high")}
    (load,) = (block for block in blocks.blocks.values() if isinstance(block, gr.UploadButton))
    assert load.file_types == [Path(handlers.FILE_NAME).suffix]


def test_the_command_says_where_the_page_is_and_ends_with_a_signal_and_leaves_no_upload(tmp_path):
    with demo._ended_by_signals():
        assert {signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)} == {signal.default_int_handler}
    command = [sys.executable, "-m", "ser_fewshot", "demo", "--store", str(tmp_path / "store")]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as program:
        line = program.stdout.readline()
        assert line.startswith("The page is at http://127.0.0.1:"), program.stderr.read()
        address = line.split()[4]
        assert httpx.get(address).status_code == 200
        httpx.post(f"{address}gradio_api/upload", files={"files": ("voice.ogg", Path(clips("anger")[0]).read_bytes())})
        assert list(tmp_path.glob("ser-fewshot-*/*/*.ogg"))
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=60) == 130
        warning, stopped = program.stderr.read().splitlines()
    assert "all visitors share the profiles" in warning
    assert stopped == "ser-fewshot: stopped"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
