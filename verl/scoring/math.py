# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a formula or number equals the truth: as text, as an exact number, or by computer algebra in a process that
can be killed.
"""

from __future__ import annotations

import re
from functools import cache

from verl.scoring.confined.process import Confined, Failure, Limits
from verl.scoring.numbers import read_number
from verl.scoring.text import loose, normalize, unwrap

MAX_CHARS = 1_000
MAX_DIGITS = 40
MEMORY_MIB = 4_096

# What takes computer algebra for ever, and what is no formula.
_REFUSED = re.compile(
    r"\*\*|__|\^\s*\{[^{}]*\^|\^\s*(?:\d+|[A-Za-z]|\\[A-Za-z]+)\s*\^|\^\s*\{?\s*-?\d{4}|\d{3}\s*!|[!)}]\s*!|\\(?:sum|int|prod|lim)(?![a-z])"
    rf"|\d{{{MAX_DIGITS}}}"
)
_NUMBER = re.compile(r"[-+]?[\d.,]+(?:[eE/][-+]?\d+)?%?")
_SYMBOL_EQUALS = re.compile(r"\\?[A-Za-z]\w{0,10}(?:_?\{\w{1,10}\})?(?:\([a-z]\))?\s*=(?!=)")
_EQUALS = re.compile(r"(?<![<>=!:])=+")
_OR = re.compile(r"\bor\b|\\(?:text|mathrm)\s?\{\s?or\s?\}|\\lor", re.IGNORECASE)
_ONE_SIGN = re.compile(r"(\d+)\u2044(\d+)")  # what normalize makes of a fraction that is one character
_TWO_NUMBERS = re.compile(r"\d\s+\d+(?!\d*\s*/)")  # the parser adds them up


def is_formula(text: str) -> bool:
    """Whether `text` is safe to hand to computer algebra: not too long, no towers of powers, no huge factorials."""
    return 0 < len(text) <= MAX_CHARS and _REFUSED.search(text) is None


def is_same_formula(answer: str, truth: str, seconds: float) -> bool | Failure:
    """Whether `answer` equals `truth`. One value only: no "or", no chains of equations, no two numbers side by side.

    A Failure when computer algebra did not come to an end within `seconds`.
    """
    ours, theirs = _bare(answer), _bare(truth)
    if ours == theirs or _is_same_number(ours, theirs) or _is_same_word(ours, theirs):
        return True
    ours = _value(ours, theirs)
    if not is_formula(ours) or not is_formula(theirs) or "$" in ours:
        return False
    return _algebra().call({"truth": theirs, "answer": ours}, seconds)


def _bare(text: str) -> str:
    return _ONE_SIGN.sub(r"\\frac{\1}{\2}", unwrap(normalize(unwrap(text))))


def _is_same_number(ours: str, theirs: str) -> bool:
    if not _NUMBER.fullmatch(ours) or not _NUMBER.fullmatch(theirs):
        return False
    left, right = read_number(ours), read_number(theirs)
    return left is not None and right is not None and left.value == right.value and left.is_percent == right.is_percent


def _is_same_word(ours: str, theirs: str) -> bool:
    return len(theirs) > 2 and theirs.replace(" ", "").isalpha() and loose(ours) == loose(theirs)


def _value(ours: str, theirs: str) -> str:
    """The answer without "x =" where the truth has none; empty when it says more than one thing."""
    if any(pattern.search(ours) and not pattern.search(theirs) for pattern in (_OR, _TWO_NUMBERS)):
        return ""
    wanted = len(_EQUALS.findall(theirs))
    if wanted == 0 and (named := _SYMBOL_EQUALS.match(ours)):
        ours = ours[named.end() :].strip()
    return ours if len(_EQUALS.findall(ours)) <= wanted else ""


@cache
def _algebra() -> Confined:
    warm_ups = [{"truth": "\\frac{1}{2}x", "answer": "x-x/2"}]
    return Confined("verl.scoring.confined.symbolic:compare", Limits(memory_mib=MEMORY_MIB, warm_ups=warm_ups))
