# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""When something happens: {"time": [start, end]} in seconds."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.objects import MAX_CHARS
from verl.scoring.spans import Span, read_spans, temporal_iou
from verl.types import NotScorable, Record


@task("temporal grounding")
class TemporalGrounding(Task[tuple[Span, ...]]):
    """Intersection over union of time. Lists and phrases are read, but are not the form asked for."""

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form='the time span in seconds, in the form {"time": [start, end]}',
        example='{"time": [4.5, 12.0]}',
        approach="say what happens when",
    )

    def truth(self, record: Record) -> tuple[Span, ...] | NotScorable:
        """The right span or spans; an instant is allowed here."""
        reading = read_spans(unwrap_truth(record.answer), allow_points=True)
        if reading is None:
            return NotScorable(reason=f'the answer {record.answer!r} is not {{"time": [start, end]}} with start <= end')
        return reading.spans

    def grade(self, candidate: str, truth: tuple[Span, ...], record: Record) -> Grade:
        """IoU with the truth. An answer may be an instant only where the truth is one."""
        reading = read_spans(candidate, allow_points=any(start == end for start, end in truth))
        if reading is None:
            return UNREADABLE
        is_typed = reading.is_object and (reading.is_flat or len(truth) > 1)
        return Grade(accuracy=temporal_iou(reading.spans, truth), is_readable=True, is_typed=is_typed)
