"""Methods by name: every learner, learners with other settings, and baselines."""

from __future__ import annotations

import pytest

from ser_fewshot import learners
from ser_fewshot.benchmark.methods import BASELINES, ENCODER, method_named, methods_of, parse_method
from ser_fewshot.errors import SettingsError


def test_all_is_every_learner_on_one_encoder_and_the_default_model():
    found = methods_of(["all"], baselines=False)
    assert [method.name for method in found] == [*learners.names(), "default-model"]
    assert all(method.trained for method in found if method.kind == "learner" and method.name != "nearest")
    assert all(method.settings["encoder"] == ENCODER for method in found if method.trained)


def test_a_learner_may_have_other_settings():
    method = parse_method("finetune:scope=whole,head.steps=20")
    assert method.settings == {"encoder": ENCODER, "scope": "whole", "head": {"steps": 20}}
    assert parse_method("maml:first_order=true").settings["first_order"] is True
    for text in ("unknown", "protonet:metric", "protonet:colour=red", "protonet:metric=chebyshev"):
        with pytest.raises(SettingsError):
            parse_method(text)


def test_every_method_is_found_by_the_name_in_its_record():
    for method in (*methods_of(["all", "protonet:metric=cosine"], baselines=True), *BASELINES):
        assert method_named(method.name) == method
