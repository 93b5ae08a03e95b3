"""The voice of the visitor: what is added to it, what begins anew, and where nothing of it is shown."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from visitors import enrolled, models, packaged, recording

from app import handlers, views
from app.session import History, Session, SessionVoice
from ser_fewshot.errors import EnrollmentError
from ser_fewshot.quickstart import DEMO_MANIFEST

DEMO = DEMO_MANIFEST.parent
SPOKEN = [DEMO / f"{emotion}_en-us-m1_1.ogg" for emotion in ("anger", "fear", "sadness")]
EXAMPLES = handlers.load_examples(Session(), models=packaged())


def listened(clips=SPOKEN, *, session=EXAMPLES, voice=None):
    """Recognise clips one after the other; return their history and the voice after them."""
    history, voice = History(), voice or SessionVoice()
    for clip in clips:
        history, voice = handlers.recognise_and_listen(session, history, voice, clip)
    return history, voice


def test_each_clip_is_recognised_with_the_voice_of_earlier_ones_and_then_added():
    history, voice = listened()
    assert [one.prediction.voice_clips for one in history.recognised] == [0, 1, 2]
    classifier = EXAMPLES.enrolment.classifier
    clips = [one.sound.clip for one in history.recognised]
    alone = handlers.recognise(EXAMPLES, History(), SPOKEN[0]).last.prediction
    by_hand = classifier.predict(clips[2], voice=classifier.listen(clips[:2]))
    assert alone == history.recognised[0].prediction
    assert history.last.prediction.probabilities == pytest.approx(by_hand.probabilities, abs=1e-5)
    assert views.voice(voice, EXAMPLES, language="en") == "Getting used to this voice: 3 clips"
    assert views.voice(listened(SPOKEN[:1])[1], EXAMPLES, language="ko").endswith("1개")


def test_a_clip_that_is_refused_or_no_speech_is_not_added():
    _, voice = listened([*SPOKEN[:1], recording("low"), None])
    assert voice.of(EXAMPLES).n_clips == 1


def test_a_correction_is_recognised_with_the_voice_of_earlier_clips_and_adds_nothing():
    history, voice = listened()
    session, corrected = handlers.correct(EXAMPLES, history, "awe", models=packaged())
    assert corrected.last.prediction.voice_clips == 2
    assert voice.of(session).n_clips == 3


def test_enrolling_keeps_the_voice_and_a_new_person_mode_or_model_or_forgetting_everything_begins_anew():
    _, voice = listened()
    more = handlers.add_clips(EXAMPLES, "awe", [recording("high")], models=packaged())
    without = handlers.forget(more, "awe")
    for session in (more, without, handlers.undo(without), handlers.load_examples(more, models=packaged())):
        assert voice.of(session).n_clips == 3
    speaker = handlers.change_mode(EXAMPLES, "speaker")
    forgotten = handlers.load_examples(handlers.forget_everything(EXAMPLES), models=packaged())
    other = packaged().empty("emotion", learner="protonet")
    enrolment = replace(EXAMPLES.enrolment, classifier=type(other)(other.model, EXAMPLES.enrolment.classifier.members))
    swapped = replace(EXAMPLES, enrolment=enrolment)
    for session in (handlers.new_person(EXAMPLES), speaker, handlers.undo(speaker), forgotten, swapped):
        assert voice.of(session) is None
        assert views.voice(voice, session, language="en") == ""
    history, after = listened(SPOKEN[:2], session=swapped, voice=voice)
    assert [one.prediction.voice_clips for one in history.recognised] == [0, 1]
    assert after.of(swapped).n_clips == 2


@pytest.mark.filterwarnings("error")
def test_where_classes_are_speakers_or_the_model_has_no_statistics_of_speakers_there_is_no_voice():
    speakers = handlers.load_examples(handlers.change_mode(Session(), "speaker"), models=packaged())
    for session in (speakers, enrolled({"low": 2, "high": 2}, by=models())):
        history, voice = listened(SPOKEN[:2], session=session)
        assert [one.prediction.voice_clips for one in history.recognised] == [0, 0]
        assert (voice.of(session), voice.voice) == (None, None)


def test_recognising_and_listening_in_one_go_is_as_one_after_the_other():
    classifier = EXAMPLES.enrolment.classifier
    voice = classifier.listen(SPOKEN[:2])
    prediction, after = classifier.predict_and_listen(SPOKEN[2], voice=voice)
    assert prediction == classifier.predict(SPOKEN[2], voice=voice)
    assert after.n_clips == 3
    torch.testing.assert_close(after.mean, voice.update(SPOKEN[2:]).mean)
    _, first = classifier.predict_and_listen(SPOKEN[0])
    torch.testing.assert_close(first.mean, classifier.listen(SPOKEN[:1]).mean)
    other = packaged().empty("emotion", learner="protonet")
    with pytest.raises(EnrollmentError, match="another model"):
        other.predict_and_listen(SPOKEN[0], voice=voice)


def test_a_voice_keeps_nothing_in_memory_that_is_enrolled():
    _, voice = listened(SPOKEN[:1])
    (model,) = voice.voice.mean_of.args  # the model alone, which the page shares anyway
    assert model is packaged().empty("emotion").model
