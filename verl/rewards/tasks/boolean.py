# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Yes or no."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.booleans import MAX_CHARS, read_boolean
from verl.types import NotScorable, Record


@task("boolean", "binary classification")
class Boolean(Task[bool]):
    """1 for the right side. An answer that says both is unreadable."""

    max_chars = MAX_CHARS
    words = Wording(form="Yes or No", example="Yes")

    def truth(self, record: Record) -> bool | NotScorable:
        """The right side."""
        truth = read_boolean(unwrap_truth(record.answer))
        if truth is None:
            return NotScorable(reason=f"the answer {record.answer!r} is neither yes nor no")
        return truth

    def grade(self, candidate: str, truth: bool, record: Record) -> Grade:
        """Equality of truth values."""
        said = read_boolean(candidate)
        return UNREADABLE if said is None else Grade(accuracy=float(said == truth), is_readable=True, is_typed=True)
