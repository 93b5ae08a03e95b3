"""Values out of JSON and TOML become settings only if every name, type and range is right."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest

from ser_fewshot.encoders import EncoderSettings
from ser_fewshot.errors import SettingsError
from ser_fewshot.learners import settings_of
from ser_fewshot.settings import check_types, fill


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 3
    share: float = 0.5


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    mode: Literal["a", "b"] = "a"
    fast: bool = False
    inner: Inner = field(default_factory=Inner)
    tasks: tuple[Inner, ...] = ()
    limit: int | None = None
    layer: int | Literal["all"] = "all"
    extra: dict[str, Any] = field(default_factory=dict)
    other: bytes = b""


def test_what_is_left_out_keeps_its_default():
    assert fill(Outer, {"name": "x"}, where="it") == Outer(name="x")


def test_nested_values_are_filled_in():
    values = json.loads('{"name": "x", "mode": "b", "fast": true, "inner": {"size": 4}, "tasks": [{"share": 1}, {}]}')
    expected = Outer(name="x", mode="b", fast=True, inner=Inner(size=4), tasks=(Inner(share=1.0), Inner()))
    assert fill(Outer, values, where="it") == expected


def test_a_whole_number_is_legal_where_any_number_is_and_becomes_one():
    share = fill(Inner, {"share": 1}, where="it").share
    assert (share, type(share)) == (1.0, float)


@pytest.mark.parametrize("limit", [None, 3])
def test_a_value_that_may_be_missing_may_be_missing(limit):
    assert fill(Outer, {"name": "x", "limit": limit}, where="it").limit == limit


@pytest.mark.parametrize("layer", [3, "all"])
def test_a_value_of_two_types_may_be_of_either(layer):
    assert fill(Outer, {"name": "x", "layer": layer}, where="it").layer == layer


def test_a_value_of_neither_of_two_types_is_refused_naming_both():
    with pytest.raises(SettingsError, match="a whole number of at most 9, or all"):
        fill(Outer, {"name": "x", "layer": "some"}, where="it", largest=9)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({}, "it"),
        ({"name": "x", "nmae": "y"}, "it"),
        ({"name": "x", 3: "y"}, "it"),
        (None, "it"),
        ("name", "it"),
        ([["name", "x"]], "it"),
        ({"name": 3}, "it.name"),
        ({"name": None}, "it.name"),
        ({"name": ["x"]}, "it.name"),
        ({"name": "x", "mode": "c"}, "it.mode"),
        ({"name": "x", "mode": ["a"]}, "it.mode"),
        ({"name": "x", "fast": 1}, "it.fast"),
        ({"name": "x", "fast": "yes"}, "it.fast"),
        ({"name": "x", "inner": 3}, "it.inner"),
        ({"name": "x", "inner": None}, "it.inner"),
        ({"name": "x", "inner": []}, "it.inner"),
        ({"name": "x", "inner": {"size": "3"}}, "it.inner.size"),
        ({"name": "x", "inner": {"size": 3.0}}, "it.inner.size"),
        ({"name": "x", "inner": {"size": True}}, "it.inner.size"),
        ({"name": "x", "inner": {"size": 10**30}}, "it.inner.size"),
        ({"name": "x", "inner": {"size": -(10**30)}}, "it.inner.size"),
        ({"name": "x", "inner": {"share": "0.5"}}, "it.inner.share"),
        ({"name": "x", "inner": {"share": True}}, "it.inner.share"),
        ({"name": "x", "inner": {"share": math.nan}}, "it.inner.share"),
        ({"name": "x", "inner": {"share": -math.inf}}, "it.inner.share"),
        ({"name": "x", "inner": {"share": 10**400}}, "it.inner.share"),
        ({"name": "x", "tasks": {}}, "it.tasks"),
        ({"name": "x", "tasks": "ab"}, "it.tasks"),
        ({"name": "x", "tasks": [{}, 3]}, "it.tasks[1]"),
        ({"name": "x", "tasks": [{"size": {}}]}, "it.tasks[0].size"),
        ({"name": "x", "limit": "3"}, "it.limit"),
        ({"name": "x", "layer": 10**30}, "it.layer"),
        ({"name": "x", "layer": True}, "it.layer"),
        ({"name": "x", "layer": None}, "it.layer"),
        ({"name": "x", "extra": [1]}, "it.extra"),
        ({"name": "x", "extra": {1: 2}}, "it.extra"),
    ],
    ids=lambda value: f"{value!s:.50}",
)
def test_a_value_that_does_not_fit_is_refused_by_its_place(values, where):
    with pytest.raises(SettingsError) as caught:
        fill(Outer, values, where="it")
    assert caught.value.subject == where
    assert len(str(caught.value)) < 400


def test_whole_numbers_can_be_limited_at_every_depth():
    values = {"name": "x", "tasks": [{"size": 11}]}
    assert fill(Outer, values, where="it", largest=11).tasks[0].size == 11
    with pytest.raises(SettingsError, match="at most 10"):
        fill(Outer, values, where="it", largest=10)


@pytest.mark.parametrize("wrong", [{"name": 3}, {"tasks": [3]}, {"inner": 3}, {"fast": "no"}], ids=str)
def test_what_was_built_by_hand_is_checked_too(wrong):
    check_types(Outer(name="x", tasks=(Inner(),)), where="it")
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        check_types(Outer(**{"name": "x", **wrong}), where="it")


def test_a_deeply_nested_value_is_refused_and_not_followed():
    deep: Any = "x"
    for _ in range(500):
        deep = [deep]
    with pytest.raises(SettingsError):
        fill(Outer, {"name": "x", "inner": deep}, where="it")


def test_nested_settings_that_are_told_in_part_keep_what_their_owner_has_as_default():
    encoder = settings_of("maml", {"encoder": {"width": 64}}).encoder
    assert encoder == replace(settings_of("maml", {}).encoder, width=64)
    assert encoder != EncoderSettings(width=64)
