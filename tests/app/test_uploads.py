"""The folder of uploads goes with the program: at its end, or when the next one starts."""

import multiprocessing
import os
import tempfile
import time

import pytest

from app import uploads


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def serve(started):
    with uploads.folder() as folder:
        (folder / "voice.wav").write_bytes(b"voice")
        started.set()
        time.sleep(60)


def test_a_folder_goes_with_its_program_or_if_that_was_killed_when_the_next_one_starts(temporary):
    forking = multiprocessing.get_context("fork")  # a process that begins anew would import for seconds
    started = forking.Event()
    process = forking.Process(target=serve, args=(started,))
    process.start()
    assert started.wait(60)
    (living,) = temporary.iterdir()
    with uploads.folder() as mine:
        assert {living, mine} == set(temporary.iterdir())
    process.kill()
    process.join()
    assert (living / "voice.wav").exists()
    with uploads.folder() as mine:
        (mine / "voice.wav").write_bytes(b"voice")
        assert [mine] == list(temporary.iterdir())
    assert list(temporary.iterdir()) == []


def test_folders_of_others_are_left_alone(temporary, tmp_path_factory, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / ".running").touch()
    (temporary / "ser-fewshot-link").symlink_to(elsewhere)
    (temporary / "ser-fewshot-not-locked-yet").mkdir()
    (temporary / "ser-fewshot-file").touch()
    (temporary / "other").mkdir()
    (temporary / "other" / ".running").touch()
    before = sorted(temporary.iterdir())
    with uploads.folder():
        pass
    assert sorted(temporary.iterdir()) == before
    assert (elsewhere / ".running").exists()
    (temporary / "ser-fewshot-theirs").mkdir()
    (temporary / "ser-fewshot-theirs" / ".running").touch()
    monkeypatch.setattr(os, "getuid", lambda: -1)  # another user's
    with uploads.folder():
        assert (temporary / "ser-fewshot-theirs").exists()


def test_files_that_visitors_save_are_where_uploads_are(temporary, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(temporary / "uploads"))
    one, other = uploads.subfolder(), uploads.subfolder()
    assert one != other
    assert one.parent == other.parent == temporary / "uploads"
