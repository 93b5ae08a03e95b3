"""A cell computed again is equal to the bit on the same kind of processor, and within rounding on another."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from ser_fewshot.benchmark.record import Record
from ser_fewshot.benchmark.reproduce import TOLERANCE, beyond_rounding, differences, same_bins, same_machine

from .records import record


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


def test_cells_of_the_same_known_processor_and_thread_count_must_be_equal_to_the_bit():
    assert same_machine(on("AVX2, a"), on("AVX2, a"))
    assert not same_machine(on("AVX2, a"), on("AVX512, b"))
    assert not same_machine(on("AVX2, a"), on("AVX2, a", threads=2))
    assert not same_machine(on(None), on(None))  # records of 0.1.0 do not name it


def test_differences_are_named_with_their_size_and_only_rounded_fields_may_differ():
    ece, confusion = CELL.reliability.ece, ((*ROW[:-1], ROW[-1] + 1), *CELL.confusion[1:])
    for other, field, size, allowed in (
        (changed("reliability", ece=ece + 1e-8), "reliability.ece", 1e-8, True),
        (changed("reliability", ece=ece + 2 * TOLERANCE), "reliability.ece", 2 * TOLERANCE, False),
        (trained(2.0001), "training.kept_epoch.loss", 1e-4, True),
        (trained(2.001), "training.kept_epoch.loss", 1e-3, False),
        (changed("uar", mean=CELL.uar.mean + 1e-6), "uar.mean", 1e-6, False),
        (replace(CELL, episodes_sha256="0" * 64), "episodes_sha256", math.inf, False),
        (replace(CELL, confusion=confusion), "confusion.0.3", 1, False),
        (replace(CELL, open_set=None), "open_set", math.inf, False),
    ):
        found = differences(CELL, other)
        assert found == {field: pytest.approx(size, rel=1e-3)}
        assert (beyond_rounding(found, CELL) == {}) == allowed, field


def test_a_clip_at_the_edge_of_a_bin_may_fall_on_either_side_of_it():
    for times, allowed in ((1000, True), (1, False)):
        first, second, *rest = (replace(part, count=times * part.count) for part in BINS)
        one = changed("reliability", bins=(first, second, *rest))
        moved = (replace(first, count=first.count - 1), replace(second, count=second.count + 1), *rest)
        found = differences(one, changed("reliability", bins=moved))
        assert found
        assert (beyond_rounding(found, one) == {}) == allowed


def test_reliability_of_another_number_of_bins_and_the_wording_of_notes_are_not_compared():
    other = changed("reliability", bins=BINS[:5], ece=0.5)
    assert same_bins(CELL, CELL)
    assert not same_bins(CELL, other)
    assert differences(CELL, replace(other, notes=("another wording",))) == {}
    assert differences(CELL, replace(other, chance=0.5)) == {"chance": 0.25}
