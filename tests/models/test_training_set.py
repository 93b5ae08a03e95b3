"""What a model was trained on: found again under other names and in other formats, and kept wherever the model goes."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import soundfile
import soxr
from conftest import tone
from record_training_set import stamp
from synthetic import small_model
from views import model_of_two_views

from ser_fewshot import corpora
from ser_fewshot.assets import DEFAULT_MODEL
from ser_fewshot.classifier.enrollment_file import load_enrollment, save_enrollment
from ser_fewshot.corpora import Utterance
from ser_fewshot.errors import CheckpointError
from ser_fewshot.models import load_model, save_model, swap_learner, take_encoder, with_view
from ser_fewshot.models.training_set import RECORD, UNKNOWN, Part, TrainingSet
from ser_fewshot.quickstart import DEMO_MANIFEST
from ser_fewshot.storage import hub
from ser_fewshot.storage.tensors import read_tensors

RATE = 16_000


def write(folder: Path, corpus: str, *, rate: int = RATE, ending: str = "wav", longer: float = 0.0) -> list[Utterance]:
    """Twelve clips of unequal length, called 01 to 12."""
    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number in range(1, 13):
        path = folder / f"{number:02}.{ending}"
        wave = tone(0.4 + 0.0317 * number + longer, hertz=100 + 10 * number)
        soundfile.write(path, soxr.resample(wave, RATE, rate), rate)
        clips.append(Utterance(f"{corpus}/{number}", path, corpus, "fear", speaker=f"s{number % 3}"))
    return clips


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory) -> list[Utterance]:
    return write(tmp_path_factory.mktemp("a"), "mine")


@pytest.fixture(scope="module")
def record(trained_on) -> TrainingSet:
    return TrainingSet.of(trained_on)


def test_the_same_clips_are_found_under_another_name_and_in_another_format(record, tmp_path):
    for rate, ending in ((RATE, "wav"), (44_100, "wav"), (RATE, "flac"), (RATE, "mp3")):
        found = record.overlap(write(tmp_path / f"{rate}{ending}", "other", rate=rate, ending=ending))
        assert (found.clips, found.same_name) == ({"mine": 12}, ())
        assert found.sentence.startswith("Trained on mine: 12 of these 12 clips were in the training set, so this")


def test_equal_lengths_tell_nothing_and_then_names_must(tmp_path):
    def renamed(folder: str, hertz: int, name: str) -> list[Utterance]:
        clips = write(tmp_path / folder, folder)
        for clip in clips:
            soundfile.write(clip.path, tone(0.5, hertz=hertz + 7 * int(clip.path.stem)), RATE)
        return [
            replace(clip, path=clip.path.rename(clip.path.with_stem(name + clip.path.stem)), id=str(number))
            for number, clip in enumerate(clips)
        ]

    for name, clips in (("take_", {}), ("SM1_F19_A0", {"a": 12})):
        record = TrainingSet.of(renamed("a", 200, name))
        assert record.overlap(renamed("b", 300, name)).clips == clips


def test_a_few_of_the_clips_are_found_by_their_bytes_whatever_they_are_called(record, trained_on, tmp_path):
    others = write(tmp_path, "other", longer=0.3)
    copy = tmp_path / "renamed.wav"
    copy.write_bytes(trained_on[3].path.read_bytes())
    found = record.overlap([*others, replace(others[0], id="x", path=copy)])
    assert (found.found, found.clips, found.n_clips) == (True, {"mine": 1}, 13)


def test_other_clips_of_the_same_file_names_are_not_found(record, tmp_path):
    found = record.overlap(write(tmp_path, "other", longer=0.3))
    assert not found.found
    assert found.sentence == "None of these 12 clips was in the training set (mine)."


def test_what_is_not_known_is_not_called_clean(tmp_path):
    clips, unlabelled = write(tmp_path, "other"), {"a": Part(clips=9), "b": Part(labelled=False)}
    for training_set, sentence in (
        (
            TrainingSet(corpora={"other": Part(clips=9)}),
            "Trained on other; which of the clips were in the training set is not recorded",
        ),
        (UNKNOWN, "What this model was trained on is not recorded"),
        (TrainingSet(), r"None of these 12 clips .*which is empty"),
        (
            TrainingSet(corpora=unlabelled, complete=False),
            r"\(a; without labels 1 others\); a part of the model was trained on what is not recorded",
        ),
    ):
        found = training_set.overlap(clips)
        assert found.found == sentence.startswith("Trained")
        assert re.search(sentence, found.as_dict()["note"])


def test_other_clips_of_a_corpus_of_the_same_name_are_told_apart_from_the_same_clips(record, tmp_path):
    found = record.overlap(write(tmp_path, "mine", longer=0.3))
    assert (found.found, found.clips, found.same_name) == (True, {}, ("mine",))
    assert "Trained on other clips of mine" in found.sentence


def test_a_model_keeps_its_record_wherever_it_goes(record, tmp_path):
    model = replace(model_of_two_views(), training_set=record)
    save_model(model, tmp_path / "model", card="")
    save_enrollment(tmp_path / "enrolled", model, {})
    kept = [
        load_model(tmp_path / "model"),
        load_enrollment(tmp_path / "enrolled")[0],
        with_view(model, "speaker"),
        swap_learner(model, "protonet"),
        take_encoder(model_of_two_views(), model),
    ]
    assert [one.training_set for one in kept] == [record] * len(kept)
    assert "model.safetensors" in hub.FILES  # which holds it: what is pushed and pulled has it


def test_a_model_that_was_trained_twice_has_both_records(record, trained_on, tmp_path):
    first = TrainingSet(corpora={"a": Part(), "mine": replace(record.corpora["mine"], labelled=False)}, complete=False)
    both = first | TrainingSet.of([*trained_on[:3], *write(tmp_path, "other")])
    assert [(name, part.clips, part.labelled) for name, part in both.corpora.items()] == [
        ("a", None, True),
        ("mine", 12, True),
        ("other", 12, True),
    ]
    assert not both.complete


def test_a_model_of_before_is_known_by_its_card_or_not_at_all(tmp_path):
    card = '---\ndatasets: ["ased", "emodb"]\n---\n'
    for text, names in ((card, ["ased", "emodb"]), ("---\ndatasets: [\n---\n", []), ("# no metadata\n", [])):
        save_model(small_model(), tmp_path, card=text)
        tensors, _ = read_tensors(tmp_path / "model.safetensors")
        (tmp_path / "model.safetensors").write_bytes(safetensors.torch.save(tensors))
        found = load_model(tmp_path).training_set
        assert (list(found.corpora), found.complete) == (names, False)
    stamp(tmp_path / "model.safetensors", TrainingSet())
    assert load_model(tmp_path).training_set == TrainingSet()


def test_a_damaged_record_is_refused(tmp_path):
    save_model(small_model(), tmp_path, card="")
    tensors, _ = read_tensors(tmp_path / "model.safetensors")
    for text in ("{", "[]", '{"corpora": {"a": {}}}', '{"corpora": {}}', '{"corpora": {"a": 1}}'):
        (tmp_path / "model.safetensors").write_bytes(safetensors.torch.save(tensors, {RECORD: text}))
        with pytest.raises(CheckpointError, match="record of the training set"):
            load_model(tmp_path)


@pytest.mark.corpus
def test_the_default_model_is_marked_on_each_of_its_corpora_and_not_on_the_demo(corpora_root):
    record = load_model(DEFAULT_MODEL).training_set
    demo = record.overlap(corpora.read_manifest(DEMO_MANIFEST).utterances)
    assert not demo.found
    for name in ("ased", "emodb", "ravdess", "urdu"):
        clips = corpora.scan(name, corpora_root / name).utterances
        renamed = [replace(clip, corpus="folder") for clip in clips[::40]]
        assert record.overlap(renamed).clips == {name: len(renamed)}
    others = ("baved", "casia", "emogator", "emospeech", "tess")
    assert record.labelled == tuple(sorted(("ased", "emodb", "ravdess", "urdu", *others)))


def test_a_record_that_does_not_list_its_clips_rules_none_out(tmp_path):
    clips, others = write(tmp_path / "a", "a"), write(tmp_path / "b", "b", longer=0.5)
    old = TrainingSet(corpora={"a": Part()}, complete=False)  # what the card of a model of version 0.1.0 says
    assert "nobody knows whether these 12 are among them" in old.overlap(others).sentence
    assert old.overlap(others).as_dict()["unrecorded"] == ["a"]
    both = old | TrainingSet.of(clips[:6])
    assert "not recorded" in both.overlap(clips[6:]).sentence
