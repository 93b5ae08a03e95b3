"""What users touch: enrol, add, forget, predict, save and load, from every kind of source and from several threads."""

from __future__ import annotations

import copy
import io
import json
import math
import pickle
import sys
import threading
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import soundfile as sf
import torch
from conftest import forked, tone
from synthetic import CALIBRATION, MUST_LEARN, small_model
from tolerance import assert_near
from views import model_of_two_views

from ser_fewshot import FewShotClassifier, Prediction
from ser_fewshot.assets import DEMO
from ser_fewshot.audio import Clip, load
from ser_fewshot.classifier import enrollment, enrollment_file, recognise
from ser_fewshot.encoders import View
from ser_fewshot.errors import (
    AdaptationError,
    AudioError,
    CheckpointError,
    DataWarning,
    EnrollmentError,
    SettingsError,
)
from ser_fewshot.evaluation.novelty import Conditions
from ser_fewshot.learners import EmbeddingLearner, Learner, names
from ser_fewshot.models import save_model

SPOKEN = ("anger", "fear", "sadness")
PITCHES = {"low": 120.0, "middle": 300.0, "high": 900.0, "shrill": 1900.0}


def sound(label: str, take: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A tone of the class's pitch, each take of another length, level and colour."""
    rng = np.random.default_rng([take, round(PITCHES[label])])
    wave = tone(0.5 + 0.05 * (take % 7), hertz=PITCHES[label] * (1 + 0.02 * (take % 5)), peak=0.2 + 0.05 * (take % 4))
    return (wave + 0.01 * rng.standard_normal(len(wave))).astype(np.float32)


def clips(label: str, *takes: int) -> list[Clip]:
    return [load((16_000, sound(label, take)), name=f"{label}-{take}") for take in takes]


def classifier(learner: str = "ridge", *labels: str, **changes: Any) -> FewShotClassifier:
    made = FewShotClassifier(small_model(learner, **changes))
    if labels:
        made.enroll({label: clips(label, 0, 1, 2) for label in labels})
    return made


def wav(path: Path, label: str, take: int) -> Path:
    sf.write(path, sound(label, take), 16_000)
    return path


def assert_close(found: Prediction, expected: Prediction, *, tolerance: float = 1e-4) -> None:
    assert found.label == expected.label
    assert found.probabilities.keys() == expected.probabilities.keys()
    assert list(found.probabilities.values()) == pytest.approx(list(expected.probabilities.values()), abs=tolerance)
    assert (found.nearest.name, found.nearest.label) == (expected.nearest.name, expected.nearest.label)
    assert found.nearest.distance == pytest.approx(expected.nearest.distance, rel=1e-4, abs=1e-4)


EVERY_LEARNER = pytest.mark.parametrize("learner", names())
BOTH_KINDS = pytest.mark.parametrize("learner", ["ridge", "maml"])  # fits a head on embeddings; adapts its encoder


@EVERY_LEARNER
def test_every_learner_recognises_each_clip_whatever_stands_beside_it(learner):
    made = classifier(learner, *PITCHES)
    assert made.labels == tuple(PITCHES)
    assert made.enrolled["low"] == ("low-0", "low-1", "low-2")
    queries = [clip for take in range(5, 12) for label in PITCHES for clip in clips(label, take)]
    queries.append(load((16_000, np.tile(sound("low", 3), 20)), name="a long one"))
    together = made.predict(queries)
    for query, answer in zip(queries[:-1], together, strict=False):
        label, _ = query.name.split("-")
        assert list(answer.probabilities) == list(PITCHES)
        assert sum(answer.probabilities.values()) == pytest.approx(1, rel=1e-4)
        assert answer.label == max(answer.probabilities, key=lambda name: answer.probabilities[name])
        assert answer.warnings == ()
        assert learner in MUST_LEARN or (answer.label, answer.nearest.label) == (label, label)
    for query, answer in [*list(zip(queries, together, strict=True))[::9], (queries[-1], together[-1])]:
        assert_close(made.predict(query), answer)
    for answer, expected in zip(made.predict(queries[::-1]), together[::-1], strict=True):
        assert_close(answer, expected)
    nearest = made.predict(clips("high", 1)[0]).nearest
    assert (nearest.name, nearest.label) == ("high-1", "high")
    assert nearest.distance == pytest.approx(0, abs=1e-4)


@EVERY_LEARNER
def test_every_learner_adds_and_forgets_as_if_all_had_been_enrolled_at_once(learner, tmp_path):
    query, made = clips("middle", 9)[0], classifier(learner)
    paths = [wav(tmp_path / f"low-{take}.wav", "low", take) for take in range(3)]
    read = [load(path, name=path.stem) for path in paths]
    made.add("low", paths)
    for path in paths:
        path.unlink()  # clips are never needed again
    for label in ("middle", "high"):
        for take in range(3):
            made.add(label, clips(label, take))
    whole = classifier(learner)
    whole.enroll({"low": read, **{label: clips(label, 0, 1, 2) for label in ("middle", "high")}})
    at_once = whole.predict(query).probabilities
    assert list(made.predict(query).probabilities.values()) == pytest.approx(list(at_once.values()), abs=2e-3)
    made, fewer = classifier(learner, "low", "middle", "high"), classifier(learner)
    made.forget(" MIDDLE")  # a class whatever the letter case, as where clips are added
    made.forget("low", clip="low-1")
    fewer.enroll({"low": clips("low", 0, 2), "high": clips("high", 0, 1, 2)})
    assert made.enrolled == fewer.enrolled
    assert_close(made.predict(query), fewer.predict(query))


@EVERY_LEARNER
def test_every_learner_is_saved_with_and_without_what_is_enrolled(learner, tmp_path):
    made = classifier(learner, "low", "high")
    queries = [clip for label in PITCHES for clip in clips(label, 5)]
    made.save(tmp_path / "mine")
    made.save_pretrained(tmp_path / "model", card="# A card\n")
    assert (tmp_path / "model" / "README.md").read_text() == "# A card\n"
    loaded, model = (
        FewShotClassifier.load(str(tmp_path / "mine")),
        FewShotClassifier.from_pretrained(tmp_path / "model"),
    )
    assert (loaded.enrolled, model.labels) == (made.enrolled, ())
    model.enroll({label: clips(label, 0, 1, 2) for label in ("low", "high")})
    assert model.predict(queries) == loaded.predict(queries) == made.predict(queries)
    loaded.add("shrill", clips("shrill", 0))
    made.add("shrill", clips("shrill", 0))
    assert loaded.predict(queries) == made.predict(queries)


@EVERY_LEARNER
def test_a_head_is_fitted_to_recording_conditions_too_and_all_that_users_see_is_of_clean_clips(learner, tmp_path):
    both, alone = (FewShotClassifier(small_model(learner), clean_only=only) for only in (False, True))
    for made in (both, alone):
        made.enroll({label: clips(label, 0, 1) for label in ("low", "high")})
        made.add("low", clips("low", 2))
        made.forget("low", clip="low-0")
    widths = {tuple(one.shape) for members in both.members.values() for one in members.deviations}
    embeds = isinstance(both.model.learner, EmbeddingLearner) and both.members["low"].clips[0].ndim == 1
    augments = embeds and not both.model.learner.must_learn
    assert widths == ({(3, *both.members["low"].clips[0].shape)} if augments else {(0, next(iter(widths))[1])})
    query = clips("low", 5)[0]
    one, other = both.predict(query), alone.predict(query)
    assert (one.probabilities != other.probabilities) == augments
    assert (both.enrolled, one.nearest) == (alone.enrolled, other.nearest)
    assert both._state.statistics.conditions.k_shot == alone._state.statistics.conditions.k_shot == 2
    both.save(tmp_path / "both")
    again = FewShotClassifier.load(tmp_path / "both")
    assert again.predict(query) == one
    assert not again.clean_only


def test_a_clip_that_was_enrolled_clean_only_and_is_enrolled_again_is_augmented_too():
    model = small_model()
    alone, whole = (FewShotClassifier(model, clean_only=only) for only in (True, False))
    for made in (alone, whole):
        made.enroll({label: clips(label, 0, 1) for label in ("low", "high")})
    both = FewShotClassifier(model, alone.members, clean_only=False)
    with pytest.warns(DataWarning, match="it counts once"):
        both.add("low", clips("low", 0, 1))
    assert [len(one) for one in both.members["low"].deviations] == [3, 3]
    assert both.enrolled == alone.enrolled
    with pytest.warns(DataWarning, match="it counts once"):
        both.add("high", clips("high", 0, 1))
    assert_close(both.predict(clips("low", 5)[0]), whole.predict(clips("low", 5)[0]))


def test_too_many_clips_are_refused_before_any_is_embedded(monkeypatch):
    made = classifier("ridge", "low", "high")  # 6 clips and 18 under conditions
    monkeypatch.setattr(enrollment, "MOST_CLIPS", 30)
    made.add("shrill", clips("shrill", 0))
    monkeypatch.setattr(recognise, "embedded", lambda *_: pytest.fail("a clip was embedded"))
    with pytest.raises(EnrollmentError, match=r"8 clips, and 24 times one .*; expected at most 30"):
        made.add("shrill", clips("shrill", 1))
    with pytest.raises(EnrollmentError, match=r"8 clips, and 24 times one .*; expected at most 30"):
        made.enroll({label: clips(label, 0, 1, 2, 3) for label in ("low", "high")})


def test_many_clips_are_embedded_some_at_a_time(monkeypatch):
    sizes: list[int] = []
    embed = recognise.analyse
    monkeypatch.setattr(
        recognise, "analyse", lambda frontend, waves: sizes.append(len(waves)) or embed(frontend, waves)
    )
    whole = classifier("ridge", *PITCHES)
    monkeypatch.setattr(recognise, "_AT_ONCE", 5)
    parts = classifier("ridge", *PITCHES)
    assert sizes == [12, 36, 5, 15, 5, 15, 2, 6]
    assert parts.enrolled == whole.enrolled
    assert_close(parts.predict(clips("low", 5)[0]), whole.predict(clips("low", 5)[0]))


def test_rounding_the_enrolled_clips_by_a_bit_moves_no_probability():
    waves = {label: [load(DEMO / f"{label}_en-{who}_1.ogg").waveform for who in ("f1", "m7")] for label in SPOKEN}
    queries = [load(DEMO / f"{label}_en-us-m1_2.ogg") for label in SPOKEN]
    found = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        made = FewShotClassifier.from_pretrained()
        bit = {label: [rng.integers(-1, 2, len(wave)) * (seed > 0) for wave in those] for label, those in waves.items()}
        made.enroll(
            {
                label: [
                    (16_000, (wave + steps / 2**15).astype(np.float32))
                    for wave, steps in zip(those, bit[label], strict=True)
                ]
                for label, those in waves.items()
            }
        )
        found.append([list(one.probabilities.values()) for one in made.predict(queries)])
    assert np.abs(np.array(found[1:]) - found[0]).max() < 0.01


@BOTH_KINDS
def test_a_calibration_flattens_probabilities_and_changes_no_label(learner):
    plain, calibrated = (classifier(learner, *PITCHES, calibration=how) for how in (None, CALIBRATION))
    queries = [clip for label in PITCHES for clip in clips(label, 5, 6)]
    temperature = CALIBRATION.temperature_at(Conditions(n_way=4, k_shot=3))
    for before, after in zip(plain.predict(queries), calibrated.predict(queries), strict=True):
        assert after.label == before.label
        assert (before.unknown, before.novelty) == (False, None)
        flat = np.array(list(before.probabilities.values())) ** (1 / temperature)
        assert list(after.probabilities.values()) == pytest.approx((flat / flat.sum()).tolist(), abs=1e-4)
        assert 0 <= after.novelty <= 1
        shares = [(1 - after.novelty) * p for p in after.probabilities.values()]
        assert list(after.shares.values()) == [*shares, after.novelty]
        assert sum(after.shares.values()) == pytest.approx(1)
        assert after.unknown == (after.answer is None) == (after.novelty > max(shares))


def test_a_clip_unlike_all_that_is_enrolled_is_unknown():
    made = classifier("ridge", "low", "middle", encoder="mean", calibration=CALIBRATION)
    known, strange = made.predict([clips("low", 5)[0], clips("shrill", 5)[0]])
    assert not known.unknown
    assert strange.unknown
    assert strange.novelty > known.novelty
    assert strange.label in ("low", "middle")
    found = json.loads(json.dumps([known.probabilities, known.nearest.distance, known.novelty, known.unknown]))
    assert found == [known.probabilities, known.nearest.distance, known.novelty, known.unknown]


def test_another_learner_on_the_same_encoder_is_not_calibrated(tmp_path):
    save_model(small_model(calibration=CALIBRATION), tmp_path / "model", card="")
    assert FewShotClassifier.from_pretrained(tmp_path / "model").model.config.calibration == CALIBRATION
    swapped = FewShotClassifier.from_pretrained(tmp_path / "model", learner="protonet")
    swapped.enroll({label: clips(label, 0, 1) for label in ("low", "high")})
    assert swapped.predict(clips("low", 4)[0]).novelty is None


def test_clips_come_as_paths_bytes_files_arrays_and_clips(tmp_path):
    path = wav(tmp_path / "a.wav", "low", 0)
    rate_and_samples = sf.read(path, dtype="float32")[::-1]
    content = path.read_bytes()
    with path.open("rb") as file:
        sources = [path, str(path), content, io.BytesIO(content), file, rate_and_samples, load(path)]
        made = classifier()
        with pytest.warns(DataWarning, match="counts once") as told:
            made.enroll({"low": sources, "high": clips("high", 0)})
    assert len(told) == len(sources) - 1  # whatever they came as, they are the same sound
    assert made.enrolled["low"] == ("a.wav",)
    for source in (path, str(path), content, io.BytesIO(content), rate_and_samples, load(path)):
        assert made.predict(source).label == "low"


@BOTH_KINDS
def test_a_recording_is_one_shot_and_one_of_two_classes_is_named(learner):
    first, copy = load((16_000, sound("low", 0)), name="first"), load((16_000, sound("low", 0)), name="copy")
    made = FewShotClassifier(small_model(learner))
    with pytest.warns(DataWarning, match="copy is the same sound as first in 'low': it counts once"):
        made.enroll({"low": [first, *clips("low", 1), copy], "high": clips("high", 0, 1)})
    with pytest.warns(DataWarning, match="copy in 'high' is the same sound as first in 'low': one label is wrong"):
        made.add("high", [copy])
    with pytest.warns(DataWarning, match="counts once"):
        made.add("low", [copy])
    assert made.enrolled == {"low": ("first", "low-1"), "high": ("high-0", "high-1", "copy")}


def test_a_label_in_other_letters_is_the_same_class():
    made = classifier("ridge", "low", "high")
    made.add(" \uff2cOW ", clips("low", 3))
    assert made.labels == ("low", "high")
    with pytest.raises(EnrollmentError, match="'low' and 'Low', which are one class"):
        made.enroll({"low": clips("low", 0), "Low": clips("low", 1), "high": clips("high", 0)})


def test_clips_of_any_rate_and_channels_come_as_arrays():
    made = classifier("ridge", "low", "high")
    assert made.predict([]) == []
    stereo = np.stack([np.repeat(sound("high", 4), 3)] * 2, axis=1)
    assert made.predict((48_000, stereo)).label == "high"
    assert made.predict((48_000, (stereo * 32_000).astype(np.int16))).label == "high"


def test_a_class_goes_with_its_last_clip_and_a_clip_that_is_not_there_is_refused():
    made = classifier("ridge", "low", "high")
    with pytest.raises(EnrollmentError, match="not enrolled"):
        made.forget("low", clip="nobody.wav")
    for label in ("none", "", None):
        with pytest.raises(EnrollmentError):
            made.forget(label)
    assert made.labels == ("low", "high")
    for name in made.enrolled["low"]:
        made.forget("low", clip=name)
    assert made.labels == ("high",)


def test_members_make_another_classifier_of_the_same_model():
    made = classifier("ridge", "low", "high")
    again = FewShotClassifier(made.model, made.members)
    query = clips("low", 9)[0]
    assert again.enrolled == made.enrolled
    assert_close(again.predict(query), made.predict(query), tolerance=0)


def test_with_fewer_than_two_classes_nothing_can_be_told_apart():
    made = classifier()
    with pytest.raises(EnrollmentError, match="0 enrolled classes"):
        made.predict(clips("low", 0)[0])
    with pytest.raises(EnrollmentError, match="0 enrolled classes"):
        made.predict([])
    made.add("low", clips("low", 0))
    with pytest.raises(EnrollmentError, match="1 enrolled class;"):
        made.predict(clips("low", 0)[0])
    made.add("high", clips("high", 0))
    assert made.predict(clips("low", 0)[0]).label == "low"
    made.forget("low")
    with pytest.raises(EnrollmentError, match="1 enrolled class;"):
        made.predict(clips("low", 0)[0])
    made.forget("high")
    assert made.labels == ()


def test_labels_are_any_line_of_text(tmp_path):
    made, own = (
        classifier("ridge", "low", "high"),
        [" awe ", "mépris", "愤怒", "[red]awe[/red]", "<script>", "../../awe"],
    )
    for take, label in enumerate(own):
        made.add(label, clips("middle", take))
    made.save(tmp_path / "file")
    loaded = FewShotClassifier.load(tmp_path / "file")
    assert loaded.labels == ("low", "high", *(label.strip() for label in own))
    assert loaded.predict(clips("middle", 0)[0]).nearest.label == "awe"
    for label in own:
        loaded.forget(label)
    assert loaded.labels == ("low", "high")


def bad_enrolments() -> dict[str, Any]:
    low, high = clips("low", 0), clips("high", 0)
    silence = (16_000, np.zeros(16_000, dtype=np.float32))
    return {
        "nothing": {},
        "no mapping": [("low", low), ("high", high)],
        "one class": {"low": low},
        "a class without clips": {"low": low, "high": []},
        "an empty generator": {"low": low, "high": iter(())},
        "a single path": {"low": low, "high": "high.wav"},
        "a single array": {"low": low, "high": (16_000, sound("high", 0))},
        "a single clip": {"low": low, "high": high[0]},
        "an empty label": {"low": low, " ": high},
        "a number for a label": {"low": low, 3: high},
        "a label of two lines": {"low": low, "a\nb": high},
        "a label twice but for space": {"low": low, "low ": high},
        "a label twice but for accents": {"é": low, "e\N{COMBINING ACUTE ACCENT}": high},
        "a silent clip": {"low": low, "high": [*high, silence]},
        "a missing file": {"low": low, "high": ["/no/such/file.wav"]},
        "bytes that are no sound": {"low": low, "high": [b"no sound at all"]},
        "a number for a clip": {"low": low, "high": [3]},
    }


def test_after_an_error_the_former_enrolment_stands(subtests):
    made, query = classifier("ridge", "low", "high"), clips("low", 8)[0]
    before = made.predict(query)
    for kind, classes in bad_enrolments().items():
        with subtests.test(kind):
            with pytest.raises((EnrollmentError, AudioError)) as caught:
                made.enroll(classes)
            assert "\n" not in str(caught.value)
    for wrong in ([], "a.wav", ["/no/such.wav"], [b""], [(16_000, np.zeros(9000))], [(16_000, tone(0.09))], [None]):
        for label in ("low", "new"):
            with subtests.test(f"add {wrong!s:.30}"), pytest.raises((EnrollmentError, AudioError)):
                made.add(label, wrong if not wrong or isinstance(wrong, str) else [*clips("middle", 0), *wrong])
    with pytest.raises(AudioError):
        made.predict([query, b"no sound"])
    assert made.predict(query) == before
    assert made.enrolled == {label: tuple(f"{label}-{n}" for n in range(3)) for label in ("low", "high")}


def test_an_enrolment_is_saved_over_the_file_it_was_loaded_from(tmp_path):
    made, path = classifier("ridge", "low", "high"), tmp_path / "mine"
    made.save(path)
    loaded = FewShotClassifier.load(path)
    loaded.forget("high")
    loaded.save(path)
    again = FewShotClassifier.load(path)
    assert again.labels == ("low",)
    again.add("high", clips("high", 0))
    assert again.predict(clips("high", 1)[0]).label == "high"
    path.write_bytes(bytes(path.stat().st_size))  # what is in memory does not change with the file
    assert again.predict(clips("high", 1)[0]).label == "high"


def test_another_learner_takes_over_a_saved_encoder(tmp_path):
    classifier("protonet").save_pretrained(tmp_path, card="")
    made = FewShotClassifier.from_pretrained(tmp_path, learner="ridge")
    assert made.model.config.learner == "ridge"
    made.enroll({label: clips(label, 0, 1) for label in ("low", "high")})
    assert made.predict(clips("high", 5)[0]).label == "high"
    with pytest.raises(SettingsError, match="nearest"):
        FewShotClassifier.from_pretrained(tmp_path, learner="svm")


def test_naming_the_model_s_own_learner_changes_nothing(tmp_path):
    made = classifier("protonet")
    with torch.no_grad():
        made.model.learner.log_sharpness.fill_(1.5)  # type: ignore[operator, union-attr]
    made.save_pretrained(tmp_path, card="")
    plain, named = (FewShotClassifier.from_pretrained(tmp_path, learner=name) for name in (None, "protonet"))
    for one in (plain, named):
        one.enroll({label: clips(label, 0) for label in ("low", "high")})
    assert plain.predict(clips("low", 5)) == named.predict(clips("low", 5))


def test_speakers_are_told_apart_by_their_own_directions_from_then_on(tmp_path):
    model = model_of_two_views()
    save_model(model, tmp_path / "model", card="")
    made = {
        kind: FewShotClassifier.from_pretrained(tmp_path / "model", classes=kind) for kind in (None, *get_args(View))
    }
    embeddings = {kind: one.embed(clips("low", 5)) for kind, one in made.items()}
    assert np.array_equal(embeddings[None], embeddings["emotion"])
    assert not np.array_equal(embeddings["speaker"], embeddings["emotion"])
    assert made["emotion"].model.config.calibration == CALIBRATION
    made["speaker"].enroll({name: clips(name, 0, 1) for name in ("low", "high")})
    made["speaker"].save(tmp_path / "voices.ser")
    loaded = FewShotClassifier.load(tmp_path / "voices.ser")
    assert loaded.model.config.view == "speaker"
    assert np.array_equal(loaded.embed(clips("low", 5)), embeddings["speaker"])
    assert loaded.predict(clips("low", 5)) == made["speaker"].predict(clips("low", 5))
    assert loaded.predict(clips("low", 5))[0].novelty is None  # the calibration was of emotions
    swapped = FewShotClassifier.from_pretrained(tmp_path / "model", classes="speaker", learner="protonet")
    assert np.array_equal(swapped.embed(clips("low", 5)), embeddings["speaker"])


def test_asking_for_speakers_does_nothing_to_a_model_without_directions(tmp_path):
    classifier("protonet").save_pretrained(tmp_path, card="")
    plain, asked = (FewShotClassifier.from_pretrained(tmp_path, classes=kind) for kind in (None, "speaker"))
    assert np.array_equal(plain.embed(clips("low", 5)), asked.embed(clips("low", 5)))
    assert asked.model.config == plain.model.config
    with pytest.raises(SettingsError, match="found 'speakers'"):
        FewShotClassifier.from_pretrained(tmp_path, classes="speakers")  # type: ignore[arg-type]


def test_the_model_of_the_package_is_there():
    made = FewShotClassifier.from_pretrained()
    made.enroll({label: clips(label, 0, 1, 2) for label in ("low", "shrill")})
    assert sum(made.predict(clips("low", 5)[0]).probabilities.values()) == pytest.approx(1, rel=1e-4)


def test_what_is_no_model_and_no_enrolment_is_refused(tmp_path):
    (tmp_path / "file").write_text("no model")
    for path in ("none", ".", "file"):
        for read in (FewShotClassifier.from_pretrained, FewShotClassifier.load):
            with pytest.raises(CheckpointError):
                read(tmp_path / path)
    with pytest.raises(SettingsError, match="written"):
        classifier("ridge", "low", "high").save(tmp_path / "file" / "mine")


def test_a_model_that_needs_all_clips_of_a_speaker_is_refused(tmp_path):
    model = small_model(normalization="speaker")
    save_model(model, tmp_path / "model", card="")
    enrollment_file.save_enrollment(tmp_path / "mine", model, {})
    for make in (
        lambda: FewShotClassifier(model),
        lambda: FewShotClassifier.from_pretrained(tmp_path / "model"),
        lambda: FewShotClassifier.load(tmp_path / "mine"),
    ):
        with pytest.raises(EnrollmentError, match="per-speaker"):
            make()


def test_clips_are_normalised_as_the_model_was_trained():
    plain, by_clip = (classifier("nearest", normalization=how, encoder="mean") for how in ("none", "clip"))
    quiet, loud = ((16_000, factor * sound("low", 0)) for factor in (0.1, 1.0))
    assert np.abs(np.diff(plain.embed([quiet, loud]), axis=0)).max() > 1
    assert np.abs(by_clip.embed([quiet, loud])).max() < 1e-4  # the mean over a clip that was normalised is nothing


def test_embeddings_have_one_row_a_clip():
    made = classifier("protonet")
    width = made.model.learner.encoder.width
    for n in (0, 1, 3):
        found = made.embed(clips("low", *range(n)))
        assert (found.shape, found.dtype) == ((n, width), np.float32)
        assert np.isfinite(found).all()
    assert_near(found[:1], made.embed(clips("low", 0)))
    with pytest.raises(EnrollmentError, match="a single str"):
        made.embed("a.wav")


class Adapted(Learner):
    """A learner that keeps frames and adapts an encoder: here, the average frame of each class."""

    def adapt(self, support: Any, y: Any) -> Any:
        means = torch.stack([support.x[y == number][:, :5].mean((0, 1)) for number in range(int(y.max()) + 1)])
        return lambda query: -(query.x[:, :5].mean(1)[:, None] - means).square().sum(2)


def test_a_learner_that_keeps_frames_enrols_and_predicts_but_does_not_embed():
    model = small_model("nearest", encoder="mean")
    object.__setattr__(model, "learner", Adapted())
    made = FewShotClassifier(model)
    made.enroll({label: clips(label, 0, 1, 2) for label in ("low", "shrill")})
    answer = made.predict(clips("shrill", 5)[0])
    assert answer.label == answer.nearest.label == "shrill"
    assert made._state.enrolled["low"].clips[0].ndim == 2
    with pytest.raises(EnrollmentError, match="adapts its encoder"):
        made.embed(clips("low", 0))


def test_weights_that_are_finite_but_absurd_give_an_error_and_no_nan():
    for name in ("encoder.gate", "encoder.weight", "log_sharpness"):
        made = classifier()
        with torch.no_grad():
            made.model.learner.state_dict()[name].fill_(1e30)
        with pytest.raises(CheckpointError, match="not finite"):
            made.enroll({label: clips(label, 0) for label in ("low", "high")})
            made.predict(clips("low", 1)[0])


@EVERY_LEARNER
def test_an_enrolment_of_finite_but_absurd_clips_gives_an_error_or_numbers(learner, tmp_path):
    made = classifier(learner, "low", "high")
    for value in (1e19, 1e38):
        for members in made._state.enrolled.values():
            members.clips[0][::2] = value
            members.clips[1][1::3] = -value
        made.save(tmp_path / "mine")
        try:
            answer = FewShotClassifier.load(tmp_path / "mine").predict(clips("low", 1)[0])
        except (AdaptationError, CheckpointError) as error:
            assert "\n" not in str(error)
        else:
            assert all(math.isfinite(value) for value in answer.probabilities.values())


def pickled(made: FewShotClassifier) -> FewShotClassifier:
    return pickle.loads(pickle.dumps(made))


def test_a_copy_answers_the_same_and_is_of_its_own():
    made, query = classifier("protonet", "low", "high"), clips("middle", 5)[0]
    for copied in (copy.copy, copy.deepcopy, pickled):
        other = copied(made)
        assert other.predict(query) == made.predict(query)
        other.add("middle", clips("middle", 0))
        assert made.labels == ("low", "high")
        assert copied(classifier()).labels == ()


def test_a_change_adapts_once_and_a_copy_shares_what_was_adapted(monkeypatch):
    made, adapted = classifier("ridge", "low", "middle", "high"), []
    kind = type(made.model.learner)
    adapt = kind.adapt
    monkeypatch.setattr(kind, "adapt", lambda *arguments: adapted.append(1) or adapt(*arguments))
    copy.copy(made)
    assert adapted == []
    for change in (
        lambda: copy.copy(made).add("middle", clips("middle", 0)),
        lambda: copy.copy(made).forget("high"),
        lambda: copy.deepcopy(made),
        lambda: pickled(made),
        lambda: made.enroll({label: clips(label, 0) for label in PITCHES}),
    ):
        adapted.clear()
        change()
        assert len(adapted) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")
@pytest.mark.parametrize("learner", ["ridge", "finetune"])
def test_a_forked_process_recognises_enrols_and_embeds_as_its_parent_does(learner, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    made, query, more = classifier(learner, "low", "high"), clips("low", 5)[0], clips("middle", 0)

    def work() -> Any:
        changed = copy.copy(made)
        changed.add("middle", more)
        made.add("shrill", clips("shrill", *range(20)))  # more than one batch
        embedded = made.embed([query]) if learner == "ridge" else None
        return made.predict(query).label, changed.predict(more[0]).label, made.labels, embedded is None

    try:
        large = torch.ones(2_000_000).exp_()  # surely on both threads
        made.predict(query)
        with made._changing.held():  # by another thread at that moment, for all that the forked process knows
            answer = forked(work)
    finally:
        torch.set_num_threads(before)
    assert large.shape == (2_000_000,)
    assert answer == ("low", "middle", ("low", "high", "shrill"), learner != "ridge")


def test_a_classifier_that_adapts_holds_up_no_other(monkeypatch):
    slow, quick = classifier("ridge", "low", "high"), classifier("ridge", "low", "high")
    adapt, adapting, done = type(slow.model.learner).adapt, threading.Event(), threading.Event()

    def waiting(learner: Learner, *arguments: Any) -> Any:
        if learner is slow.model.learner:
            adapting.set()
            assert done.wait(60), "the other one waited"
        return adapt(learner, *arguments)

    def change_the_other() -> None:
        assert adapting.wait(60)
        quick.add("middle", clips("middle", 0))
        done.set()

    monkeypatch.setattr(type(slow.model.learner), "adapt", waiting)
    assert in_threads([lambda: slow.add("middle", clips("middle", 0)), change_the_other]) == []
    assert slow.labels == quick.labels == ("low", "high", "middle")


def in_threads(jobs: list[Any]) -> list[BaseException]:
    errors: list[BaseException] = []

    def guarded(job: Any) -> None:
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_while_one_thread_changes_the_classes_others_see_one_state_or_the_other():
    made = classifier("ridge", "low", "high")
    query = clips("middle", 5)[0]
    expected = {("low", "high"): made.predict(query)}
    made.add("middle", clips("middle", 0))
    expected["low", "high", "middle"] = made.predict(query)
    addition, seen, stop = clips("middle", 0), set(), threading.Event()

    def change() -> None:
        for _ in range(40):
            made.forget("middle")
            made.add("middle", addition)
        stop.set()

    def ask() -> None:
        while not stop.is_set():
            answer = made.predict(query)
            labels = tuple(answer.probabilities)
            seen.add(labels)
            assert_close(answer, expected[labels])

    assert in_threads([change, *[ask] * 7]) == []
    assert seen == set(expected)


def test_additions_from_several_threads_are_all_kept(monkeypatch):
    made = classifier("nearest", "low", "high")
    adapt = enrollment.Enrollment.of

    def slowly(*arguments: Any) -> enrollment.Enrollment:
        time.sleep(0.002)  # time enough for another thread to come between
        return adapt(*arguments)

    monkeypatch.setattr(enrollment.Enrollment, "of", slowly)
    new = [load((16_000, sound("middle", take)), name=f"take {take}") for take in range(24)]
    jobs = [lambda rows=rows: [made.add("middle", [new[row]]) for row in rows] for rows in np.split(np.arange(24), 8)]
    assert in_threads(jobs) == []
    assert sorted(made.enrolled["middle"]) == sorted(clip.name for clip in new)
    assert made.predict(new[0]).label == "middle"
