# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers in Chinese characters, which Japanese and Korean texts use too."""

from __future__ import annotations

import re

_DIGITS = {char: n for n, char in enumerate("\u96f6\u4e00\u4e8c\u4e09\u56db\u4e94\u516d\u4e03\u516b\u4e5d")}
_DIGITS["\u4e24"] = 2  # of things
UNITS = {"\u5341": 10, "\u767e": 100, "\u5343": 1_000, "\u4e07": 10_000, "\u4ebf": 100_000_000}
_RUN = re.compile(f"\u8d1f?[{''.join([*_DIGITS, *UNITS])}]+")  # after a sign
_VAGUE = re.compile(f"\u534a|[{''.join(UNITS)}][\u51e0\u591a]")  # half; and some, and more
_WORDS = re.compile(
    "\u4e00(?:\u5171|\u8d77|\u6837|\u76f4|\u4e9b|\u5b9a)"
)  # in total, together, alike, always, some, sure


def names_number(text: str) -> bool:
    """Whether `text` has a number in it; a one may be an article."""
    return any(run != "\u4e00" for run in _RUN.findall(_WORDS.sub("", text)))


def read_han(text: str) -> int | None:
    """The only number in `text`, None for none or several and for shorthand such as "a hundred five" (150)."""
    runs = _RUN.findall(_WORDS.sub("", text))
    if len(runs) != 1 or len(runs[0]) > 20 or _VAGUE.search(text):
        return None
    value = _value(runs[0].removeprefix("\u8d1f"))
    return value if value is None or runs[0][0] != "\u8d1f" else -value


def _value(run: str) -> int | None:
    total = section = 0
    digit: int | None = None
    for char in run:
        if char in _DIGITS and not digit:
            digit = _DIGITS[char]
        elif char in _DIGITS:  # two digits in a row
            return None
        elif UNITS[char] < 10_000:
            section, digit = section + (digit or 1) * UNITS[char], None
        else:
            total, section, digit = (total + section + (digit or 0)) * UNITS[char], 0, None
    is_short = digit and len(run) > 1 and UNITS.get(run[-2], 0) >= 100
    return None if is_short else total + section + (digit or 0)
