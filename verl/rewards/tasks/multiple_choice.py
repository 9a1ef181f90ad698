# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Multiple choice: the letter, or the text of exactly one option."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.choices import MAX_CHARS, Options
from verl.types import NotScorable, Record


@task("multiple choice", "mcq")
class MultipleChoice(Task[str]):
    """1 for the right letter. Hedges, negations and letters beyond the options are unreadable."""

    max_chars = MAX_CHARS
    words = Wording(form="only the letter of the correct option", example="B")

    def truth(self, record: Record) -> str | NotScorable:
        """The right letter."""
        answer = unwrap_truth(record.answer)
        is_text = isinstance(answer, str | int | float) and not isinstance(answer, bool)
        letter = Options.of(record.options).pick(str(answer)) if is_text else None
        if letter is None:
            known = list(record.options) or "no options, so a letter from A to N"
            return NotScorable(reason=f"the answer {answer!r} is none of the options ({known})")
        return letter

    def grade(self, candidate: str, truth: str, record: Record) -> Grade:
        """Exact match of letters."""
        letter = Options.of(record.options).pick(candidate)
        if letter is None:
            return UNREADABLE
        return Grade(accuracy=float(letter == truth), is_readable=True, is_typed=True)
