# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Mathematics: a formula, a number, a word, or the letter of an option."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, failure_parts, seconds_setting, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.choices import Options
from verl.scoring.math import MAX_CHARS, is_formula, is_same_formula
from verl.scoring.text import normalize, unwrap
from verl.types import NotScorable, Record

_LETTER = re.compile(r"\(?[A-N]\)?\.?")


@dataclass(frozen=True, slots=True)
class Result:
    """What is right."""

    text: str
    letter: str | None  # of an option


@task("math", "mathematics", "maths")
class Mathematics(Task[Result]):
    """1 for an equal value. A comparison that takes more than `seconds` scores 0 and is counted in part `timeout`."""

    max_chars = MAX_CHARS
    words = Wording(form="only the final result", example="\\frac{3}{4}", approach="work the problem out step by step")

    def __init__(self, *, seconds: float = 2.0) -> None:
        self._seconds = seconds_setting(seconds)

    def wording(self, record: Record) -> Wording:
        """A letter is asked for where a letter is right."""
        truth = self.truth(record)
        if isinstance(truth, NotScorable) or truth.letter is None:
            return self.words
        return replace(self.words, form="only the letter of the correct option", example="B")

    def truth(self, record: Record) -> Result | NotScorable:
        """The right result."""
        answer = unwrap_truth(record.answer)
        if isinstance(answer, bool) or not isinstance(answer, str | int | float) or not normalize(str(answer)):
            return NotScorable(reason=f"the answer {record.answer!r:.200} is no formula or number")
        text = str(answer)
        is_letter = _LETTER.fullmatch(unwrap(text)) is not None
        return Result(text=text, letter=Options.of(record.options).pick(text) if is_letter else None)

    def grade(self, candidate: str, truth: Result, record: Record) -> Grade:
        """Letters by the rules of multiple choice, everything else by value."""
        if truth.letter is not None:
            letter = Options.of(record.options).pick(candidate)
            if letter is None:
                return UNREADABLE
            return Grade(accuracy=float(letter == truth.letter), is_readable=True, is_typed=True)
        same = is_same_formula(candidate, truth.text, self._seconds)
        is_readable = same is True or is_formula(candidate)
        return Grade(
            accuracy=float(same is True), is_readable=is_readable, is_typed=is_readable, parts=failure_parts(same)
        )
