"""The recipe on EmoGator: on few speakers and emotions it runs, and says which protocol they cannot give."""

from __future__ import annotations

import json
from itertools import product

import _emogator
import _recipe
import new_emotions
import numpy as np
import soundfile
from conftest import tone


def test_the_recipe_scores_untrained_and_trained_learners_on_emotions_of_the_test_part(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_emogator, "N_CLASSES", (4, 4, 5))
    monkeypatch.setattr(_recipe, "few_speakers", lambda clips: clips)
    monkeypatch.setenv("SER_FEWSHOT_CACHE", str(tmp_path / "features"))
    monkeypatch.chdir(tmp_path)  # for what a training leaves beside its result
    folder = tmp_path / "corpora" / "emogator" / "data" / "mp3"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for who, emotion, take in product(range(1, 21), range(1, 14), range(1, 4)):
        sound = tone(0.2, hertz=100.0 + 20 * emotion) + 0.02 * rng.standard_normal(3_200)
        soundfile.write(folder / f"{who:06d}-{emotion:02d}-{take}.wav", sound.astype(np.float32), 16_000)
    new_emotions.main(
        ["--corpora", str(tmp_path / "corpora"), "--smoke", "--out", str(tmp_path), "--learners", "protonet"]
    )
    rows = json.loads((tmp_path / "new_emotions.json").read_text(encoding="utf-8"))["corpora"]["emogator"]
    learners = ("ridge, statistics", "protonet", "default model (trained on the corpus)")
    assert set(rows) == {f"{name}: {learner}" for name in _emogator.UNSEEN for learner in learners}
    assert "emotions_20_way_5_shot: " in capsys.readouterr().out
