# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""HTML documents, by their visible words and their structure."""

from __future__ import annotations

from dataclasses import replace

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, failure_parts, seconds_setting, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.code import unfence
from verl.scoring.confined.process import Failure
from verl.scoring.html import MAX_CHARS, compare_html
from verl.types import NotScorable, Record


@task("html-code", "html")
class HtmlCode(Task[str]):
    """Weighted F1 of words, nesting, tags and attributes. A page without a visible element is unreadable.

    Parts: timeout and crash (of the parser, which then scores 0).
    """

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form="the complete HTML document, without Markdown fences",
        example="<!DOCTYPE html><html><body><h1>Hello</h1><p>First words.</p></body></html>",
        approach="sketch the page",
    )

    def __init__(self, *, seconds: float = 2.0) -> None:
        self._seconds = seconds_setting(seconds)

    def truth(self, record: Record) -> str | NotScorable:
        """The document. Whether it shows anything is seen when the first answer is scored."""
        answer = unwrap_truth(record.answer)
        if not isinstance(answer, str) or "<" not in answer:
            return NotScorable(reason=f"the answer {record.answer!r:.200} is no HTML document")
        return unfence(answer)

    def grade(self, candidate: str, truth: str, record: Record) -> Grade | NotScorable:
        """Both documents parsed as a browser does."""
        answer = unfence(candidate)
        found = compare_html(answer, truth, self._seconds)
        if isinstance(found, Failure):
            return replace(UNREADABLE, parts=failure_parts(found))
        if not found.is_truth:
            return NotScorable(reason="the answer is no HTML document that shows an element")
        if not found.is_html:
            return UNREADABLE
        return Grade(accuracy=found.likeness, is_readable=True, is_typed=answer == candidate)
