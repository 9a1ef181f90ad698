# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that can be nearly right: distances, sizes, durations."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.numbers import MAX_CHARS, Number, mean_relative_accuracy, read_number
from verl.types import NotScorable, Record


@task("regression")
class Regression(Task[Number]):
    """Mean relative accuracy (arXiv 2412.14171)."""

    max_chars = MAX_CHARS

    def truth(self, record: Record) -> Number | NotScorable:
        """The right number."""
        number = read_number(unwrap_truth(record.answer))
        return number or NotScorable(reason=f"the answer {record.answer!r} is not exactly one number")

    def grade(self, candidate: str, truth: Number, record: Record) -> Grade:
        """Share of the ten thresholds the relative error stays within."""
        number = read_number(candidate)
        if number is None:
            return UNREADABLE
        return Grade(accuracy=mean_relative_accuracy(number, truth), is_readable=True, is_typed=True)
