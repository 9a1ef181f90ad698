# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""SVG documents, by the picture they draw."""

from __future__ import annotations

from dataclasses import replace

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, failure_parts, seconds_setting, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.code import unfence
from verl.scoring.confined.process import Failure
from verl.scoring.svg import MAX_CHARS, compare_svg, svg_score
from verl.types import NotScorable, Record


@task("svg-code", "svg")
class SvgCode(Task[str]):
    """Likeness of pictures, with a little for structure and brevity. Documents that reach outside are unreadable.

    Parts: visual, timeout and crash (of the drawing, which then scores 0).
    """

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form="the complete SVG document, without Markdown fences",
        example='<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle cx="4" cy="5" r="3"/></svg>',
        approach="sketch the drawing",
    )

    def __init__(self, *, seconds: float = 2.0) -> None:
        self._seconds = seconds_setting(seconds)

    def truth(self, record: Record) -> str | NotScorable:
        """The document. Whether it draws anything is seen when the first answer is scored."""
        answer = unwrap_truth(record.answer)
        if not isinstance(answer, str) or "<svg" not in answer:
            return NotScorable(reason=f"the answer {record.answer!r:.200} is no SVG document")
        return unfence(answer).strip()

    def grade(self, candidate: str, truth: str, record: Record) -> Grade | NotScorable:
        """Both documents drawn on one canvas."""
        answer = unfence(candidate).strip()
        found = compare_svg(answer, truth, self._seconds)
        if isinstance(found, Failure):
            return replace(UNREADABLE, parts=failure_parts(found))
        if not found.is_truth:
            return NotScorable(reason="the answer is no SVG document that shows anything")
        if not found.is_svg:
            return UNREADABLE
        return Grade(
            accuracy=svg_score(found, len(answer), len(truth)),
            is_readable=True,
            is_typed=answer == candidate.strip(),
            parts={"visual": found.visual},
        )
