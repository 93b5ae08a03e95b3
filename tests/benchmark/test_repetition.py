"""A cell that was computed again: equal to the bit on the same kind of processor, within rounding on another."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from benchmark_records import record
from ser_fewshot.benchmark.records import Record
from ser_fewshot.benchmark.repeat import TOLERANCE, beyond_rounding, differences, same_machine


def trained(loss: float) -> Record:
    return replace(record(), training={"epochs": 6, "kept_epoch": {"epoch": 3, "loss": loss}})


CELL = trained(2.0)
ROW = CELL.confusion[0]
BINS = CELL.reliability.bins


def changed(part: str, **values: Any) -> Record:
    return replace(CELL, **{part: replace(getattr(CELL, part), **values)})


def on(processor: str | None, *, threads: int = 1) -> Record:
    versions = {} if processor is None else {"processor": processor}
    return replace(CELL, origin=replace(CELL.origin, versions=versions, threads=threads))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (on("AVX2, a"), on("AVX2, a"), True),
        (on("AVX2, a"), on("AVX512, b"), False),
        (on("AVX2, a"), on("AVX2, a", threads=2), False),
        (on("AVX2, a"), on(None), False),
        (on(None), on(None), False),  # records of 0.1.0 do not tell
    ],
)
def test_cells_must_be_equal_to_the_bit_where_processor_and_threads_are_known_and_the_same(one, other, same):
    assert same_machine(one, other) == same


@pytest.mark.parametrize(
    ("other", "field", "size", "allowed"),
    [
        (changed("reliability", ece=CELL.reliability.ece + 1e-8), "reliability.ece", 1e-8, True),
        (changed("reliability", ece=CELL.reliability.ece + 2 * TOLERANCE), "reliability.ece", 2 * TOLERANCE, False),
        (changed("open_set", auroc=CELL.open_set.auroc - 1e-8), "open_set.auroc", 1e-8, True),
        (trained(2.0001), "training.kept_epoch.loss", 1e-4, True),
        (trained(2.001), "training.kept_epoch.loss", 1e-3, False),
        (changed("uar", mean=CELL.uar.mean + 1e-6), "uar.mean", 1e-6, False),
        (replace(CELL, episodes_sha256="0" * 64), "episodes_sha256", math.inf, False),
        (replace(CELL, confusion=((*ROW[:-1], ROW[-1] + 1), *CELL.confusion[1:])), "confusion.0.3", 1, False),
        (replace(CELL, open_set=None), "open_set", math.inf, False),
    ],
)
def test_what_differs_is_named_with_its_size_and_only_what_is_rounded_may(other, field, size, allowed):
    found = differences(CELL, other)
    assert found == {field: pytest.approx(size, rel=1e-3)}
    assert (beyond_rounding(found, CELL) == {}) == allowed


@pytest.mark.parametrize(("times", "allowed"), [(1000, True), (1, False)])
def test_a_clip_at_the_edge_of_a_bin_may_fall_on_either_side_of_it(times, allowed):
    first, second, *rest = (replace(part, count=times * part.count) for part in BINS)
    one = changed("reliability", bins=(first, second, *rest))
    moved = (replace(first, count=first.count - 1), replace(second, count=second.count + 1), *rest)
    found = differences(one, changed("reliability", bins=moved))
    assert found
    assert (beyond_rounding(found, one) == {}) == allowed


def test_the_words_of_notes_are_no_measure():
    assert differences(CELL, replace(CELL, notes=("other words",))) == {}
