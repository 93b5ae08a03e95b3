"""Measuring default models, from audio files to a results file, and their speed against a reference."""

from __future__ import annotations

import itertools
import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import bench_default
import measure_default
import pytest
import soundfile
import torch
from _microphones import CONDITIONS, record
from conftest import tone
from synthetic import small_model
from tolerance import assert_near
from views import model_of_two_views

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import EpisodeError, SettingsError
from ser_fewshot.evaluation import evaluate
from ser_fewshot.models import Model, ModelConfig, save_model, with_view
from ser_fewshot.models.training_set import Part, TrainingSet

SPEC = EpisodeSpec(n_way=2, k_shot=2, n_query=2)
FEW = ["telephone", "12 dB quieter"]
VOICES = [tone(0.5, hertz=180 + 10 * number) for number in range(6)]


@pytest.fixture(scope="module")
def model() -> Model:
    return small_model(encoder="statistics")


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> list[Utterance]:
    """Two emotions, low and high, by four speakers, two of either gender."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for (emotion, hertz), speaker, take in itertools.product((("fear", 900), ("sadness", 150)), range(4), range(2)):
        path = folder / f"{emotion}-{speaker}-{take}.wav"
        soundfile.write(path, tone(0.5, hertz=hertz + 5 * speaker + 2 * take), 16_000)
        gender = "female" if speaker % 2 else "male"
        found.append(Utterance(f"c/{path.stem}", path, "c", emotion, speaker=str(speaker), gender=gender))
    return found


@pytest.fixture
def cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measure_default, "CONDITIONS", {name: CONDITIONS[name] for name in FEW})


def test_a_model_is_measured_by_every_protocol_that_has_a_list(model, clips, cache, monkeypatch):
    episodes = EpisodeSampler(clips, SPEC, seed=0).draw_many(60)
    monkeypatch.setattr(measure_default, "frozen", lambda corpus: {"emotions": (episodes, SPEC)})
    result = measure_default.protocols("c", model, clips, VOICES, seed=0)
    row = result["emotions"]
    assert row["uar"]["mean"] == 1.0  # two octaves apart
    assert list(row["conditions"]) == FEW
    assert row["conditions"]["12 dB quieter"]["loss"]["mean"] < 0.5
    assert set(row["recall"]) == {"fear", "sadness"}
    assert row["gender"]["uar"]["female"]["mean"] == 1.0
    assert json.loads(json.dumps(result)) == result
    augmented = measure_default.protocols("c", model, clips, VOICES, seed=0, augmented=True)["emotions"]
    assert augmented["uar"]["mean"] > 0.9
    assert augmented["reliability"] != row["reliability"] or augmented["conditions"] != row["conditions"]


def test_speakers_are_measured_by_the_directions_of_speakers(clips, cache, monkeypatch):
    by_speaker = EpisodeSpec(n_way=2, k_shot=1, n_query=1, label="speaker", query_speaker="same")
    specs = {"emotions": SPEC, "speakers": by_speaker}
    lists = {name: (EpisodeSampler(clips, spec, seed=0).draw_many(20), spec) for name, spec in specs.items()}
    monkeypatch.setattr(measure_default, "frozen", lambda corpus: lists)
    model, found = model_of_two_views(), {}
    for view in ("emotion", "speaker"):
        found[view] = measure_default.protocols("c", with_view(model, view), clips, VOICES, seed=0)
        assert {name: row["view"] for name, row in found[view].items()} == {
            "emotions": "emotion",
            "speakers": "speaker",
        }
    for part in ("uar", "accuracy", "conditions", "gender"):
        first, second = ({name: row[part] for name, row in rows.items()} for rows in found.values())
        assert first == second
    assert found["emotion"]["emotions"]["reliability"]["episodes"] == 20
    assert found["emotion"]["speakers"]["reliability"] is None  # it was fitted to emotions
    features = measure_default.features_of(model, clips)
    for view, name in (("emotion", "emotions"), ("speaker", "speakers")):
        episodes, spec = lists[name]
        score = evaluate(with_view(model, view).learner, features, episodes, spec=spec)
        assert found["emotion"][name]["accuracy"]["mean"] == score.accuracy.mean()


def test_each_view_of_a_model_has_its_degraded_clips(clips):
    model = model_of_two_views()
    views = {view: with_view(model, view) for view in ("emotion", "speaker")}
    found = measure_default.through("telephone", views, clips[:3], VOICES, seed=0)
    for view, one in views.items():
        alone = measure_default.through("telephone", {view: one}, clips[:3], VOICES, seed=0)[view]
        assert torch.equal(torch.stack(found[view].clips), torch.stack(alone.clips))
    assert not torch.equal(found["emotion"].clips[0], found["speaker"].clips[0])


def test_degraded_clips_are_embedded_as_an_enrolment_would_hear_them(model, clips, monkeypatch):
    monkeypatch.setattr(measure_default, "CLIPS_AT_ONCE", 3)
    found = measure_default.through("telephone", {"emotion": model}, clips[:5], VOICES, seed=0)["emotion"]
    assert found.utterances == tuple(clips[:5])
    alone = measure_default.through("telephone", {"emotion": model}, clips[4:5], VOICES, seed=0)["emotion"]
    assert_near(found.clips[4], alone.clips[0])
    recorded = record(clips[4], "telephone", voices=VOICES, seed=0, trim=True)
    embedding = FewShotClassifier(model).embed([recorded])[0]
    assert_near(alone.clips[0], torch.from_numpy(embedding))


def test_missing_lists_voices_and_models_are_refused_with_the_remedy(model, clips, tmp_path):
    with pytest.raises(EpisodeError, match="freeze_episodes"):
        measure_default.protocols("nowhere", model, clips, VOICES, seed=0)
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(0.5), 16_000)
    others = [Utterance(f"o/{number}", path, "o", "fear") for number in range(measure_default.VOICES)]
    assert len(measure_default.babble_of(others)) == measure_default.VOICES
    with pytest.raises(SettingsError, match="expected at least 200"):
        measure_default.babble_of(others[1:])
    by_corpus = [Path("runs/without_a"), Path("runs/without_b")]
    assert measure_default.folders(["runs/without_{corpus}"], ["a", "b"]) == by_corpus
    assert measure_default.folders(["m", "n"], ["a", "b"]) == [Path("m"), Path("n")]
    with pytest.raises(SettingsError, match="found 2 models for 3 corpora"):
        measure_default.folders(["m", "n"], ["a", "b", "c"])


def test_a_result_says_whether_the_model_was_trained_on_the_corpus(model, clips):
    model = replace(model, training_set=TrainingSet(corpora={"ased": Part(), "emodb": Part()}))
    arguments = Namespace(
        model=["runs/m"], name="Whisper base, layer 2", seed=0, fit_scale=True, penalty=0.1, as_enrolled=False
    )
    heads = {
        corpus: measure_default.header(corpus, model, [replace(clips[0], corpus=corpus)], arguments)
        for corpus in ("emodb", "urdu")
    }
    assert measure_default.file_name("Whisper base, layer 2") == "whisper-base-layer-2"
    assert heads["emodb"]["had_heard_it"]
    assert not heads["urdu"]["had_heard_it"]
    assert heads["urdu"]["command"].endswith(
        "--corpus urdu --name 'Whisper base, layer 2' --seed 0 --fit-scale --penalty 0.1"
    )


def test_a_penalty_is_taken_by_ridge_regression_alone(model):
    given = small_model(encoder="statistics")
    measure_default.penalise(given, 0.25)
    assert given.learner.penalty == 0.25
    assert model.learner.penalty == 1.0
    with pytest.raises(SettingsError, match="found a model of the learner nearest"):
        measure_default.penalise(small_model("nearest", encoder="mean"), 0.25)


def test_two_models_race_on_the_same_clips(model):
    clips = [torch.from_numpy(tone(0.4, hertz=200 + 30 * number)) for number in range(4)]
    calls: list[Model] = []

    def embed(given, part):
        calls.append(given)
        return bench_default.together(given, part)

    other = small_model("nearest", encoder="mean")
    result = bench_default.compared({"default": model, "reference": other}, clips, embed)
    assert calls[2:] == [model, other] * bench_default.ROUNDS  # in turn, after one call each to warm up
    assert result["slowest_round"] <= result["times_as_fast"]
    assert min(result["clips_per_second"].values()) > 0
    alone, together = bench_default.one_by_one(model, clips), bench_default.together(model, clips)
    assert_near(torch.stack(alone), torch.stack(together))


def test_the_reference_is_named_by_its_front_end(model):
    settings = {"architecture": {"model_type": "whisper", "encoder_layers": 6}, "layer": 3}
    config = ModelConfig(learner="ridge", frontend="pretrained", frontend_settings=settings)
    assert bench_default.name_of(config) == "whisper, the first 3 of 6 layers"
    assert bench_default.name_of(model.config) == "logmel"


def test_loading_is_timed_in_a_new_process_and_size_is_that_of_all_files(model, tmp_path, monkeypatch):
    save_model(model, tmp_path, card="a card")
    monkeypatch.setattr(bench_default, "ROUNDS", 1)
    assert 0 < bench_default.loading(tmp_path) < 60
    (tmp_path / "folder").mkdir()
    before = bench_default.megabytes(tmp_path)
    (tmp_path / "folder" / "more.json").write_bytes(bytes(1_500_000))
    assert bench_default.megabytes(tmp_path) == pytest.approx(before + 1.5)
