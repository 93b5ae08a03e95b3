"""Compare a cell with an earlier computation of it: equal to the bit or, on another processor, within rounding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ser_fewshot.benchmark.record import Record
from ser_fewshot.compute.versions import PROCESSOR

TOLERANCE = 1e-4
"""Absolute, of shares such as ECE and AUROC and of half-widths; relative, of losses.

A clip whose confidence lies at the edge of a bin, or at a threshold, may fall on either side of it.
"""
_SUMMED = 1e-9  # of means of the same values, summed in another order
_SHARES = ("reliability.", "open_set.", "uar.ci95", "accuracy.ci95")
_LOSSES = ("training.kept_epoch.",)


def unexplained(found: Mapping[str, float], one: Record, other: Record) -> dict[str, float]:
    """Return those differences of two cells that rounding on another kind of processor does not explain."""
    return dict(found) if same_machine(one, other) else beyond_rounding(found, one)


def same_machine(one: Record, other: Record) -> bool:
    """Return whether two cells must be equal to the bit: same known kind of processor, same number of threads."""
    first, second = (
        (of.versions.get(PROCESSOR), of.threads, of.device.partition(":")[0]) for of in (one.origin, other.origin)
    )
    return first[0] is not None and first == second


def same_bins(one: Record, other: Record) -> bool:
    """Return whether the reliability of two cells can be compared: version 0.1 had another number of bins."""
    first, second = one.reliability, other.reliability
    return first is None or second is None or len(first.bins) == len(second.bins)


def differences(one: Record, other: Record) -> dict[str, float]:
    """Return which fields of two cells differ, as "reliability.ece", and by how much; infinity if not numbers.

    Bins are compared by the share of all predictions that they hold. Reliability is left out where the numbers of bins
    differ.
    """
    first, second = _values(one), _values(other)
    if not same_bins(one, other):
        del first["reliability"], second["reliability"]
    return dict(_differing(first, second, ""))


def beyond_rounding(found: Mapping[str, float], one: Record) -> dict[str, float]:
    """Return those differences that are larger than rounding; UAR, episodes and confusion must be equal anywhere."""
    values = _values(one)
    return {path: size for path, size in found.items() if not size <= _allowed(path, values)}


def _allowed(path: str, values: Mapping[str, Any]) -> float:
    if path.startswith(_SHARES):
        return TOLERANCE
    if not path.startswith(_LOSSES):
        return _SUMMED
    value: Any = values
    for name in path.split("."):
        value = value[name]
    return TOLERANCE * abs(float(value))


def _values(record: Record) -> dict[str, Any]:
    values = record.measured()
    if values["reliability"] is not None:
        bins = values["reliability"]["bins"]
        total = max(1, sum(part["count"] for part in bins))
        shares = [
            {name: (value if name == "count" else value * part["count"]) / total for name, value in part.items()}
            for part in bins
        ]
        values["reliability"] = {**values["reliability"], "bins": shares}
    return values


def _differing(one: Any, other: Any, path: str) -> Iterator[tuple[str, float]]:
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for name in one:
            yield from _differing(one[name], other[name], f"{path}.{name}" if path else str(name))
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            yield from _differing(first, second, f"{path}.{number}")
    elif one != other:
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
        yield path, abs(one - other) if numbers else math.inf
