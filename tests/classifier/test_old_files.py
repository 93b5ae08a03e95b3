"""Files that version 0.1.0 wrote are read, and give the probabilities that it gave.

In `tests/data`: a model of random weights, with a transformer, functionals, LDA directions and a nuisance subspace, the
same model with three enrolled classes of tones, and what version 0.1.0 predicted for three other tones.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from conftest import tone
from tolerance import assert_near

from ser_fewshot import FewShotClassifier, Prediction, read_manifest
from ser_fewshot.audio import Clip, load
from ser_fewshot.corpora import Utterance, scan
from ser_fewshot.episodes import EpisodeSampler
from ser_fewshot.episodes.frozen import load_episodes, save_episodes
from ser_fewshot.models._renamed import USUAL_TOP

DATA = Path(__file__).resolve().parents[1] / "data"
PREDICTED = json.loads((DATA / "predictions-0.1.0.json").read_text())


def tones(hertz: int, *seconds: float) -> list[Clip]:
    return [load((16_000, tone(length, hertz=hertz)), name=f"{hertz} Hz, {length} s") for length in seconds]


QUERIES = [*tones(130, 0.6), *tones(320, 0.75), *tones(1000, 0.65)]


def assert_as_then(found: list[Prediction], name: str) -> None:
    for prediction, then in zip(found, PREDICTED[name], strict=True):
        assert list(prediction.probabilities) == list(then["probabilities"])
        assert_near(list(prediction.probabilities.values()), list(then["probabilities"].values()))
        assert prediction.nearest.name == then["nearest"]
        assert (prediction.novelty is None) == (then["novelty"] is None)
        if prediction.novelty is not None:
            # The threshold of 0.6 that a calibration had became a prior: log-odds are shifted by so much.
            shift = math.log(USUAL_TOP) - math.log(0.6 / 0.4)
            odds = then["novelty"] / (1 - then["novelty"]) * math.exp(shift)
            assert prediction.novelty == pytest.approx(odds / (1 + odds), rel=1e-3)


def test_an_enrolment_file_predicts_as_it_did():
    loaded = FewShotClassifier.load(DATA / "enrolled-0.1.0.ser")
    assert loaded.enrolled["low"] == ("120 Hz, 0.5 s", "120 Hz, 0.7 s")
    assert_as_then(loaded.predict(QUERIES), "enrolled")
    loaded.add("shrill", tones(1500, 0.5))
    assert loaded.clean_only  # as all that is in the file
    assert not any(len(one) for members in loaded.members.values() for one in members.deviations)


@pytest.mark.parametrize("view", ["emotion", "speaker"])
def test_a_model_folder_predicts_as_it_did_and_after_it_was_saved_again(view, tmp_path):
    loaded = FewShotClassifier.from_pretrained(DATA / "model-0.1.0", classes=view, clean_only=True)
    loaded.enroll({"low": tones(120, 0.5, 0.7), "middle": tones(300, 0.5, 0.8), "high": tones(900, 0.6, 0.9)})
    assert_as_then(loaded.predict(QUERIES), view)
    loaded.save(tmp_path / "again.ser")
    assert FewShotClassifier.load(tmp_path / "again.ser").predict(QUERIES) == loaded.predict(QUERIES)


def test_a_manifest_and_a_frozen_list_of_episodes_are_read_and_written_as_they_were(tmp_path):
    clips = read_manifest(DATA / "clips-0.1.0.csv").utterances
    assert clips[1] == Utterance(
        "c/anger-m-1", DATA / "anger-m-1.wav", "c", "anger", "m", "deu", "female", "t1", 0.5, 1.25, "train"
    )
    assert scan("table", DATA / "clips-0.1.0.csv", check_audio=False).utterances == clips
    episodes, spec = load_episodes(DATA / "episodes-0.1.0.jsonl")
    assert episodes == EpisodeSampler(clips, spec, seed=5).draw_many(2)
    save_episodes(tmp_path / "again.jsonl", episodes, spec, seed=5)
    assert (tmp_path / "again.jsonl").read_bytes() == (DATA / "episodes-0.1.0.jsonl").read_bytes()
