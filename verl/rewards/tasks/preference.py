# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which of two responses is better: Response 1, Response 2 or Tie."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.preferences import MAX_CHARS, Preference, read_preference
from verl.types import NotScorable, Record


@task("preference", "llava", "critic", "llava critic")
class PreferenceLabel(Task[Preference]):
    """1 for the right label. An answer that names both is unreadable."""

    max_chars = MAX_CHARS

    def truth(self, record: Record) -> Preference | NotScorable:
        """The right label."""
        label = read_preference(unwrap_truth(record.answer))
        return label or NotScorable(reason=f"the answer {record.answer!r:.200} is not Response 1, Response 2 or Tie")

    def grade(self, candidate: str, truth: Preference, record: Record) -> Grade:
        """Equality of labels."""
        label = read_preference(candidate)
        return UNREADABLE if label is None else Grade(accuracy=float(label is truth), is_readable=True, is_typed=True)
