# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that are right or wrong: counts, results."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.numbers import MAX_CHARS, Number, is_equal, read_number
from verl.types import NotScorable, Record


@task("numerical", "number")
class Numerical(Task[Number]):
    """1 for an equal number: integers exactly, decimals to the digits that matter."""

    max_chars = MAX_CHARS
    words = Wording(form="only the number", example="3.14")

    def truth(self, record: Record) -> Number | NotScorable:
        """The right number."""
        number = read_number(unwrap_truth(record.answer))
        return number or NotScorable(reason=f"the answer {record.answer!r} is not exactly one number")

    def grade(self, candidate: str, truth: Number, record: Record) -> Grade:
        """Values are compared, not spellings."""
        number = read_number(candidate)
        if number is None:
            return UNREADABLE
        return Grade(accuracy=self.closeness(number, truth), is_readable=True, is_typed=True)

    def closeness(self, number: Number, truth: Number) -> float:
        """1 for equal numbers, else 0."""
        return float(is_equal(number, truth))
