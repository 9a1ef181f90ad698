# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Free text: answers about a video, descriptions. Words in common with a reference; a judge sees more."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, JudgedTask, Wording, spelling, task
from verl.rewards.judge_prompt import JudgeCase, question_of, rubric_of
from verl.scoring.booleans import read_boolean
from verl.scoring.overlap import read_references, rouge
from verl.scoring.text import loose, normalize
from verl.types import NotScorable, Record

_YES_NO = ("yes", "no", "true", "false")
_GRADED = ("video description", "video caption", "caption", "captioning", "description")
_SCALE = 10


@task(
    "open-ended", "free-form", "video qa", "video description", "video caption", "caption", "captioning", "description"
)
class OpenEnded(JudgedTask[tuple[str, ...]]):
    """1 for the same words but for case, articles and punctuation; else ROUGE; yes or no where the truth is one.

    With several references the best one counts. A judge decides on what is not the same as a reference; a description,
    or a row with a `rubric`, gets a grade from 0 to 10.
    """

    max_chars = 200_000
    bare_chars = 200_000
    words = Wording(form="your answer in words", example="A man in a blue jacket opens the door.")

    def truth(self, record: Record) -> tuple[str, ...] | NotScorable:
        """The references."""
        is_boolean = isinstance(record.answer, bool)
        references = (("No", "Yes")[record.answer],) if is_boolean else read_references(record.answer)
        return references or NotScorable(reason=f"the answer {record.answer!r:.200} is no text or list of texts")

    def grade(self, candidate: str, truth: tuple[str, ...], record: Record) -> Grade:
        """Any text is readable, but for one that begins with a thousand invisible characters."""
        if not normalize(candidate[:1_000]):
            return UNREADABLE
        accuracy = max(_closeness(candidate, reference) for reference in truth)
        return Grade(accuracy=accuracy, is_readable=True, is_typed=True)

    def case(self, candidate: str, truth: tuple[str, ...], record: Record) -> JudgeCase | Grade:
        """The rules are sure of unreadable text, of a reference's own words and, without a rubric, of yes and no."""
        rubric = rubric_of(record)
        grade = self.grade(candidate, truth, record)
        is_boolean = all(loose(reference) in _YES_NO for reference in truth)
        if not grade.is_readable or (not rubric and (grade.accuracy == 1 or is_boolean)):
            return grade
        is_graded = bool(rubric) or spelling(record.problem_type) in _GRADED
        return JudgeCase(
            question=question_of(record),
            references=truth,
            response=candidate,
            options=record.options,
            rubric=rubric,
            scale=_SCALE if is_graded else None,
        )


def _closeness(candidate: str, reference: str) -> float:
    if len(candidate) <= 2 * len(reference) + 64 and _is_same(candidate, reference):
        return 1.0
    if loose(reference) in _YES_NO:
        return float(read_boolean(candidate) is read_boolean(loose(reference)))
    return rouge(candidate, reference)


def _is_same(candidate: str, reference: str) -> bool:
    return normalize(candidate) == normalize(reference) or loose(candidate) == loose(reference) != ""
