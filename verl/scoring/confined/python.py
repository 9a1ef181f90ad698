# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a program in a sealed worker and reports what it returned or printed. It never learns what was expected.

What a program may import is what is imported here: a sealed process opens no file.
"""

from __future__ import annotations

import _strptime  # noqa: F401 -- datetime loads it late
import array  # noqa: F401
import base64  # noqa: F401
import bisect  # noqa: F401
import calendar  # noqa: F401
import cmath  # noqa: F401
import collections
import collections.abc
import contextlib  # noqa: F401
import copy  # noqa: F401
import dataclasses  # noqa: F401
import datetime  # noqa: F401
import decimal  # noqa: F401
import enum  # noqa: F401
import fractions  # noqa: F401
import functools  # noqa: F401
import graphlib  # noqa: F401
import hashlib  # noqa: F401
import heapq  # noqa: F401
import io
import itertools  # noqa: F401
import json  # noqa: F401
import math  # noqa: F401
import numbers  # noqa: F401
import operator  # noqa: F401
import os  # noqa: F401
import random  # noqa: F401
import re  # noqa: F401
import statistics  # noqa: F401
import string  # noqa: F401
import struct  # noqa: F401
import sys
import textwrap  # noqa: F401
import time  # noqa: F401
import traceback  # noqa: F401
import types
import typing  # noqa: F401
import unicodedata  # noqa: F401
import uuid  # noqa: F401
from collections.abc import Callable
from functools import partial
from typing import Any

MAX_DEPTH = 50
MAX_ITEMS = 200_000
MAX_PRINTED = 1_000_000
_PLAIN = (bool, int, float, str)
_GROUPS: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    set: "set",
    frozenset: "frozenset",
    collections.deque: "deque",
}


def run(request: dict[str, Any]) -> list[Any]:
    """One outcome per call or input: what `encode` gives, or None where the program failed.

    With "calls" the source runs once and each expression is evaluated after it; with "inputs" it runs once for each
    text on its standard input, and what it printed is the outcome.
    """
    sys.set_int_max_str_digits(20_000)
    code = compile(request["source"], "answer.py", "exec")
    if request["calls"]:
        namespace = _namespace()
        if not _completes(lambda: exec(code, namespace)):
            return [None for _ in request["calls"]]
        return [_outcome(partial(_evaluated, call, namespace)) for call in request["calls"]]
    return [_outcome(partial(_printed, code, text)) for text in request["inputs"]]


def encode(value: Any) -> Any:
    """Built-in values as JSON: [kind, ...]. Raises TypeError for others and ValueError for very large ones."""
    return _encode(value, 0, [MAX_ITEMS])


def _encode(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise ValueError("too large")
    kind = type(value)
    if value is None or kind in _PLAIN:
        return ["none" if value is None else kind.__name__, repr(value) if kind in (int, float) else value]
    if kind in _GROUPS:
        return [_GROUPS[kind], [_encode(item, depth + 1, left) for item in value]]
    if isinstance(value, dict):
        items = [[_encode(key, depth + 1, left), _encode(item, depth + 1, left)] for key, item in dict.items(value)]
        return ["dict", items]
    raise TypeError(f"a {kind.__name__} cannot be compared")


def _namespace() -> dict[str, Any]:
    return {"__name__": "__main__", "__builtins__": __builtins__}


def _evaluated(call: str, namespace: dict[str, Any]) -> Any:
    return encode(eval(call, namespace))


def _printed(code: types.CodeType, text: str) -> Any:
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    sys.stdout = out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    if not _completes(lambda: exec(code, _namespace())):
        return None
    out.flush()
    return encode(out.buffer.getvalue()[: MAX_PRINTED + 1].decode("utf-8", "replace"))


def _outcome(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (Exception, SystemExit):  # noqa: BLE001 -- whatever the program raises
        return None


def _completes(run_it: Callable[[], object]) -> bool:
    try:
        run_it()
    except SystemExit as end:
        return end.code in (None, 0)
    except Exception:  # noqa: BLE001 -- whatever the program raises
        return False
    return True
