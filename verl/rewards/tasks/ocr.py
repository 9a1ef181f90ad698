# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Text as it is written in the picture."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.overlap import read_references, word_accuracy
from verl.scoring.text import normalize
from verl.types import NotScorable, Record


@task("ocr", "text recognition")
class Ocr(Task[tuple[str, ...]]):
    """1 - word error rate against the best reference."""

    max_chars = 200_000
    bare_chars = 200_000
    words = Wording(
        form="the text exactly as it is written", example="NO PARKING", approach="say where in the picture the text is"
    )

    def truth(self, record: Record) -> tuple[str, ...] | NotScorable:
        """The transcripts."""
        references = read_references(record.answer)
        return references or NotScorable(reason=f"the answer {record.answer!r:.200} is no text or list of texts")

    def grade(self, candidate: str, truth: tuple[str, ...], record: Record) -> Grade:
        """Any text is readable, but for one that begins with a thousand invisible characters."""
        if not normalize(candidate[:1_000]):
            return UNREADABLE
        accuracy = max(word_accuracy(candidate, reference) for reference in truth)
        return Grade(accuracy=accuracy, is_readable=True, is_typed=True)
