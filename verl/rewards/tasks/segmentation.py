# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What to tell a segmenter: a box, three points on the object, three beside it, and in a video the moment."""

from __future__ import annotations

from verl.rewards.contract import UNREADABLE, Grade, Task, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.objects import MAX_CHARS
from verl.scoring.points import SegmentationPrompt, prompt_score, read_prompt
from verl.types import NotScorable, Record


@task("segmentation", "segmentation image", "segmentation video")
class Segmentation(Task[SegmentationPrompt]):
    """Closeness of box, points and moment to those of the truth."""

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS

    def truth(self, record: Record) -> SegmentationPrompt | NotScorable:
        """The right prompt; its box must have an area."""
        prompt, _ = read_prompt(unwrap_truth(record.answer), is_video=_is_video(record))
        if prompt is None or prompt.box is None:
            time = ' and "time"' if _is_video(record) else ""
            return NotScorable(
                reason=f'the answer {record.answer!r:.200} needs "boxes" [x1, y1, x2, y2], three "positive_points", '
                f'three "negative_points"{time}'
            )
        return prompt

    def grade(self, candidate: str, truth: SegmentationPrompt, record: Record) -> Grade:
        """All of the form must be there; four numbers that are no box only lose the box's share."""
        prompt, is_typed = read_prompt(candidate, is_video=truth.time is not None)
        if prompt is None:
            return UNREADABLE
        return Grade(accuracy=prompt_score(prompt, truth), is_readable=True, is_typed=is_typed)


def _is_video(record: Record) -> bool:
    return record.data_type == "video"
