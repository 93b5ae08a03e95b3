"""A folder to try commands in, and a call of the program that must succeed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from cli.rooms import DEMO, TINY
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.models import ModelConfig, build_model, save_model


@pytest.fixture(scope="session")
def room(tmp_path_factory) -> Path:
    """A folder with a quick model, an enrolment, a corpus of folders, and files that are not what they should be."""
    room = tmp_path_factory.mktemp("room")
    model = build_model(ModelConfig(learner="nearest", settings={"encoder": {"name": "mean"}}))
    save_model(model, room / "model", card="a model for tests\n")
    for clip in DEMO.glob("*_1.ogg"):
        emotion, speaker, _ = clip.stem.split("_")
        (room / "mine" / emotion / speaker).mkdir(parents=True, exist_ok=True)
        shutil.copy(clip, room / "mine" / emotion / speaker)
    classifier = FewShotClassifier(model)
    classifier.enroll({name: sorted(DEMO.glob(f"{name}_en-f1_*.ogg")) for name in ("anger", "fear")})
    classifier.save(room / "enrolled.ser")
    (room / "clip.ogg").write_bytes((DEMO / "fear_en-m7_1.ogg").read_bytes())
    (room / "loose").mkdir()
    shutil.copy(room / "clip.ogg", room / "loose")
    (room / "text.wav").write_text("this is no sound\n")
    (room / "empty.wav").touch()
    (room / "header.csv").write_text("file,emotion,speaker\n")
    (room / "columns.csv").write_text("path,label\na.wav,anger\n")
    (room / "gone.csv").write_text(
        "file,emotion,speaker\n" + "".join(f"gone{i}.wav,e{i % 5},s{i}\n" for i in range(90))
    )
    (room / "garbage.ser").write_bytes(b"\x08\0\0\0\0\0\0\0{not json" + bytes(100))
    (room / "tiny.toml").write_text(TINY)
    return room


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, tmp_path_factory, monkeypatch) -> None:
    """Work in a new folder, with a cache that all tests share and no user's cache is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def ok(run):
    """Call the program, which must succeed; return stdout."""

    def call(*arguments: object) -> str:
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    return call
