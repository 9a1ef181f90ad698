# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Exactly one number out of a short text, as an exact fraction; two numbers are no number."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from verl.scoring.han_numerals import UNITS, names_number, read_han
from verl.scoring.text import normalize

MAX_CHARS = 128
MAX_DIGITS = 40

_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"""(?<![A-Za-z0-9_.,\-^\u00b1]) (?P<sign>[-+])?
    (?: \\[dt]?frac \s?\{{ \s?(?P<top>[-+]?\d+) \s?\}} \s?\{{ \s?(?P<bottom>\d+) \s?\}}
      | (?P<numerator>\d+) \s? [/\u2044] \s? (?P<denominator>\d+)
      | 10 \s?\^\s? \{{? (?P<power>[-+]?\d{{1,4}}) \}}?
      | (?P<mantissa>{_PLAIN})
        (?: [eE] (?P<exponent>[-+]?\d{{1,4}})(?!\d)
          | \s? (?:[\u00d7x*\u00b7]|\\times|\\cdot) \s? 10 \s?\^\s? \{{? (?P<tens>[-+]?\d{{1,4}}) \}}?
        )?
    )
    (?: \s (?P<scale>hundred|thousand|million|billion|trillion)\b
      | (?P<short> (?: (?-i:k|K|M|B) | \s?(?:mn|bn) ) (?![A-Za-z0-9]) | \s?[\u767e\u5343\u4e07\u4ebf]+ ) )?
    (?P<percent> \s?\\?% | \s percent\b )?""",
    re.VERBOSE | re.IGNORECASE,
)
_UNIT_POWER = re.compile(r"(?<=[A-Za-z}])\s?\^\s?\{?-?\d\}?")  # cm^2
_UNIT_DIGIT = re.compile(r"(?<=[A-WYZa-wyz])[23](?!\d)")  # cm2, but not 2x3
_SPELLED_SIGN = re.compile(r"\b(?:minus|negative)\s(?=[\d.])", re.IGNORECASE)
_SHORT_FRACTION = re.compile(r"(\\[dt]?frac) ?(\d) ?(\d)(?!\d)")
_THIN_SPACE = re.compile(r"(?<=\d)\\,(?=\d{3}(?!\d))")
_SIGN_OF_WORD = re.compile(r"(?<![\w)])-(?=[a-z])", re.IGNORECASE)
_NOT = re.compile(r"\bnot\b|n't\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
# What makes the number beside it another one, or only a bound.
_BEFORE = re.compile(
    r"(?:[\u221a\u221b]|\\?\b(?:sqrt|log|ln|exp|sin|cos|tan)\b ?[{(\[]?|-[({]"
    r"|\b(?:more|fewer|less|greater|larger|higher|lower|smaller|other) than"
    r"|\b(?:half|twice|double)(?: of)?(?: an?)?) ?$",
    re.IGNORECASE,
)
_BEHIND = re.compile(
    r" ?(?:[\u03c0\u221a\u2030]|\\(?:pi|sqrt)\b|(?:lakh|crore)s?\b|dozens?\b|-?and an? (?:half|third|quarter)\b"
    r"|(?:thirds|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|hundredths|thousandths)\b)",
    re.IGNORECASE,
)
_ONE = re.compile(r"(?<!\bor )(?<!\bto )(?<!\bmaybe )(?<!\bperhaps )\bone\b(?! (?:or|to)\b)")  # often a pronoun

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve "
    "thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: n for n, word in enumerate(_ONES.split())}
_SMALL |= {word: n * 10 for n, word in enumerate(_TENS.split(), start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_HUNDREDS = {"hundred": 100, **_SCALES}
_SHORT = {"k": 10**3, "m": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9}
_PARTS = {"half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fifth": 5, "fifths": 5}
_PARTS |= {"fourth": 4, "fourths": 4, "tenth": 10, "tenths": 10, "hundredth": 100, "hundredths": 100}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A value and how it was written."""

    value: Fraction
    decimals: int | None  # digits after the point; None for a fraction, which has no last digit
    is_percent: bool = False


def read_number(source: object) -> Number | None:
    """The single number in a text or JSON value; None for none, several, a range, a time, nan, a boolean."""
    if isinstance(source, bool) or (isinstance(source, float) and not math.isfinite(source)):
        return None
    if isinstance(source, int) and abs(source) >= 10**MAX_DIGITS:
        return None
    if isinstance(source, int | float):
        source = repr(source)
    if not isinstance(source, str) or len(source) > MAX_CHARS:
        return None
    source = _SHORT_FRACTION.sub(r"\1{\2}{\3}", source)
    text = _SPELLED_SIGN.sub("-", _THIN_SPACE.sub("", normalize(source).replace("{,}", ",")))
    if _NOT.search(text):
        return None
    return _read_digits(text) if any(c.isdecimal() for c in text) else _read_words(text.casefold())


def is_equal(prediction: Number, truth: Number) -> bool:
    """Integers exactly, decimals to the digits that matter; "50%" also equals "0.5" and "50"."""
    return any(_is_close(value, truth) for value in _readings(prediction, truth))


def mean_relative_accuracy(prediction: Number, truth: Number) -> float:
    """Share of thresholds .50, .55 ... .95 with relative error <= 1 - threshold (arXiv 2412.14171).

    Exact arithmetic, so an error on a boundary passes. For a truth of 0: 1 within 1e-6, else 0.
    """
    return max(_relative_accuracy(value, truth.value) for value in _readings(prediction, truth))


def _relative_accuracy(value: Fraction, truth: Fraction) -> float:
    if truth == 0:
        return float(abs(value) <= Fraction(1, 10**6))
    error = abs(value - truth) / abs(truth)
    return sum(error <= Fraction(percent, 100) for percent in range(5, 51, 5)) / 10


def _readings(prediction: Number, truth: Number) -> tuple[Fraction, ...]:
    """The prediction in units of the truth. A percent sign on one side only may or may not divide by 100."""
    value = prediction.value
    if prediction.is_percent == truth.is_percent:
        return (value,)
    return (value, value / 100 if prediction.is_percent else value * 100)


def _is_close(value: Fraction, truth: Number) -> bool:
    if truth.value.denominator == 1:
        return value == truth.value
    size, significant = abs(truth.value), 2
    while size < Fraction(1, 10) and significant < 60:
        size, significant = size * 10, significant + 1
    digits = significant if truth.decimals is None else min(truth.decimals, significant)
    return abs(value - truth.value) <= Fraction(1, 2 * 10**digits)


def _read_digits(text: str) -> Number | None:
    text = _UNIT_POWER.sub("", text)
    found = list(_NUMBER.finditer(text))
    if len(found) != 1 or sum(c.isdecimal() for c in found[0][0]) > MAX_DIGITS:
        return None
    before, after = text[: found[0].start()], text[found[0].end() :]
    if before.strip() in ("-", "+") or any(c.isdecimal() for c in before + _UNIT_DIGIT.sub("", after)):
        return None
    number = _value(found[0])
    return number if number and _stands(number, before, after) else None


def _stands(number: Number, before: str, after: str) -> bool:
    """Whether nothing around `number` changes it or names another one; "five (5)" names the same."""
    if _BEFORE.search(before) or _BEHIND.match(after):
        return False
    if before.rstrip().endswith(("<", ">")) and not after.lstrip().startswith(">"):
        return False
    around = f"{before} {after}".casefold()
    if names_number(around):
        return False
    if not _names_number(_ONE.sub(" ", around)):
        return True
    named = _read_words(around)
    return named is not None and named.value == number.value


def _value(token: re.Match[str]) -> Number | None:
    top, bottom = token["top"] or token["numerator"], token["bottom"] or token["denominator"]
    factor = _factor(token) * (-1 if token["sign"] == "-" else 1)
    is_percent = token["percent"] is not None
    if top is not None:
        if int(bottom) == 0:
            return None
        return Number(value=factor * Fraction(int(top), int(bottom)), decimals=None, is_percent=is_percent)
    mantissa = (token["mantissa"] or "1").replace(",", "")
    exponent = int(token["power"] or token["exponent"] or token["tens"] or 0)
    decimals = max(0, len(mantissa.partition(".")[2]) - exponent)
    value = factor * Fraction(mantissa) * Fraction(10) ** exponent
    return Number(value=value, decimals=decimals, is_percent=is_percent)


def _factor(token: re.Match[str]) -> int:
    short = (token["short"] or "").strip().lower()
    return _HUNDREDS.get((token["scale"] or "").lower()) or _SHORT.get(short) or math.prod(UNITS[c] for c in short)


def _names_number(text: str) -> bool:
    return any(word in _SMALL or word in _HUNDREDS for word in _WORD.findall(text))


def _read_words(text: str) -> Number | None:
    """One number phrase such as "two hundred and five" or "two thirds" with anything around it."""
    words = _WORD.findall(_SIGN_OF_WORD.sub("minus ", text))
    is_number = [word in _SMALL or word in _HUNDREDS for word in words]
    if not any(is_number) and (han := read_han(text)) is not None:
        return Number(value=Fraction(han), decimals=0)
    if not any(is_number) or _BEFORE.search(text[: text.find(words[is_number.index(True)])]):
        return None
    first, last = is_number.index(True), len(words) - is_number[::-1].index(True)
    whole = _phrase(words[first:last])
    if whole is None or words[last : last + 1] in (["dozen"], ["dozens"]):
        return None
    part, has_half = _PARTS.get("".join(words[last : last + 1]), 1), words[last : last + 3] == ["and", "a", "half"]
    value = Fraction(whole, part if whole < part else 1)  # a game has four quarters
    value += Fraction(1, 2) if has_half else 0
    negative = first > 0 and words[first - 1] in ("minus", "negative")
    decimals = None if value.denominator > 1 else 0
    return Number(value=-value if negative else value, decimals=decimals, is_percent="percent" in words[last:])


def _phrase(words: list[str]) -> int | None:
    """Value of a whole number phrase by the grammar of English numerals; None when it is not one."""
    total, part, room, previous = 0, 0, 10**15, ""
    for word in words:
        if word == "and" and previous in _HUNDREDS:
            continue
        if word in _SCALES and _SCALES[word] < room and part < 1000:
            total, part, room = total + (part or 1) * _SCALES[word], 0, _SCALES[word]
        elif word == "hundred" and part < 100:
            part = (part or 1) * 100
        elif word in _SMALL and _fits(part, _SMALL[word], previous):
            part += _SMALL[word]
        else:
            return None
        previous = word
    return total + part


def _fits(part: int, number: int, previous: str) -> bool:
    """Whether `number` can come next: "twenty one" and "hundred five" are numerals, "two three" is not."""
    if number == 0 or previous == "zero":
        return previous == ""
    if number < 10 and part % 100 >= 20:
        return part % 10 == 0
    return part % 100 == 0
