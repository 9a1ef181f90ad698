# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Python programs, right when they pass hidden tests. They run sealed (verl.scoring.confined.seal), and only what a
test puts in goes there: what should come out is compared here.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from typing import Any

from verl.scoring.confined.process import Confined, Failure, Limits

MAX_CHARS = 100_000
MAX_TESTS = 200
MEMORY_MIB = 512

_FENCE = re.compile(r"```[A-Za-z0-9_+-]{0,20}[ \t]*\n")
_CLOSED_AND_OPENED = re.compile(r"\n```[ \t]*\n(?:[^`]|`(?!``))*+```[A-Za-z0-9_+-]{0,20}[ \t]*\n")
_GROUPS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": list}


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenTests:
    """Expressions to evaluate after the program, or texts for its standard input, and what each has to give."""

    calls: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    expected: tuple[Any, ...]


def read_tests(source: Any) -> HiddenTests | None:
    """Tests as data files write them, or None when any of them is none of these (all of one kind):

    {"call": "f(1)", "returns": 2}; {"input": "1\\n", "output": "2"}; "assert f(1) == 2", "assert f(1)",
    "assert not f(1)"; or one object {"inputs": [...], "outputs": [...], "fn_name": "f" (or absent: text in, text out)}.
    """
    if isinstance(source, str):
        try:
            source = json.loads(source)
        except (ValueError, RecursionError):
            return None
    if isinstance(source, dict):
        source = source["tests"] if "tests" in source else _paired(source)
    items = [_test(item) for item in source] if isinstance(source, list) else []
    tests = [item for item in items if item is not None]
    kinds = {kind for kind, _, _ in tests}
    if not 0 < len(tests) == len(items) <= MAX_TESTS or len(kinds) > 1:
        return None
    put_in, expected = tuple(test[1] for test in tests), tuple(test[2] for test in tests)
    return (
        HiddenTests(calls=put_in, expected=expected)
        if kinds == {"call"}
        else HiddenTests(inputs=put_in, expected=expected)
    )


def passed(source: str, tests: HiddenTests, seconds: float) -> list[bool] | Failure:
    """Which tests `source` passes, all of them within `seconds` together. Markdown fences around it do not count."""
    request = {"source": unfence(source), "calls": tests.calls, "inputs": tests.inputs}
    outcomes = _sandbox().call(request, seconds)
    if isinstance(outcomes, Failure):
        return outcomes
    if not isinstance(outcomes, list) or len(outcomes) != len(tests.expected):
        return Failure.ERROR
    is_text = bool(tests.inputs)
    pairs = zip(outcomes, tests.expected, strict=True)
    return [outcome is not None and _fits(outcome, expected, is_text=is_text) for outcome, expected in pairs]


def unfence(text: str) -> str:
    """What the first of several Markdown fences holds, or the only one up to the last mark; `text` without one."""
    opened = _FENCE.search(text)
    end = text.rfind("```")
    if not opened or end < opened.end():
        return text
    body = text[opened.end() : end]
    return body[: body.index("\n```") + 1] if _CLOSED_AND_OPENED.search(body) else body


@cache
def _sandbox() -> Confined:
    return Confined("verl.scoring.confined.python:run", Limits(memory_mib=MEMORY_MIB, is_sealed=True))


def _paired(source: dict[str, Any]) -> list[Any]:
    name, inputs, outputs = source.get("fn_name"), source.get("inputs"), source.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        return []
    if name is None:
        return [{"input": put_in, "output": output} for put_in, output in zip(inputs, outputs, strict=True)]
    if not str(name).isidentifier() or not all(isinstance(arguments, list) for arguments in inputs):
        return []
    calls = [f"{name}({', '.join(map(repr, arguments))})" for arguments in inputs]
    return [{"call": call, "returns": value} for call, value in zip(calls, outputs, strict=True)]


def _test(item: Any) -> tuple[str, str, Any] | None:
    """("call" or "input", what goes in, what should come out)."""
    if isinstance(item, str):
        return _assertion(item)
    if not isinstance(item, dict):
        return None
    if isinstance(item.get("call"), str) and "returns" in item:
        return "call", item["call"], item["returns"]
    if isinstance(item.get("input"), str) and isinstance(item.get("output"), str):
        return "input", item["input"], item["output"]
    return None


def _assertion(text: str) -> tuple[str, str, Any] | None:
    """An assertion about one value; with any other, the program could look at what it is compared with."""
    try:
        [statement] = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, RecursionError):
        return None
    test = statement.test if isinstance(statement, ast.Assert) else None
    if isinstance(test, ast.Call):
        return "call", f"bool({ast.unparse(test)})", True
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and isinstance(test.operand, ast.Call):
        return "call", f"bool({ast.unparse(test.operand)})", False
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq | ast.Is):
        return None
    sides = (test.left, test.comparators[0])
    for call, value in (sides, sides[::-1]):
        try:
            return "call", ast.unparse(call), ast.literal_eval(value)
        except ValueError:
            continue
    return None


def _fits(outcome: Any, expected: Any, *, is_text: bool) -> bool:
    try:
        value = _decode(outcome)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return _same_lines(value, expected) if is_text else _same(value, expected)


def _decode(outcome: Any) -> Any:
    kind, value = outcome
    if kind == "none":
        return None
    if kind in ("int", "float"):
        return int(value) if kind == "int" else float(value)
    if kind in ("bool", "str"):
        return bool(value) if kind == "bool" else str(value)
    if kind == "dict":
        return {_decode(key): _decode(item) for key, item in value}
    return _GROUPS[kind](_decode(item) for item in value)


def _same(value: Any, expected: Any) -> bool:
    """Equality as Python has it, but for floats within 1e-9 of each other."""
    if isinstance(value, float) and isinstance(expected, float):
        return math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-12) or (value != value and expected != expected)
    if isinstance(value, list | tuple) and type(value) is type(expected):
        return len(value) == len(expected) and all(map(_same, value, expected))
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(_same(value[key], expected[key]) for key in value)
    return bool(value == expected)


def _same_lines(value: Any, expected: Any) -> bool:
    lines: Sequence[Sequence[str]] = [
        [line.rstrip() for line in str(text).rstrip().splitlines()] for text in (value, expected)
    ]
    return all(ours == theirs for ours, theirs in zip_longest(*lines))
