# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Free text: answers about a video, descriptions. Words in common with a reference; a judge sees more."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, task
from verl.scoring.booleans import read_boolean
from verl.scoring.overlap import read_references, rouge
from verl.scoring.text import loose, normalize
from verl.types import NotScorable, Record

_YES_NO = ("yes", "no", "true", "false")


@task(
    "open-ended", "free-form", "video qa", "video description", "video caption", "caption", "captioning", "description"
)
class OpenEnded(Task[tuple[str, ...]]):
    """1 for the same words but for case, articles and punctuation; else ROUGE; yes or no where the truth is one.

    With several references the best one counts.
    """

    max_chars = 200_000
    bare_chars = 200_000

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


def _closeness(candidate: str, reference: str) -> float:
    if len(candidate) <= 2 * len(reference) + 64 and _is_same(candidate, reference):
        return 1.0
    if loose(reference) in _YES_NO:
        return float(read_boolean(candidate) is read_boolean(loose(reference)))
    return rouge(candidate, reference)


def _is_same(candidate: str, reference: str) -> bool:
    return normalize(candidate) == normalize(reference) or loose(candidate) == loose(reference) != ""
