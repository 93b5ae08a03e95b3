"""The page for programs: four endpoints through gradio's own client, eight visitors at once, none sees another's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import pytest
import safehttpx
from gradio.data_classes import FileData
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from pages import DEMO, clips, page_alone
from visitors import enrolled, models

from app import handlers, limits
from app.page import build
from app.sections import keep
from app.session import Session, Trail
from app.streaming import Stream
from ser_fewshot.classifier import FewShotClassifier

VISITORS = 8
PREDICTIONS = 200
EMOTIONS = ("anger", "fear", "sadness", "boredom")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with page_alone() as where:
        yield where


def client(address: str) -> Client:
    return Client(address, verbose=False, analytics_enabled=False)


def enroll(visitor: Client, label: str, paths: list[str]) -> dict:
    return visitor.predict(label, [handle_file(path) for path in paths], api_name="/enroll")


def predict(visitor: Client, path: str) -> dict:
    return visitor.predict(handle_file(path), api_name="/predict")


def test_the_endpoints_are_the_four_that_are_documented(address):
    endpoints = client(address).view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/enroll", "/predict", "/forget", "/save"}


def test_a_program_enrols_recognises_saves_and_forgets(address, tmp_path):
    visitor = client(address)
    enroll(visitor, "anger", clips("anger"))
    assert set(enroll(visitor, "fear", clips("fear"))["classes"]) == {"anger", "fear"}
    answer = predict(visitor, str(DEMO / "anger_en-us-Annie_2.ogg"))
    assert answer["label"] == "anger"
    assert sum(answer["probabilities"].values()) == pytest.approx(1, rel=1e-4)
    saved = visitor.predict(api_name="/save")
    assert FewShotClassifier.load(saved).labels == ("anger", "fear")
    assert set(visitor.predict("anger", api_name="/forget")["classes"]) == {"fear"}
    assert visitor.predict("", api_name="/forget")["classes"] == {}


def test_a_request_that_cannot_be_answered_says_why(address, tmp_path):
    visitor = client(address)
    with pytest.raises(AppError, match="at least two"):
        predict(visitor, str(DEMO / "anger_en-us-Annie_2.ogg"))
    words = tmp_path / "words.wav"
    words.write_text("no sound")
    with pytest.raises(AppError, match="no sound file"):
        enroll(visitor, "anger", [str(words)])
    with pytest.raises(AppError, match="not enrolled"):
        visitor.predict("awe", api_name="/forget")
    with pytest.raises(AppError, match="nothing to save"):
        visitor.predict(api_name="/save")


def test_eight_visitors_with_the_same_names_never_see_each_others_clips(address):
    """Visitor i calls emotion i "one" and emotion i + 1 "other"; then 200 predictions from all of them at once."""
    visitors = [client(address) for _ in range(VISITORS)]

    def enrol(number: int) -> dict:
        for shift, label in enumerate(("one", "other")):
            emotion = EMOTIONS[(number + shift) % len(EMOTIONS)]
            classes = enroll(visitors[number], label, clips(emotion, 3))
        return classes["classes"]

    def ask(request: int) -> tuple[int, dict]:
        number = request % VISITORS
        return number, predict(visitors[number], clips(EMOTIONS[number % len(EMOTIONS)], 5, sentence=2)[request % 5])

    with ThreadPoolExecutor(VISITORS) as pool:
        enrolled = list(pool.map(enrol, range(VISITORS)))
        answers = list(pool.map(ask, range(PREDICTIONS)))
    for number, classes in enumerate(enrolled):
        emotions = {label: {name.split("_")[0] for name in names} for label, names in classes.items()}
        assert emotions == {
            label: {EMOTIONS[(number + shift) % len(EMOTIONS)]} for shift, label in enumerate(("one", "other"))
        }
    assert len(answers) == PREDICTIONS
    for number, answer in answers:
        mine = EMOTIONS[(number + (answer["nearest"]["label"] == "other")) % len(EMOTIONS)]
        assert answer["nearest"]["name"].startswith(mine)
    # The same clip of the same visitor has the same answer, whoever else asked at that time.
    probabilities = {}
    for request, (number, answer) in enumerate(answers):
        first = probabilities.setdefault((number, request % 5), answer["probabilities"])
        assert answer["probabilities"] == pytest.approx(first, abs=1e-4)


def test_a_page_with_accounts_answers_nobody_else():
    with page_alone(auth=[("mina", "secret")]) as address:
        assert httpx.get(f"{address}gradio_api/info").status_code == 401
        with pytest.raises(Exception, match="credentials"):
            client(address)
        assert Client(address, auth=("mina", "secret"), verbose=False).view_api(return_format="dict")


def test_an_upload_that_is_too_large_is_refused(address, tmp_path):
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(limits.ENROLLMENT_BYTES + 1)
    with large.open("rb") as file:
        answer = httpx.post(f"{address}gradio_api/upload", files={"files": file}, timeout=60)
    assert answer.status_code == 413


def test_a_file_outside_the_page_cannot_be_read_through_it(address):
    for path in ("/etc/passwd", str(Path(__file__))):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)
        body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        asked = httpx.post(f"{address}gradio_api/call/predict", json=body).json()
        with httpx.stream("GET", f"{address}gradio_api/call/predict/{asked['event_id']}", timeout=30) as events:
            assert "event: error" in "".join(events.iter_text())


def test_gradios_recorder_of_the_screen_takes_no_video(address):
    """It would write it where the page's own folder is not."""
    for path in ("process_recording", "process_recording/"):
        assert httpx.post(f"{address}gradio_api/{path}", files={"video": b"video"}).status_code == 404


