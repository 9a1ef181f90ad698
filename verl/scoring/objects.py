# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Strict JSON in an answer: one object, finite numbers, no value for a key that occurs twice."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from verl.scoring.text import unwrap

MAX_CHARS = 64_000
MAX_NUMBER = 1e12
REPEATED = object()  # stands for the value of a key that occurs twice

_FENCE = "```"
_DECIMAL = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?")


def read_value(source: object) -> tuple[Any, bool]:
    """The JSON value of a text and whether the text is one JSON object and nothing else; (None, False) for none.

    A value is a list that is the whole text or all that a code fence holds, or the only object in it: prose, code
    fences or one pair of brackets may stand around. What is no text is a value already.
    """
    if not isinstance(source, str):
        return source, isinstance(source, dict)
    text = source.strip()
    if len(text) > MAX_CHARS:
        return None, False
    body = _fenced(unwrap(text) if text.startswith("\\boxed") else text).removesuffix(".").rstrip()
    found = _load(body) if body.startswith("[") else None
    if isinstance(found, list) and not (len(found) == 1 and isinstance(found[0], dict)):
        return found, False
    return _only_object(text) if "{" in text else (None, False)


def read_number(value: Any, *, allow_text: bool = True) -> float | None:
    """A finite number of moderate size, or (with `allow_text`) its plain decimal spelling; never a boolean."""
    if allow_text and isinstance(value, str):
        value = float(value) if _DECIMAL.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        return None
    return float(value) if math.isfinite(value) else None


def _fenced(text: str) -> str:
    """What the only code fence of `text` holds, where no other brackets stand around it; else `text`."""
    parts = text.split(_FENCE, 3)
    if len(parts) != 3 or any(bracket in parts[0] + parts[2] for bracket in "[{"):
        return text
    language, _, body = parts[1].partition("\n")
    return (body if language.strip().isalnum() else parts[1]).strip()


def _only_object(text: str) -> tuple[Any, bool]:
    start = text.index("{")
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, False
    return (None, False) if "{" in text[end:] else (value, start == 0 and end == len(text))


def _load(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        found[key] = REPEATED if key in found else value
    return found


_DECODER = json.JSONDecoder(parse_constant=_reject_constant, object_pairs_hook=_unique_keys)
