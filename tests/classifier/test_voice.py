"""A voice from clips without labels: it helps a stranger, travels as a small file, and fits one model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from synthetic import small_model, tone

from ser_fewshot import Clip, FewShotClassifier, load
from ser_fewshot.classifier import Voice
from ser_fewshot.classifier.voice import digest_of
from ser_fewshot.errors import CheckpointError, DataWarning, EnrollmentError
from ser_fewshot.learners import SpeakerModel
from ser_fewshot.models import Model, silence

LABELS = ("low", "high")
PITCHES = {"low": 120.0, "middle": 300.0, "high": 900.0, "shrill": 1900.0}


def clips(label: str, *takes: int) -> list[Clip]:
    """Tones of the class's pitch, each of another length and level."""
    waves = [tone(0.5 + 0.05 * n, hertz=PITCHES[label] * (1 + 0.02 * n), peak=0.2 + 0.05 * n) for n in takes]
    return [load((16_000, wave), name=f"{label}-{n}") for n, wave in zip(takes, waves, strict=True)]


def knowing(model: Model, *, between: float = 1e6) -> Model:
    """A model that takes every deviation of the mean for the voice."""
    width = silence(model).x.shape[-1]
    one = torch.eye(width)
    variances = torch.stack([torch.full((width,), between), torch.ones(width)])
    return replace(model, speakers=SpeakerModel(one, between * one, one, 0.0 * one, variances))


def enrolled(learner: str = "ridge", **speakers: Any) -> FewShotClassifier:
    made = FewShotClassifier(knowing(small_model(learner)))
    made.enroll({label: clips(label, 0, 1, 2) for label in LABELS}, speakers=speakers or None)
    return made


@pytest.mark.parametrize("learner", ["ridge", "protonet", "maml"])
def test_a_voice_is_subtracted_and_counted(learner):
    made = enrolled(learner)
    strangers = [clip for label in ("middle", "shrill") for clip in clips(label, 0, 1)]
    voice = made.listen(strangers)
    plain, with_voice = made.predict(strangers), made.predict(strangers, voice=voice)
    session = made.predict(strangers, same_speaker=True)
    assert [one.voice_clips for one in (*plain, *with_voice, *session)] == [0] * 4 + [4] * 8
    assert with_voice != plain
    assert with_voice[0].probabilities != session[0].probabilities or learner == "maml"
    assert made.predict(strangers[0], voice=voice).probabilities == pytest.approx(with_voice[0].probabilities, rel=1e-4)
    assert made.predict(strangers) == plain


def test_a_voice_is_immutable_and_updating_is_listening_to_all():
    made = enrolled()
    first, more = clips("middle", 0, 1), clips("shrill", 0, 1, 2)
    voice = made.listen(first)
    longer = voice.update(more)
    assert (voice.n_clips, longer.n_clips) == (2, 5)
    assert torch.allclose(longer.mean, made.listen([*first, *more]).mean, rtol=1e-4, atol=1e-5)
    for wrong in ([], None):
        with pytest.raises(EnrollmentError):
            made.listen(wrong)


def test_a_voice_is_a_small_file_that_fits_its_model_alone(tmp_path):
    made = enrolled()
    voice = made.listen(clips("middle", 0, 1, 2))
    voice.save(tmp_path / "anna.voice")
    again = made.load_voice(tmp_path / "anna.voice")
    assert (again.n_clips, isinstance(again, Voice)) == (3, True)
    assert np.allclose(again.mean, voice.mean, rtol=2e-3, atol=1e-3)
    assert (tmp_path / "anna.voice").stat().st_size < 1_000
    made.save(tmp_path / "mine")
    assert FewShotClassifier.load(tmp_path / "mine").load_voice(tmp_path / "anna.voice").n_clips == 3
    other = FewShotClassifier(knowing(small_model("ridge", encoder="statistics")))
    other.enroll({label: clips(label, 0, 1) for label in LABELS})
    with pytest.raises(CheckpointError, match="another model"):
        other.load_voice(tmp_path / "anna.voice")
    with pytest.raises(EnrollmentError, match="another model"):
        other.predict(clips("low", 3), voice=voice)
    damaged = {"mean": {}, "clips": {"clips": "9" * 5_000}, "nan": {}, "half": {}}
    means = {"mean": torch.full_like(voice.mean, 1e30), "nan": voice.mean * float("nan"), "half": voice.mean.half()}
    for name, told in damaged.items():
        metadata = {"clips": "3", "model": voice.model, **told}
        (tmp_path / name).write_bytes(safetensors.torch.save({"mean": means.get(name, voice.mean)}, metadata))
    for path in (tmp_path / "mine", tmp_path / "none.voice", *(tmp_path / name for name in damaged)):
        with pytest.raises(CheckpointError):
            made.load_voice(path)
    with pytest.raises(EnrollmentError, match="load_voice"):
        made.predict(clips("low", 3), voice="anna.voice")  # type: ignore[call-overload]
    assert digest_of(made.model) != digest_of(
        replace(made.model, config=replace(made.model.config, normalization="clip"))
    )


