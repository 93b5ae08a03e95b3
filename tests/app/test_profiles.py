"""Profiles on the server: there whole or not at all, by any name, and each user's own."""

import multiprocessing
import os
import signal
import time

import gradio as gr
import pytest
from visitors import codes, enrolled, models, packaged, recording

from app import handlers, limits
from app.cards.save import profile_choices
from app.notes import Code
from app.profiles import Profiles
from app.session import History, Session
from ser_fewshot.errors import SettingsError

TWO = enrolled({"low": 2, "high": 2})
NAMES = ["mine", "내 목소리", "../../etc/passwd", "..", "a/b", "con", "NUL.txt", "<b>x</b>", "A", "a", "🎤" * 30]


@pytest.fixture
def store(tmp_path):
    return Profiles(tmp_path / "store")


def test_a_profile_survives_a_restart(tmp_path):
    Profiles(tmp_path).save(TWO, "mine")
    again = Profiles(tmp_path)
    assert again.names() == ("mine",)
    back = again.load(Session(), "mine", models=models())
    assert back.enrolment.clips == TWO.enrolment.clips
    one, other = (handlers.recognise(state, History(), recording("shrill")).last.prediction for state in (TWO, back))
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_profiles_of_any_name_stay_in_the_folder_and_apart(tmp_path, store):
    for number, name in enumerate(NAMES):
        session = handlers.add_clips(Session(), f"label {number}", [recording("low")], models=models())
        assert codes(store.save(session, name)) == [Code.PROFILE_SAVED]
    assert set(store.names()) == set(NAMES)
    for number, name in enumerate(NAMES):
        assert store.load(Session(), name, models=models()).labels == (f"label {number}",)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert all(path.parent.parent == tmp_path / "store" for path in tmp_path.rglob("*.safetensors"))


def test_a_profile_is_replaced_only_if_the_visitor_says_so_also_in_a_full_store_and_deleted(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(limits, "PROFILES", 1)
    store.save(TWO, "mine")
    fewer = handlers.forget(TWO, "low")
    after = store.save(fewer, " mine ")
    assert [(note.code, note.level, note.values["name"]) for note in after.notes] == [
        (Code.PROFILE_EXISTS, "error", "mine")
    ]
    assert store.load(Session(), "mine", models=models()).labels == ("low", "high")
    assert codes(store.save(TWO, "other")) == [Code.STORE_FULL]
    assert codes(store.save(fewer, "mine", replace=True)) == [Code.PROFILE_SAVED]
    assert store.names() == ("mine",)
    assert store.load(Session(), "mine", models=models()).labels == ("high",)
    assert codes(store.delete(TWO, "mine")) == [Code.PROFILE_DELETED]
    assert store.names() == ()
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_users_do_not_see_each_other_s_profiles(store):
    store.save(TWO, "mine", user="ada")
    assert store.names("ada") == ("mine",)
    assert store.names("../ada") == store.names("bob") == store.names() == ()
    assert codes(store.load(Session(), "mine", user="bob", models=models())) == [Code.UNKNOWN_PROFILE]
    assert codes(store.delete(Session(), "mine", user="bob")) == [Code.UNKNOWN_PROFILE]
    assert store.names("ada") == ("mine",)


def test_what_is_no_name_and_what_is_nothing_is_refused(store):
    for name in ("", " ", None, "x" * 31, "a\nb", 5):
        assert codes(store.save(TWO, name)) == [Code.BAD_PROFILE_NAME]
        assert codes(store.load(TWO, name, models=models())) == [Code.UNKNOWN_PROFILE]
        assert codes(store.delete(TWO, name)) == [Code.UNKNOWN_PROFILE]
    assert codes(store.save(Session(), "mine")) == [Code.NOTHING_TO_SAVE]
    assert store.names() == ()


def test_the_profile_that_was_just_kept_is_the_one_that_is_chosen(store):
    store.save(TWO, "another")
    kept = store.save(TWO, "mine ")
    names = store.names()
    assert profile_choices(names, kept) == gr.update(choices=["another", "mine"], value="mine")
    assert profile_choices(names, Session())["value"] == "another"
    assert profile_choices((), store.delete(TWO, "mine"))["value"] is None


def test_a_profile_that_was_damaged_changes_nothing(tmp_path, store):
    store.save(TWO, "mine")
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-50])
    after = store.load(TWO, "mine", models=models())
    assert after.enrolment is TWO.enrolment
    assert codes(after) == [Code.BAD_FILE]
    assert str(tmp_path) not in after.notes[0].values["detail"]


def test_a_folder_that_cannot_be_a_store_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SettingsError, match="--store"):
        Profiles(tmp_path / "file")


def test_what_a_killed_process_left_is_removed_but_neither_what_is_being_written_nor_files_of_others(tmp_path, store):
    store.save(TWO, "mine")
    (home,) = (tmp_path / "store").iterdir()
    old, new, others = home / ".dead.tmp", home / ".alive.tmp", (home / "not base 32!.safetensors", home / "README")
    for path in (old, new, *others):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 10_000,) * 2)
    Profiles(tmp_path / "store")
    assert not old.exists()
    assert all(path.exists() for path in (new, *others))
    assert store.names() == ("mine",)


def keep_saving(folder, session, started):
    """Save one profile and then another under the same name, for ever."""
    store = Profiles(folder)
    while True:
        for state in (session, handlers.forget(session, "low")):
            store.save(state, "mine", replace=True)
            started.set()


@pytest.mark.parametrize("pause", [0.0, 0.03, 0.07])
def test_a_profile_is_whole_after_a_kill_in_the_middle_of_a_save(tmp_path, pause):
    forking = multiprocessing.get_context("fork")  # a process that begins anew would import for seconds
    started = forking.Event()
    large = enrolled({"low": 2, "high": 2}, by=packaged())  # takes a while to write
    process = forking.Process(target=keep_saving, args=(tmp_path, large, started))
    process.start()
    assert started.wait(60)
    time.sleep(pause)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    back = Profiles(tmp_path).load(Session(), "mine", models=packaged())
    assert codes(back) == [Code.LOADED]
    assert back.labels in (("low", "high"), ("high",))
