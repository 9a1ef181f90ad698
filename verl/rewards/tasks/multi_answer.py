# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Multiple choice with several right options."""

from __future__ import annotations

from typing import Any

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.choices import MAX_CHARS, Options
from verl.types import NotScorable, Record


@task("multi-answer", "multiple answer", "multiple answers", "multi-select", "multiple select", "multi choice")
class MultiAnswer(Task[frozenset[str]]):
    """1 for exactly the right letters. With `partial` (or "partial": true in the row) a subset earns its share."""

    max_chars = MAX_CHARS
    words = Wording(form="the letters of all correct options, separated by commas", example="A, B")

    def __init__(self, *, partial: bool = False) -> None:
        self._partial = partial

    def truth(self, record: Record) -> frozenset[str] | NotScorable:
        """The right letters, from a text or a list."""
        answer = unwrap_truth(record.answer)
        options = Options.of(record.options)
        letters = options.pick_all(answer) if isinstance(answer, str) else _listed(answer, options)
        if not letters:
            known = list(record.options) or "no options, so letters from A to N"
            return NotScorable(reason=f"the answer {answer!r} is no list of options ({known})")
        return letters

    def grade(self, candidate: str, truth: frozenset[str], record: Record) -> Grade:
        """Equality of sets; with partial credit the share found, and 0 as soon as a wrong option is picked."""
        letters = Options.of(record.options).pick_all(candidate)
        if letters is None:
            return UNREADABLE
        accuracy = float(letters == truth)
        if (self._partial or record.fields.get("partial") is True) and letters < truth:
            accuracy = len(letters) / len(truth)
        return Grade(accuracy=accuracy, is_readable=True, is_typed=True)


def _listed(answer: Any, options: Options) -> frozenset[str] | None:
    items = answer if isinstance(answer, list) else []
    letters = [options.pick(item) if isinstance(item, str) else None for item in items]
    found = frozenset(letter for letter in letters if letter)
    return found if 0 < len(found) == len(letters) else None
