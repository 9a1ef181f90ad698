# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where something is: {"boxes": [x1, y1, x2, y2]} in the unit of the truth."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.boxes import Box, matched_iou, read_boxes
from verl.scoring.objects import MAX_CHARS
from verl.types import NotScorable, Record


@task("spatial grounding", "visual grounding", "grounding", "rec")
class SpatialGrounding(Task[tuple[Box, ...]]):
    """IoU. Several boxes for one target are a hedge and unreadable; several targets are matched one to one."""

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form='the bounding box, in the form {"boxes": [x1, y1, x2, y2]}',
        example='{"boxes": [120, 80, 340, 260]}',
        approach="say where the target is and how it can be told from the rest",
    )

    def truth(self, record: Record) -> tuple[Box, ...] | NotScorable:
        """The right box or boxes."""
        reading = read_boxes(unwrap_truth(record.answer))
        if reading is None:
            return NotScorable(reason=f'the answer {record.answer!r:.200} is not {{"boxes": [x1, y1, x2, y2]}}')
        return reading.boxes

    def grade(self, candidate: str, truth: tuple[Box, ...], record: Record) -> Grade:
        """IoU, summed over matched boxes and divided by the larger number of boxes."""
        reading = read_boxes(candidate)
        if reading is None or (len(truth) == 1 and len(reading.boxes) > 1):
            return UNREADABLE
        is_typed = reading.is_object and (reading.is_flat or len(truth) > 1)
        return Grade(accuracy=matched_iou(reading.boxes, truth), is_readable=True, is_typed=is_typed)
