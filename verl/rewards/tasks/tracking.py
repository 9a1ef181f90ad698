# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Where something is at every second: {"boxes": {"second": [x1, y1, x2, y2], ...}}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.boxes import Box
from verl.scoring.objects import MAX_CHARS, read_value
from verl.scoring.tubes import read_tube, tube_iou
from verl.types import NotScorable, Record

_NUMBER = r"\s{0,3}(-?\d{1,12}(?:\.\d{1,15})?)\s{0,3}"
_FOUR = re.compile(rf"[\[(]{','.join([_NUMBER] * 4)}[\])]")

Tube: TypeAlias = Mapping[int, Box]


@task("tracking", "object tracking")
class Tracking(Task[Tube]):
    """Mean IoU over the seconds of the truth; a second without a box counts 0.

    A first box that the question states is not scored. Part `static`: what that first box, frozen, would score.
    """

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form="one bounding box for every whole second of the track, at most 32, in the form "
        '{"boxes": {"second": [x1, y1, x2, y2], ...}}',
        example='{"boxes": {"1": [10, 20, 60, 90], "2": [15, 20, 65, 90], "3": [20, 20, 70, 90]}}',
        approach="say where the target moves and how it can be told from the rest",
    )

    def truth(self, record: Record) -> Tube | NotScorable:
        """The right tube."""
        value, _ = read_value(unwrap_truth(record.answer))
        tube = read_tube(value.get("boxes")) if isinstance(value, dict) else None
        if tube is None or not tube.boxes or not tube.is_whole:
            return NotScorable(
                reason=f'the answer {record.answer!r:.200} is not {{"boxes": {{"second": [x1, y1, x2, y2]}}'
            )
        return tube.boxes

    def grade(self, candidate: str, truth: Tube, record: Record) -> Grade:
        """Mean IoU over the seconds that had to be found."""
        value, is_whole = read_value(candidate)
        tube = read_tube(value.get("boxes")) if isinstance(value, dict) else None
        if tube is None:
            return UNREADABLE
        first = min(truth)
        frozen = dict.fromkeys(truth, truth[first])
        if len(truth) > 1 and _states(record.problem, truth[first]):
            truth = {second: box for second, box in truth.items() if second != first}
        return Grade(
            accuracy=tube_iou(tube.boxes, truth),
            is_readable=True,
            is_typed=is_whole and tube.is_whole,
            parts={"static": tube_iou(frozen, truth)},
        )


def _states(problem: str, box: Box) -> bool:
    """Whether the numbers of `box` stand in brackets in the question."""
    return any(tuple(map(float, four.groups())) == box for four in _FOUR.finditer(problem))
