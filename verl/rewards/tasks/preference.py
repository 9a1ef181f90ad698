# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which of two responses is better: Response 1, Response 2 or Tie."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, JudgedTask, Wording, task
from verl.rewards.judge_prompt import JudgeCase, question_of
from verl.scoring.answers import unwrap_truth
from verl.scoring.preferences import MAX_CHARS, Preference, read_preference
from verl.types import NotScorable, Record


@task("preference", "llava", "critic", "llava critic")
class PreferenceLabel(JudgedTask[Preference]):
    """1 for the right label. An answer that names both is unreadable, unless a judge can tell what it means."""

    max_chars = MAX_CHARS
    words = Wording(
        form="Response 1, Response 2 or Tie",
        example="Response 2",
        approach="weigh the two responses against what is shown",
    )

    def truth(self, record: Record) -> Preference | NotScorable:
        """The right label."""
        label = read_preference(unwrap_truth(record.answer))
        return label or NotScorable(reason=f"the answer {record.answer!r:.200} is not Response 1, Response 2 or Tie")

    def grade(self, candidate: str, truth: Preference, record: Record) -> Grade:
        """Equality of labels."""
        label = read_preference(candidate)
        return UNREADABLE if label is None else Grade(accuracy=float(label is truth), is_readable=True, is_typed=True)

    def case(self, candidate: str, truth: Preference, record: Record) -> JudgeCase | Grade:
        """The rules are sure of what they can read."""
        grade = self.grade(candidate, truth, record)
        if grade.is_readable:
            return grade
        return JudgeCase(question=question_of(record), references=(truth.value,), response=candidate, is_typed=False)