def test_a_model_without_statistics_of_speakers_says_so_and_predicts_plainly():
    made = FewShotClassifier(small_model())
    made.enroll({label: clips(label, 0, 1, 2) for label in LABELS})
    query = clips("low", 5, 6)
    with pytest.warns(DataWarning, match="no statistics of speakers"):
        voice = made.listen(query)
    with pytest.warns(DataWarning, match="no statistics of speakers"):
        session = made.predict(query, same_speaker=True)
    assert made.predict(query, voice=voice) == session == made.predict(query)


def test_speakers_of_an_enrolment_are_kept_and_center_the_support(tmp_path):
    named = enrolled(low=["anna", "ben", None], high="anna")
    assert [one.speakers for one in named.members.values()] == [("anna", "ben", None), ("anna",) * 3]
    named.add("high", clips("high", 3), speakers="ben")
    named.save(tmp_path / "mine")
    loaded = FewShotClassifier.load(tmp_path / "mine")
    assert loaded.members["high"].speakers == ("anna", "anna", "anna", "ben")
    query = clips("low", 5) + clips("high", 5)
    assert loaded.predict(query) == named.predict(query) != enrolled().predict(query)
    named.forget("low", clip="low-1")
    assert named.members["low"].speakers == ("anna", None)


def test_a_speaker_is_one_whatever_the_letter_case_and_is_learned_of_a_clip_that_is_enrolled_already():
    query = clips("low", 5) + clips("high", 5)
    named = enrolled(low="anna", high="anna")
    assert enrolled(low="Anna", high="anna").predict(query) == named.predict(query)
    later = enrolled(low="anna")
    with pytest.warns(DataWarning, match="it counts once"):
        later.add("high", clips("high", 0, 1, 2), speakers="anna")
    assert later.members["high"].speakers == ("anna",) * 3
    assert later.predict(query) == named.predict(query)


@pytest.mark.parametrize(
    ("speakers", "fault"),
    [
        ({"low": ["anna"]}, "1 names for 3 clips"),
        ({"low": 3}, "a int for 3 clips"),
        ({"loud": "anna"}, "the class 'loud'"),
        ({"low": ["anna", "", None]}, "a name in one line"),
        (["anna"], "an object of type list"),
    ],
    ids=str,
)
def test_speakers_that_do_not_fit_the_clips_are_refused(speakers, fault):
    with pytest.raises(EnrollmentError, match=fault):
        FewShotClassifier(small_model()).enroll({label: clips(label, 0, 1, 2) for label in LABELS}, speakers=speakers)


def test_a_voice_and_the_same_speaker_at_once_are_refused():
    made = enrolled()
    with pytest.raises(EnrollmentError, match="one of the two"):
        made.predict(clips("low", 5), voice=made.listen(clips("low", 4)), same_speaker=True)


def test_statistics_of_speakers_are_stored_with_a_model_and_damage_is_refused(tmp_path):
    made = enrolled()
    made.save_pretrained(tmp_path / "model", card="")
    again = FewShotClassifier.from_pretrained(tmp_path / "model").model.speakers
    assert made.model.speakers is not None
    assert again is not None
    for name, value in vars(made.model.speakers).items():
        assert torch.allclose(getattr(again, name), value)
    for wrong in ({"basis": torch.ones(2, 2)}, {"between": -again.between}, {"variances": -again.variances}):
        bad = replace(made.model, speakers=replace(made.model.speakers, **wrong))
        FewShotClassifier(bad).save_pretrained(tmp_path / "bad", card="")
        with pytest.raises(CheckpointError, match="speakers"):
            FewShotClassifier.from_pretrained(tmp_path / "bad")
