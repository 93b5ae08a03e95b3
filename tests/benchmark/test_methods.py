"""Methods by name: every learner, learners with other settings, and what users would otherwise pick."""

from __future__ import annotations

import pytest
import torch
from ser_fewshot.benchmark.svm import PENALTY, SupportVectors
from sklearn.svm import LinearSVC
from tolerance import assert_near

from ser_fewshot import learners
from ser_fewshot.benchmark.methods import BASELINES, ENCODER, chosen, named, parsed
from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError


def test_all_is_every_learner_there_is_and_the_default_model():
    found = chosen(["all"], baselines=False)
    assert [method.name for method in found] == [*learners.names(), "default-model"]
    assert all(method.trained for method in found if method.kind == "learner" and method.name != "nearest")


def test_learners_that_are_trained_share_one_encoder():
    for method in chosen(["all"], baselines=False):
        if method.trained:
            assert method.settings["encoder"] == ENCODER


def test_a_learner_may_be_told_something_else():
    method = parsed("finetune:scope=whole,head.steps=20")
    assert method.settings == {"encoder": ENCODER, "scope": "whole", "head": {"steps": 20}}
    assert parsed("maml:first_order=true").settings["first_order"] is True


@pytest.mark.parametrize("text", ["unknown", "protonet:metric", "protonet:colour=red", "protonet:metric=chebyshev"])
def test_a_method_that_cannot_be_is_refused(text):
    with pytest.raises(SettingsError):
        parsed(text)


def test_every_method_is_found_again_by_the_name_in_its_record():
    for method in (*chosen(["all", "protonet:metric=cosine"], baselines=True), *BASELINES):
        assert named(method.name) == method


@pytest.mark.parametrize("n_way", [2, 4])
def test_the_support_vectors_are_those_of_scikit_learn(n_way):
    generator = torch.Generator().manual_seed(0)
    z, query = torch.randn(3 * n_way, 50, generator=generator), torch.randn(7, 50, generator=generator)
    y = torch.arange(3 * n_way) % n_way
    machine = LinearSVC(C=PENALTY, class_weight="balanced", max_iter=5_000, random_state=0).fit(z.numpy(), y.numpy())
    expected = torch.from_numpy(machine.decision_function(query.numpy())).float()
    margins = SupportVectors(50, EncoderSettings(name="statistics", pooled=True)).fit_head(z, y, n_way)(query)
    assert margins.shape == (7, n_way)
    assert_near(margins if n_way > 2 else margins[:, 1], expected, relative=0.001)
    assert margins.argmax(1).tolist() == machine.predict(query.numpy()).tolist()
