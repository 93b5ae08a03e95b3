"""Add clips to what is enrolled, each once: a learner keeps the same of two copies, whatever they are called."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

from torch import Tensor

from ser_fewshot._labels import class_key
from ser_fewshot.enrollment import Enrolled
from ser_fewshot.errors import DataWarning

_SAME = 1e-5  # of the largest value: the other clips of a batch change the last digits only
_SAME_NORM = 2e-3  # of the norm: what values that differ by _SAME may sum up to, over some 10,000 of them


@dataclass(frozen=True, eq=False)
class _Shot:
    """An enrolled clip: its class, its name, what is kept of it, and the norm of that."""

    label: str
    name: str
    clip: Tensor
    norm: float


def with_clips(enrolled: Mapping[str, Enrolled], label: str, new: Enrolled) -> dict[str, Enrolled]:
    """Return what is enrolled with further clips of a class, and warn of those that are there already.

    A clip that its own class has is left out: one recording is one shot. One that another class has is taken, since
    nobody can know which of the two labels is wrong. "Anger" and "anger" are one class, under the name that was
    enrolled first.
    """
    alike = [known for known in enrolled if class_key(known) == class_key(label)]
    label = alike[0] if alike and label not in alike else label  # a file of version 0.1.0 may have both spellings
    old = enrolled.get(label, Enrolled((), ()))
    own, others = _shots(label, old), [_shots(name, members) for name, members in enrolled.items() if name != label]
    fresh: list[_Shot] = []
    for shot in _shots(label, new):
        if twin := _twin(shot, (*own, *fresh)):
            _warn(f"{shot.name} is the same sound as {twin.name} in {label!r}: it counts once")
            continue
        if twin := _twin(shot, chain.from_iterable(others)):
            _warn(f"{shot.name} in {label!r} is the same sound as {twin.name} in {twin.label!r}: one label is wrong")
        fresh.append(shot)
    names, clips = tuple(shot.name for shot in fresh), tuple(shot.clip for shot in fresh)
    return {**enrolled, label: Enrolled(old.clips + clips, old.names + names)}


def _warn(sentence: str) -> None:
    warnings.warn(sentence, DataWarning, stacklevel=4)  # where the classifier is called


def _shots(label: str, members: Enrolled) -> list[_Shot]:
    return [_Shot(label, name, x, float(x.norm())) for name, x in zip(members.names, members.clips, strict=True)]


def _twin(shot: _Shot, others: Iterable[_Shot]) -> _Shot | None:
    """Return the first of other clips that is the same up to rounding, None if there is none.

    Zeros are the same as nothing: a network that has died makes them of every clip.
    """
    near = (other for other in others if shot.norm > 0 and abs(other.norm - shot.norm) <= _SAME_NORM * shot.norm)
    return next((other for other in near if _same(shot.clip, other.clip)), None)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool((one - other).abs().max() <= _SAME * one.abs().max())
