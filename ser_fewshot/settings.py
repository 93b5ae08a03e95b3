"""Settings from outside, such as JSON and TOML hold: names, types and ranges are checked before anything is built."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

from ser_fewshot.errors import SerFewshotError, SettingsError

LARGEST_COUNT = 2**31 - 1

T = TypeVar("T")


def fill(kind: type[T], values: object, *, where: str, largest: int = LARGEST_COUNT) -> T:
    """Return a dataclass made of nested values.

    Args:
        kind: the dataclass.
        values: a mapping from the names of its fields; those left out keep their defaults.
        where: what errors call it.
        largest: no whole number in it may exceed this.

    Raises:
        SettingsError: a value has no place in it, one that it needs is missing, or one has the wrong type or range.
    """
    if not isinstance(values, Mapping):
        raise _illegal(where, values, "named settings, such as a JSON object or a TOML table")
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    _check_names(fields, values, where)
    filled = {
        field.name: _value(
            hints[field.name], _completed(field, values[field.name]), where=f"{where}.{field.name}", largest=largest
        )
        for field in fields
        if field.name in values
    }
    return kind(**filled)


def _completed(field: dataclasses.Field[Any], value: object) -> object:
    """Return nested settings with what they leave out as the field's own default has it, which may be a special one."""
    if not isinstance(value, Mapping) or field.default_factory is dataclasses.MISSING:
        return value
    default = field.default_factory()
    if not dataclasses.is_dataclass(default):
        return value
    return {**{item.name: getattr(default, item.name) for item in dataclasses.fields(default)}, **value}


def require(legal: bool, where: str, *, found: object, expected: str, remedy: str) -> None:
    """Raise a SettingsError about the setting `where` unless it is legal."""
    if not legal:
        raise SettingsError(where, found=str(found), expected=expected, remedy=remedy)


def check_choice(where: str, value: object, choices: Any) -> None:
    """Raise a SettingsError about the setting `where` unless its value is one of a Literal type."""
    legal = typing.get_args(choices)
    require(value in legal, where, found=repr(value), expected=" | ".join(legal), remedy="Choose one of these.")


def check_size(where: str, value: object) -> None:
    """Raise a SettingsError about the setting `where` unless it is a whole number of at least 1."""
    legal = type(value) is int and value >= 1
    require(legal, where, found=repr(value), expected="a whole number of at least 1", remedy="Correct it.")


def check_is(
    value: object, kind: type | types.UnionType, *, name: str, remedy: str, error: type[SerFewshotError]
) -> None:
    """Refuse an argument of another type than a function needs.

    Raises:
        SerFewshotError: it is another; of the class `error`.
    """
    if not isinstance(value, kind):
        expected = f"one of type {getattr(kind, '__name__', kind)}"
        raise error(name, found=f"an object of type {type(value).__name__}", expected=expected, remedy=remedy)


def check_types(settings: Any, *, where: str) -> None:
    """Check the fields of a dataclass that exists already.

    Raises:
        SettingsError: one has another type than its annotation, or a number is not finite or too large.
    """
    hints = typing.get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        _value(hints[field.name], getattr(settings, field.name), where=f"{where}.{field.name}", largest=LARGEST_COUNT)


def _check_names(fields: tuple[dataclasses.Field[Any], ...], values: Mapping[Any, Any], where: str) -> None:
    legal = [field.name for field in fields]
    missing = dataclasses.MISSING
    needed = [field.name for field in fields if field.default is missing and field.default_factory is missing]
    unknown = [repr(name) for name in values if name not in legal]
    lacking = [name for name in needed if name not in values]
    if unknown or lacking:
        found = f"the unknown setting {', '.join(unknown)}" if unknown else f"no {', '.join(lacking)}"
        raise SettingsError(where, found=found, expected=" | ".join(legal), remedy="Correct the names.")


def _value(kind: Any, value: object, *, where: str, largest: int) -> Any:  # noqa: PLR0911  # a table of types
    """Return a value as its type says; a type that is not in this table is taken as it is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return value if isinstance(value, kind) else fill(kind, value, where=where, largest=largest)
    if origin in (Union, types.UnionType):
        return _one_of(arguments, value, where=where, largest=largest)
    if origin is Literal:
        return _legal(value, value in arguments, " | ".join(map(str, arguments)), where)
    if origin is tuple and arguments[1:] == (...,):
        _legal(value, isinstance(value, list | tuple), "a list", where)
        items = enumerate(typing.cast(list[object], value))
        return tuple(_value(arguments[0], item, where=f"{where}[{i}]", largest=largest) for i, item in items)
    if origin is dict:
        return _legal(value, isinstance(value, dict) and all(isinstance(key, str) for key in value), "a table", where)
    if kind in (str, bool):
        return _legal(value, isinstance(value, kind), "text" if kind is str else "true or false", where)
    if kind is int:
        legal = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= largest
        return _legal(value, legal, f"a whole number of at most {largest}", where)
    if kind is float:
        return float(_legal(value, _finite(value), "a finite number", where))
    return value


def _one_of(kinds: tuple[Any, ...], value: object, *, where: str, largest: int) -> Any:
    """Return a value as the first of several types that it fits says."""
    if value is None and type(None) in kinds:
        return None
    *first, last = (kind for kind in kinds if kind is not type(None))
    expected = []
    for kind in first:
        try:
            return _value(kind, value, where=where, largest=largest)
        except SettingsError as error:
            expected.append(error.expected)
    try:
        return _value(last, value, where=where, largest=largest)
    except SettingsError as error:
        if not expected:
            raise
        raise _illegal(where, value, ", or ".join([*expected, error.expected])) from None


def _finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _legal(value: Any, legal: bool, expected: str, where: str) -> Any:
    if not legal:
        raise _illegal(where, value, expected)
    return value


def _illegal(where: str, value: object, expected: str) -> SettingsError:
    return SettingsError(
        where, found=f"{type(value).__name__} {value!r:.80}", expected=expected, remedy="Correct the value."
    )
