# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""JSON objects from files that may be damaged or hostile, as frozen dataclasses whose every field has been checked."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
LARGEST = 1e300  # not a number fails the comparison too


def parse(text: str | bytes) -> Any:
    """The JSON value of `text`. Raises ValueError, also for one that is nested too deeply to be a header of ours."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def build(cls: type[T], found: Any) -> T:
    """An instance of the dataclass `cls` from a JSON object with exactly its fields; lists become tuples.

    Fields with a default may be missing. Raises ValueError naming the field that is missing, unknown or wrong.
    """
    if not isinstance(found, dict):
        raise ValueError(f"{cls.__name__} is {_name(found)}, not an object")
    described: Any = cls
    wanted = _fields(described)
    if unknown := sorted(found.keys() - wanted.keys()):
        raise ValueError(f"{cls.__name__} has no field {unknown[0]!r}")
    if missing := [name for name, (_, optional) in wanted.items() if not optional and name not in found]:
        raise ValueError(f"{cls.__name__} lacks {missing[0]!r}")
    values = {}
    for name, value in found.items():
        values[name] = tuple(value) if isinstance(value, list) else value
        if not wanted[name][0](values[name]):
            raise ValueError(f"{cls.__name__}.{name} cannot be {_name(value)}")
    return cls(**values)


def fits(value: Any, kind: Any) -> bool:
    """Whether `value` is of the annotated type `kind`: str, int, float (finite), bool, None, unions, tuple[x, ...]."""
    return _test(kind)(value)


@cache
def _test(kind: Any) -> Callable[[Any], bool]:
    """The check of `fits` for one type, made once."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        options = [_test(option) for option in get_args(kind)]
        return lambda value: any(test(value) for test in options)
    if origin is tuple:
        (item, _) = get_args(kind)
        return lambda value: type(value) is tuple and _all_fit(value, item)
    if kind is float:
        return lambda value: type(value) in (int, float) and abs(value) < LARGEST
    wanted = type(None) if kind is None else kind
    return lambda value: type(value) is wanted


def _all_fit(values: tuple[Any, ...], kind: Any) -> bool:
    """`fits` of each; quick for the long tuples of numbers that headers hold."""
    types_ = set(map(type, values))
    if kind is float:
        return types_ <= {int, float} and all(map(LARGEST.__gt__, map(abs, values)))
    return types_ <= {kind}


def strings(found: Any) -> Mapping[str, str]:
    """A JSON object of strings. Raises ValueError."""
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ValueError(f"{_name(found)} is not an object of strings")
    return found


@cache
def _fields(cls: Any) -> dict[str, tuple[Callable[[Any], bool], bool]]:
    """The check of each field's type, and whether it has a default."""
    hints = get_type_hints(cls)
    return {
        one.name: (_test(hints[one.name]), one.default is not MISSING or one.default_factory is not MISSING)
        for one in fields(cls)
    }


def _name(value: Any) -> str:
    shown = repr(value) if isinstance(value, int | float | str) else type(value).__name__
    return shown if len(shown) <= 40 else shown[:40] + "..."