def test_an_address_instead_of_a_file_is_never_fetched(address, monkeypatch):
    """Gradio would fetch it; its own check, which refuses addresses of this machine, is told to pass them."""

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


def test_forgetting_everything_drops_what_was_recognised_and_heard_and_forgetting_a_label_does_not():
    blocks = build(models())
    (forget,) = (fn for fn in blocks.fns.values() if fn.api_name == "forget")
    states = {blocks.blocks[block._id].value.func: place for place, block in enumerate(forget.outputs[:-1])}
    assert set(states) == {Session, Trail, Stream}
    gone = forget.fn(enrolled({"low": 1, "high": 1}), "")
    trail, stream = gone[states[Trail]], gone[states[Stream]]
    assert (trail.recognised, stream.heard, gone[states[Session]].labels) == ((), 0.0, ())
    fewer = forget.fn(enrolled({"low": 1, "high": 1}), "low")
    assert fewer[states[Trail]] == fewer[states[Stream]] == gr.skip()


def test_gradio_decodes_no_sound_of_a_visitor(monkeypatch):
    """It would decode a whole upload, whatever it grows to, before any limit of the page."""
    monkeypatch.setattr("gradio.processing_utils.audio_from_file", lambda *_: pytest.fail("it was decoded"))
    players = [block for block in build(models()).blocks.values() if isinstance(block, gr.Audio)]
    assert {player.elem_id for player in players} == {"record", "clip", "stream"}
    for player in players:
        assert player.preprocess(FileData(path="huge.flac")) == "huge.flac"


def test_a_saved_file_lies_where_uploads_do_and_stays_until_it_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    fns = build(models()).fns.values()
    (of_program,) = (fn.fn for fn in fns if fn.api_name == "save")
    (of_page,) = (fn.fn for fn in fns if fn.fn is keep._save)
    two = enrolled({"low": 1, "high": 1})
    saved = [Path(of_program(two)), Path(of_page(two)[1]["value"])]
    assert {path.parent.parent for path in saved} == {tmp_path}
    assert len(set(saved)) == 2
    assert {FewShotClassifier.load(path).labels for path in saved} == {("low", "high")}


def test_only_files_that_the_page_saves_are_offered_to_be_loaded():
    (load,) = (block for block in build(models()).blocks.values() if isinstance(block, gr.UploadButton))
    assert load.file_types == [Path(handlers.FILE_NAME).suffix]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_the_command_says_where_the_page_is_and_ends_with_ctrl_c_or_sigterm_and_leaves_no_upload(tmp_path, how):
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
        program.send_signal(how)
        assert program.wait(timeout=60) == 130
        warning, stopped = program.stderr.read().splitlines()
    assert "all visitors share the profiles" in warning
    assert stopped == "ser-fewshot: stopped"
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
