"""Multi-task training: which tasks share the encoder, and that a new task gets the head that fine-tuning fits."""

from __future__ import annotations

import math

import pytest
import torch
from each import each
from synthetic import DIM, batch

from ser_fewshot.errors import SettingsError
from ser_fewshot.learners import build_learner
from ser_fewshot.learners.multitask import Settings

SMALL = {"name": "dense", "channels": 6, "blocks": 1, "width": 5}


@each(
    ("settings", "expected"),
    [
        ({"emotion_weight": 1.0, "speaker_weight": 0.5}, {"emotion": 1.0, "speaker": 0.5}),
        ({"emotion_weight": 1.0, "speaker_weight": 0.0}, {"emotion": 1.0}),  # a single task
        ({"emotion_weight": 0.0, "speaker_weight": 2.0}, {"speaker": 2.0}),
        ({"tasks": "corpora"}, {"corpus": 1.0}),
    ],
)
def test_the_tasks_are_those_that_were_asked_for(settings, expected):
    learner = build_learner("multitask", DIM, {"encoder": SMALL, **settings})
    assert learner.supervision == expected
    assert learner.objectives == ("classes",)


def test_a_new_task_gets_the_head_that_fine_tuning_fits():
    y = torch.tensor([0, 0, 1, 2, 2, 2])
    answers = []
    for name in ("multitask", "finetune"):
        learner = build_learner(name, DIM, {"encoder": SMALL}, seed=3)
        learner.fit_scale(batch(30, seed=99))
        with torch.no_grad():
            answers.append(learner.eval().adapt(batch(6), y)(batch(4, seed=1)))
    assert torch.equal(*answers)


@each(
    "values",
    [
        {"tasks": "emotion"},
        {"emotion_weight": -1.0},
        {"speaker_weight": math.inf},
        {"emotion_weight": 0.0, "speaker_weight": 0.0},
    ],
)
def test_settings_that_make_no_task_are_refused(values):
    with pytest.raises(SettingsError, match=r"emotion\+speaker \| corpora"):
        Settings(**values)
