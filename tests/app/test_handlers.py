"""What visitors do, as functions from one state to the next."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
from conftest import tone
from visitors import codes, enrolled, models, packaged, recording

from app import examples, handlers, limits
from app.clips import RECORDING
from app.session import Code, Session, Trail
from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.quickstart import DEMO_MANIFEST
from ser_fewshot.storage.tensors import read_tensors

TWO = enrolled({"low": 3, "high": 3})


def test_clips_are_enrolled_under_any_name_and_the_old_state_stays():
    before = enrolled({"low": 2})
    after = handlers.add_clips(before, "  경외 ", [recording("high")], models=models())
    assert before.labels == ("low",)
    assert after.labels == ("low", "경외")
    assert codes(after)[-1] is Code.ADDED
    assert after.notes[-1].values == {"count": 1, "label": "경외"}


def test_every_clip_of_a_session_has_a_name_of_its_own_and_its_sound():
    names = [name for members in TWO.enrolment.clips.values() for name in members]
    assert len(set(names)) == 6
    assert set(names) == set(TWO.enrolment.sounds)


def test_a_drop_of_good_and_bad_clips_enrols_the_good_and_says_why_not_the_bad():
    after = handlers.add_clips(
        Session(), "low", [recording("low"), None, (16_000, np.zeros(16_000, dtype=np.int16))], models=models()
    )
    assert after.enrolment.count == 1
    assert {Code.NO_CLIP, Code.SILENT, Code.ADDED} <= set(codes(after))


@pytest.mark.parametrize("given", [[], [None]])
def test_nothing_recorded_changes_nothing(given):
    after = handlers.add_clips(TWO, "low", given, models=models())
    assert (after.enrolment, after.past) == (TWO.enrolment, TWO.past)
    assert codes(after) == [Code.NO_CLIP]


@pytest.mark.parametrize(
    "label", ["", "  ", "a\nb", None, 3, "x" * 41, "\u200b", "joy\u202egrief", "joy\u200b", "\ue000"]
)
def test_a_label_that_is_no_name_is_refused(label):
    after = handlers.add_clips(TWO, label, [recording("low")], models=models())
    assert after.enrolment is TWO.enrolment
    assert codes(after) == [Code.BAD_LABEL]


@pytest.mark.parametrize("label", ["\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "👨\u200d👩\u200d👧"])
def test_joiners_that_a_script_is_written_with_are_part_of_a_label(label):
    assert handlers.add_clips(Session(), label, [recording("low")], models=models()).labels == (label,)


def test_a_label_with_markup_is_kept_as_the_text_it_is():
    assert handlers.add_clips(Session(), "<b>joy</b>", [recording("low")], models=models()).labels == ("<b>joy</b>",)


@pytest.mark.parametrize(("mode", "asked"), [("emotion", 1), ("speaker", 0)])
def test_a_name_that_looks_misspelt_is_kept_and_asked_about(mode, asked):
    session = handlers.change_mode(Session(), mode)
    for label, pitch in (("anger", "low"), ("agner", "high")):
        session = handlers.add_clips(session, label, [recording(pitch)], models=models())
    assert session.labels == ("anger", "agner")
    doubts = [dict(note.values) for note in session.notes if note.code is Code.MISSPELT]
    assert doubts == [{"label": "agner", "meant": "anger"}] * asked


def test_the_same_sound_is_enrolled_once():
    again = handlers.add_clips(TWO, "high", [recording("low")], models=models())
    assert again.enrolment is TWO.enrolment
    assert (Code.ALREADY_THERE, "low") in [(note.code, note.values.get("label")) for note in again.notes]
    twice = handlers.add_clips(Session(), "low", [recording("low"), recording("low")], models=models())
    assert twice.enrolment.count == 1


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


def test_a_clip_can_be_removed_and_a_label_goes_with_its_last_clip():
    one = enrolled({"high": 1}, enrolled({"low": 2}))
    first, second = one.enrolment.clips["low"]
    fewer = handlers.remove_clip(one, first)
    assert fewer.enrolment.clips["low"] == (second,)
    assert first not in fewer.enrolment.sounds
    assert handlers.remove_clip(fewer, second).labels == ("high",)
    assert codes(handlers.remove_clip(one, "nobody.wav")) == [Code.UNKNOWN_CLIP]


def test_removing_a_clip_gives_what_enrolling_the_others_gives():
    fewer = handlers.remove_clip(TWO, TWO.enrolment.clips["low"][0])
    fresh = handlers.add_clips(Session(), "low", [recording("low", 1), recording("low", 2)], models=models())
    fresh = enrolled({"high": 3}, fresh)
    query = recording("shrill")
    one, other = (handlers.recognise(state, Trail(), query).last.prediction for state in (fewer, fresh))
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_a_label_can_be_forgotten_alone_and_everything_without_a_way_back():
    after = handlers.forget(TWO, " low")
    assert after.labels == ("high",)
    assert len(after.enrolment.sounds) == 3
    assert codes(handlers.forget(TWO, "joy")) == [Code.UNKNOWN_LABEL]
    gone = handlers.forget_everything(TWO)
    assert (gone.labels, gone.past, dict(gone.enrolment.sounds)) == ((), (), {})


def test_undo_leads_back_step_by_step():
    steps = [Session()]
    for name in ("low", "high", "shrill"):
        steps.append(enrolled({name: 1}, steps[-1]))
    state = steps[-1]
    for before in steps[-2::-1]:
        state = handlers.undo(state)
        assert state.enrolment is before.enrolment
    assert codes(handlers.undo(state)) == [Code.NOTHING_TO_UNDO]


def test_undo_forgets_the_oldest_steps_before_it_fills_the_memory(monkeypatch):
    state = Session()
    for number in range(limits.UNDO_STEPS + 3):
        state = handlers.add_clips(state, "low", [recording("low", number)], models=models())
    assert len(state.past) == limits.UNDO_STEPS
    monkeypatch.setattr(limits, "SOUND_SECONDS", 1.0)
    assert len(handlers.forget(state, "low").past) == 0


def test_the_modes_begin_with_nothing_and_undo_leads_back_to_the_other():
    speakers = handlers.change_mode(TWO, "speaker")
    assert (speakers.enrolment.mode, speakers.labels) == ("speaker", ())
    assert handlers.undo(speakers).enrolment is TWO.enrolment
    assert handlers.change_mode(TWO, "emotion").enrolment is TWO.enrolment


def test_a_clip_is_recognised_with_the_nearest_one_to_play():
    trail = handlers.recognise(TWO, Trail(), recording("high", 1))
    assert trail.last.prediction.label == "high"
    assert sum(trail.last.prediction.probabilities.values()) == pytest.approx(1, rel=1e-4)
    assert trail.last.prediction.nearest.name in TWO.enrolment.sounds
    assert trail.last.seconds > 0


@pytest.mark.parametrize(
    ("session", "given", "code"),
    [
        (Session(), recording("low"), Code.TOO_FEW_LABELS),
        (enrolled({"low": 3}), recording("low"), Code.TOO_FEW_LABELS),
        (TWO, None, Code.NO_CLIP),
        (TWO, (16_000, (32767 * tone(0.05)).astype(np.int16)), Code.TOO_SHORT),
    ],
)
def test_what_cannot_be_recognised_leaves_the_trail_as_it_was(session, given, code):
    trail = handlers.recognise(TWO, Trail(), recording("low"))
    after = handlers.recognise(session, trail, given)
    assert after.recognised == trail.recognised
    assert [(note.code, note.level) for note in after.notes] == [(code, "error")]


def test_the_trail_is_as_long_as_its_limit(monkeypatch):
    monkeypatch.setattr(limits, "TRAIL", 2)
    trail = Trail()
    for number in range(3):
        trail = handlers.recognise(TWO, trail, recording("shrill", number))
    assert len(trail.recognised) == 2


@pytest.mark.parametrize("label", ["low", "awe"])
def test_a_correction_adds_the_clip_at_once_and_the_answer_follows(label):
    trail = handlers.recognise(TWO, Trail(), recording("shrill"))
    session, after = handlers.correct(TWO, trail, label, models=models())
    assert session.enrolment.count == 7
    assert after.last.corrected == label
    assert after.last.prediction.label == label
    assert len(after.recognised) == 1
    assert codes(after) == codes(session) == [Code.CORRECTED]
    assert handlers.undo(session).enrolment is TWO.enrolment


@pytest.mark.parametrize(
    ("trail", "label", "code"),
    [
        (Trail(), "low", Code.NOTHING_RECOGNISED),
        (handlers.recognise(TWO, Trail(), recording("shrill")), " ", Code.BAD_LABEL),
        (handlers.recognise(TWO, Trail(), recording("low")), "high", Code.ALREADY_THERE),
    ],
)
def test_a_correction_that_cannot_be_made_changes_nothing(trail, label, code):
    session, after = handlers.correct(TWO, trail, label, models=models())
    assert session.enrolment is TWO.enrolment
    assert after.recognised == trail.recognised
    assert codes(session) == codes(after) == [code]


@pytest.mark.parametrize("label", ["high", "fear"])
def test_a_second_correction_moves_the_clip_to_the_other_label(label):
    trail = handlers.recognise(TWO, Trail(), recording("shrill"))
    first, trail = handlers.correct(TWO, trail, "awe", models=models())
    second, after = handlers.correct(first, trail, label, models=models())
    expected, _ = handlers.correct(TWO, trail, label, models=models())
    assert second.enrolment.clips == expected.enrolment.clips
    assert second.enrolment.sounds.keys() == expected.enrolment.sounds.keys()
    assert (after.last.corrected, codes(second)) == (label, [Code.CORRECTED])
    assert handlers.undo(second).enrolment is first.enrolment


def test_a_second_correction_that_does_not_fit_leaves_the_clip_where_it_is(monkeypatch):
    trail = handlers.recognise(TWO, Trail(), recording("shrill"))
    first, trail = handlers.correct(TWO, trail, "awe", models=models())
    monkeypatch.setattr(limits, "CLIPS", 3)
    second, after = handlers.correct(first, trail, "low", models=models())
    assert second.enrolment is first.enrolment
    assert (after.last.corrected, codes(second)) == ("awe", [Code.TOO_MANY_CLIPS])
    again, _ = handlers.correct(first, trail, "awe", models=models())
    assert codes(again) == [Code.ALREADY_THERE]


def test_a_clip_that_was_corrected_and_undone_is_added_anew():
    trail = handlers.recognise(TWO, Trail(), recording("shrill"))
    first, trail = handlers.correct(TWO, trail, "awe", models=models())
    second, _ = handlers.correct(handlers.undo(first), trail, "low", models=models())
    assert {label: len(names) for label, names in second.enrolment.clips.items()} == {"low": 4, "high": 3}


@pytest.mark.parametrize("mode", ["emotion", "speaker"])
def test_the_example_set_is_there_at_once_and_recognises_voices_that_are_not_in_it(mode):
    session = handlers.load_examples(handlers.change_mode(TWO, mode), models=packaged())
    assert {len(names) for names in session.enrolment.clips.values()} == {5}
    assert {sound.notes for sound in session.enrolment.sounds.values()} == {()}
    if mode == "emotion":
        tried = [query for query in examples.queries() if query.emotion in session.labels]
        answers = [handlers.recognise(session, Trail(), query.path).last.prediction.label for query in tried]
        assert sum(one == query.emotion for one, query in zip(answers, tried, strict=True)) >= 2


def test_visitors_at_once_under_the_same_names_get_what_each_would_get_alone():
    def visit(number):
        session = Session()
        for label, name in zip(("one", "two"), names[number], strict=True):
            session = handlers.add_clips(session, label, [recording(name, number)], models=models())
        trails = [handlers.recognise(session, Trail(), recording("shrill", take)) for take in range(5)]
        return session.enrolment.clips, [trail.last.prediction.probabilities for trail in trails]

    names = [("low", "high"), ("high", "low"), ("shrill", "low"), ("low", "shrill")] * 2
    alone = [visit(number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(visit, range(8)))
    assert together == alone
    assert len({str(probabilities) for _, probabilities in alone}) == 8


def test_a_state_that_is_copied_for_a_visitor_copies_no_model():
    assert copy.deepcopy(TWO) is TWO


def test_what_is_saved_opens_in_python_and_on_the_page_and_holds_no_sound(tmp_path):
    session, path = handlers.save(TWO, tmp_path)
    classifier = FewShotClassifier.load(path)
    assert classifier.enrolled == TWO.enrolment.clips
    assert codes(session) == [Code.SAVED]
    back = handlers.load(Session(), str(path), models=models())
    assert back.enrolment.clips == TWO.enrolment.clips
    assert back.enrolment.sounds == {}
    query = recording("shrill")
    one, other = (handlers.recognise(state, Trail(), query).last.prediction for state in (TWO, back))
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    assert classifier.predict(query).label == one.label


def test_an_error_of_saving_does_not_tell_where_the_server_keeps_its_files(tmp_path):
    (tmp_path / "file").touch()
    session, path = handlers.save(TWO, tmp_path / "file" / "folder")
    assert path is None
    assert codes(session) == [Code.BAD_FILE]
    assert str(tmp_path) not in session.notes[0].values["detail"]


def test_a_recording_is_called_a_recording_whatever_its_file_is_called():
    clip = str(DEMO_MANIFEST.parent / "anger_en-f1_1.ogg")
    session = handlers.add_clips(Session(), "anger", [clip], models=packaged(), name=RECORDING)
    assert session.enrolment.clips == {"anger": ("recording",)}
    trail = handlers.recognise(TWO, Trail(), clip, name=RECORDING)
    assert trail.last.sound.clip.name == "recording"


def test_nothing_is_saved_where_nothing_is_enrolled(tmp_path):
    session, path = handlers.save(Session(), tmp_path)
    assert path is None
    assert codes(session) == [Code.NOTHING_TO_SAVE]
    assert list(tmp_path.iterdir()) == []


def test_a_session_opened_from_a_file_goes_on_and_shares_the_model(tmp_path):
    _, path = handlers.save(TWO, tmp_path)
    back = enrolled({"shrill": 2}, handlers.load(Session(), path, models=models()))
    assert back.labels == ("low", "high", "shrill")
    assert back.enrolment.classifier.model is models().empty("emotion").model
    assert handlers.remove_clip(back, back.enrolment.clips["low"][0]).enrolment.count == 7


def test_a_correction_that_was_undone_is_not_said_any_more():
    trail = handlers.recognise(TWO, Trail(), recording("low", 5))
    corrected, trail = handlers.correct(TWO, trail, "high", models=models())
    assert [one.code for one in trail.valid_notes(corrected.enrolment)] == [Code.CORRECTED]
    assert trail.valid_notes(handlers.undo(corrected).enrolment) == ()


@pytest.mark.parametrize("mode", [None, "mood", 3])
def test_a_mode_that_is_none_changes_nothing(mode):
    assert handlers.change_mode(TWO, mode).enrolment is TWO.enrolment


def test_a_file_with_values_that_no_model_makes_is_refused(tmp_path):
    saved = handlers.save(TWO, tmp_path)[1]
    tensors, metadata = read_tensors(saved)
    changed = {name: x * 1e19 if name.startswith("clip/") else x for name, x in tensors.items()}
    safetensors.torch.save_file(changed, saved, metadata=metadata)
    after = handlers.load(Session(), saved, models=models())
    assert codes(after) == [Code.BAD_FILE]


def test_examples_stay_whole_when_the_memory_for_sound_is_full_later(monkeypatch):
    models().warm_up()
    monkeypatch.setattr(limits, "ALL_SOUND_SECONDS", 0.0)
    assert codes(handlers.load_examples(Session(), models=models())) == [Code.EXAMPLES_LOADED]
