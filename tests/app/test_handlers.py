"""Handlers, as functions from one state to the next."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import tone
from visitors import codes, enrolled, models, packaged, recording

from app import examples, handlers, launch, limits
from app.clips import RECORDING
from app.notes import Code
from app.session import History, Session
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.quickstart import DEMO_MANIFEST

TWO = enrolled({"low": 3, "high": 3})


def recognised(name, number=0, *, session=TWO):
    return handlers.recognise(session, History(), recording(name, number))


def test_clips_are_enrolled_under_any_label_and_the_old_state_stays():
    before = enrolled({"low": 2})
    persian = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"  # with a joiner
    for given, label in (("  경외 ", "경외"), ("<b>joy</b>", "<b>joy</b>"), (persian, persian)):
        after = handlers.add_clips(before, given, [recording("high")], models=models())
        assert (before.labels, after.labels) == (("low",), ("low", label))
        assert (codes(after)[-1], after.notes[-1].values) == (Code.ADDED, {"count": 1, "label": label})


def test_a_label_that_is_no_name_is_refused():
    for label in ("", "  ", "a\nb", None, 3, "x" * 41, "\u200b", "joy\u202egrief", "joy\u200b", "\ue000"):
        after = handlers.add_clips(TWO, label, [recording("low")], models=models())
        assert after.enrolment is TWO.enrolment
        assert codes(after) == [Code.BAD_LABEL]


def test_the_good_clips_of_a_drop_are_enrolled_under_unique_names_with_the_reason_against_the_others():
    given = [recording("low"), None, (16_000, np.zeros(16_000, dtype=np.int16)), recording("low"), recording("low", 1)]
    after = handlers.add_clips(Session(), "low", given, models=models())
    assert after.enrolment.clips == {"low": ("recording", "recording (2)")} == {"low": tuple(after.enrolment.sounds)}
    assert {Code.NO_CLIP, Code.SILENT, Code.ALREADY_THERE, Code.ADDED} <= set(codes(after))
    again = handlers.add_clips(TWO, "high", [recording("low")], models=models())
    assert again.enrolment is TWO.enrolment
    assert (Code.ALREADY_THERE, "low") in [(note.code, note.values.get("label")) for note in again.notes]
    for nothing in ([], [None]):
        assert codes(handlers.add_clips(TWO, "low", nothing, models=models())) == [Code.NO_CLIP]


def test_recordings_and_files_are_enrolled_together_and_wait_for_a_label():
    after = handlers.add_recording_and_files(
        Session(), "low", recording("low"), [recording("low", 1), recording("low", 2)], models=models()
    )
    assert after.enrolment.count == 3
    assert codes(after).count(Code.ADDED) == 2
    waiting = handlers.add_recording_and_files(TWO, " ", recording("shrill"), [], models=models())
    assert (waiting.enrolment, codes(waiting)) == (TWO.enrolment, [Code.NAME_FIRST])
    nothing = handlers.add_recording_and_files(Session(), "low", None, [], models=models())
    assert (nothing.labels, nothing.notes) == ((), ())


@pytest.mark.filterwarnings("ignore:.*did you mean")
def test_a_label_that_looks_misspelt_is_enrolled_with_a_warning_if_it_is_an_emotion():
    for mode, warnings in (("emotion", [{"label": "agner", "meant": "anger"}]), ("speaker", [])):
        session = handlers.change_mode(Session(), mode)
        for label, pitch in (("anger", "low"), ("agner", "high")):
            session = handlers.add_clips(session, label, [recording(pitch)], models=models())
        assert session.labels == ("anger", "agner")
        assert [dict(note.values) for note in session.notes if note.code is Code.MISSPELT] == warnings


@pytest.mark.parametrize(
    ("limit", "value", "label", "kept", "code"),
    [
        ("CLIPS", 4, "low", 1, Code.TOO_MANY_CLIPS),
        ("LABELS", 2, "shrill", 0, Code.TOO_MANY_LABELS),
        ("SOUND_SECONDS", 4.3, "low", 1, Code.TOO_MUCH_SOUND),
        ("CLIPS_AT_ONCE", 1, "low", 1, Code.TOO_MANY_AT_ONCE),
    ],
)
def test_what_exceeds_a_limit_is_refused_and_the_rest_is_kept(monkeypatch, limit, value, label, kept, code):
    monkeypatch.setattr(limits, limit, value)
    given = [recording("shrill", number) for number in range(3)]
    after = handlers.add_clips(TWO, label, given, models=models())
    assert after.enrolment.count == 6 + kept
    assert codes(after).count(code) == 1


def test_removing_a_clip_gives_what_enrolling_the_others_gives_and_the_label_goes_with_the_last():
    first, second, third = TWO.enrolment.clips["low"]
    fewer = handlers.remove_clip(TWO, first)
    fresh = handlers.add_clips(Session(), "low", [recording("low", 1), recording("low", 2)], models=models())
    one, other = (recognised("shrill", session=state).last for state in (fewer, enrolled({"high": 3}, fresh)))
    assert one.prediction.probabilities == pytest.approx(other.prediction.probabilities, abs=1e-4)
    assert first not in fewer.enrolment.sounds
    assert handlers.remove_clip(handlers.remove_clip(fewer, second), third).labels == ("high",)
    assert codes(handlers.remove_clip(TWO, "nobody.wav")) == [Code.UNKNOWN_CLIP]


def test_a_label_can_be_forgotten_alone_and_everything_without_a_way_back():
    after = handlers.forget(TWO, " low")
    assert (after.labels, len(after.enrolment.sounds)) == (("high",), 3)
    assert codes(handlers.forget(TWO, "joy")) == [Code.UNKNOWN_LABEL]
    gone = handlers.forget_everything(TWO)
    assert (gone.labels, gone.past, dict(gone.enrolment.sounds)) == ((), (), {})


def test_undo_leads_back_step_by_step_as_far_as_memory_allows(monkeypatch):
    steps = [Session()]
    for name in ("low", "high", "shrill"):
        steps.append(enrolled({name: 1}, steps[-1]))
    state = steps[-1]
    for before in steps[-2::-1]:
        state = handlers.undo(state)
        assert state.enrolment is before.enrolment
    assert codes(handlers.undo(state)) == [Code.NOTHING_TO_UNDO]
    monkeypatch.setattr(limits, "UNDO_STEPS", 2)
    assert len(handlers.forget(steps[-1], "low").past) == 2
    monkeypatch.setattr(limits, "SOUND_SECONDS", 0.5)
    assert len(handlers.forget(steps[-1], "low").past) == 0


def test_a_mode_begins_with_nothing_and_undo_leads_back_to_the_other():
    speakers = handlers.change_mode(TWO, "speaker")
    assert (speakers.enrolment.mode, speakers.labels) == ("speaker", ())
    assert handlers.undo(speakers).enrolment is TWO.enrolment
    for mode in ("emotion", None, "mood", 3):
        assert handlers.change_mode(TWO, mode).enrolment is TWO.enrolment


def test_a_clip_is_recognised_with_the_nearest_one_to_play(monkeypatch):
    last = recognised("high", 1).last
    assert last.prediction.label == "high"
    assert sum(last.prediction.probabilities.values()) == pytest.approx(1, rel=1e-4)
    assert last.prediction.nearest.name in TWO.enrolment.sounds
    assert last.seconds > 0
    monkeypatch.setattr(limits, "RECOGNISED", 2)
    history = History()
    for number in range(3):
        history = handlers.recognise(TWO, history, recording("shrill", number))
    assert len(history.recognised) == 2


@pytest.mark.parametrize(
    ("session", "given", "code"),
    [
        (Session(), recording("low"), Code.TOO_FEW_LABELS),
        (enrolled({"low": 3}), recording("low"), Code.TOO_FEW_LABELS),
        (TWO, None, Code.NO_CLIP),
        (TWO, (16_000, (32767 * tone(0.05)).astype(np.int16)), Code.TOO_SHORT),
    ],
    ids=["nothing-enrolled", "one-label", "no-clip", "short"],
)
def test_what_cannot_be_recognised_leaves_the_history_as_it_was(session, given, code):
    history = recognised("low")
    after = handlers.recognise(session, history, given)
    assert after.recognised == history.recognised
    assert [(note.code, note.level) for note in after.notes] == [(code, "error")]


def test_a_correction_adds_the_clip_at_once_and_the_answer_follows():
    for label in ("low", "awe"):
        session, after = handlers.correct(TWO, recognised("shrill"), label, models=models())
        assert session.enrolment.count == 7
        assert after.last.corrected == after.last.prediction.label == label
        assert len(after.recognised) == 1
        assert codes(after) == codes(session) == [Code.CORRECTED]
        assert [one.code for one in after.valid_notes(session.enrolment)] == [Code.CORRECTED]
        undone = handlers.undo(session)
        assert undone.enrolment is TWO.enrolment
        assert after.valid_notes(undone.enrolment) == ()


@pytest.mark.parametrize(
    ("history", "label", "code"),
    [
        (History(), "low", Code.NOTHING_RECOGNISED),
        (recognised("shrill"), " ", Code.BAD_LABEL),
        (recognised("low"), "high", Code.ALREADY_THERE),
    ],
    ids=["nothing-recognised", "no-name", "enrolled-already"],
)
def test_a_correction_that_cannot_be_made_changes_nothing(history, label, code):
    session, after = handlers.correct(TWO, history, label, models=models())
    assert session.enrolment is TWO.enrolment
    assert after.recognised == history.recognised
    assert codes(session) == codes(after) == [code]


def test_a_second_correction_moves_the_clip_to_the_other_label_if_it_fits(monkeypatch):
    first, history = handlers.correct(TWO, recognised("shrill"), "awe", models=models())
    for label in ("high", "fear"):
        second, after = handlers.correct(first, history, label, models=models())
        expected, _ = handlers.correct(TWO, history, label, models=models())
        assert second.enrolment.clips == expected.enrolment.clips
        assert second.enrolment.sounds.keys() == expected.enrolment.sounds.keys()
        assert (after.last.corrected, codes(second)) == (label, [Code.CORRECTED])
        assert handlers.undo(second).enrolment is first.enrolment
    undone, _ = handlers.correct(handlers.undo(first), history, "low", models=models())
    assert {label: len(names) for label, names in undone.enrolment.clips.items()} == {"low": 4, "high": 3}
    assert codes(handlers.correct(first, history, "awe", models=models())[0]) == [Code.ALREADY_THERE]
    monkeypatch.setattr(limits, "CLIPS", 3)
    full, after = handlers.correct(first, history, "low", models=models())
    assert full.enrolment is first.enrolment
    assert (after.last.corrected, codes(full)) == ("awe", [Code.TOO_MANY_CLIPS])


def test_the_example_set_recognises_voices_that_are_not_in_it_also_when_the_memory_for_sound_is_full(monkeypatch):
    launch.warm_up(models())
    monkeypatch.setattr(limits, "ALL_SOUND_SECONDS", 0.0)
    for mode in ("speaker", "emotion"):
        session = handlers.load_examples(handlers.change_mode(Session(), mode), models=packaged())
        assert codes(session) == [Code.EXAMPLES_LOADED]
        assert {len(names) for names in session.enrolment.clips.values()} == {5}
        assert {sound.notes for sound in session.enrolment.sounds.values()} == {()}
    monkeypatch.undo()
    tried = [query for query in examples.queries() if query.emotion in session.labels]
    answers = [handlers.recognise(session, History(), query.path).last.prediction.label for query in tried]
    assert sum(one == query.emotion for one, query in zip(answers, tried, strict=True)) >= 2


def test_visitors_at_once_under_the_same_labels_get_what_each_would_get_alone():
    def visit(number):
        session = Session()
        for label, name in zip(("one", "two"), names[number], strict=True):
            session = handlers.add_clips(session, label, [recording(name, number)], models=models())
        answers = [recognised("shrill", take, session=session).last.prediction for take in range(3)]
        return session.enrolment.clips, [answer.probabilities for answer in answers]

    names = [("low", "high"), ("high", "low"), ("shrill", "low"), ("low", "shrill")]
    alone = [visit(number) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(visit, range(4))) == alone
    assert len({str(probabilities) for _, probabilities in alone}) == 4
    assert copy.deepcopy(TWO) is TWO  # no model is copied for a visitor


def test_what_is_saved_opens_in_python_and_on_the_page_which_goes_on_with_its_own_model(tmp_path):
    session, path = handlers.save(TWO, tmp_path)
    classifier = FewShotClassifier.load(path)
    assert classifier.enrolled == TWO.enrolment.clips
    assert codes(session) == [Code.SAVED]
    back = handlers.load(Session(), str(path), models=models())
    assert (back.enrolment.clips, back.enrolment.sounds) == (TWO.enrolment.clips, {})
    one, other = (recognised("shrill", session=state).last.prediction for state in (TWO, back))
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    assert classifier.predict(recording("shrill")).label == one.answer
    more = enrolled({"shrill": 2}, back)
    assert more.labels == ("low", "high", "shrill")
    assert more.enrolment.classifier.model is models().empty("emotion").model
    assert handlers.remove_clip(more, more.enrolment.clips["low"][0]).enrolment.count == 7


def test_what_cannot_be_saved_leaves_no_file_and_the_reason_names_no_folder(tmp_path):
    session, path = handlers.save(Session(), tmp_path)
    assert (path, codes(session), list(tmp_path.iterdir())) == (None, [Code.NOTHING_TO_SAVE], [])
    (tmp_path / "file").touch()
    session, path = handlers.save(TWO, tmp_path / "file" / "folder")
    assert (path, codes(session)) == (None, [Code.BAD_FILE])
    assert str(tmp_path) not in session.notes[0].values["detail"]


def test_a_recording_is_called_a_recording_whatever_its_file_is_called():
    clip = str(DEMO_MANIFEST.parent / "anger_en-f1_1.ogg")
    session = handlers.add_clips(Session(), "anger", [clip], models=packaged(), name=RECORDING)
    assert session.enrolment.clips == {"anger": ("recording",)}
    assert handlers.recognise(TWO, History(), clip, name=RECORDING).last.sound.clip.name == "recording"
