# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""When something happens and where: {"time": [start, end], "boxes": {"second": [x1, y1, x2, y2], ...}}."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl.rewards.contract import UNREADABLE, Grade, Task, Wording, task
from verl.scoring.answers import unwrap_truth
from verl.scoring.boxes import Box
from verl.scoring.objects import MAX_CHARS, read_value
from verl.scoring.spans import Span, read_spans, temporal_iou
from verl.scoring.tubes import read_tube, tube_iou
from verl.types import NotScorable, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A time and a tube; the tube may be empty."""

    spans: tuple[Span, ...]
    boxes: Mapping[int, Box]


@task("spatial-temporal grounding", "spatio-temporal grounding", "spatiotemporal grounding", "stvg")
class SpatialTemporalGrounding(Task[Event]):
    """Half the IoU of time, half the mean IoU over the seconds of the truth; time alone where it has no boxes."""

    max_chars = MAX_CHARS
    bare_chars = MAX_CHARS
    words = Wording(
        form="the time span in seconds and one bounding box for every whole second in it, first and last included, in "
        'the form {"time": [start, end], "boxes": {"second": [x1, y1, x2, y2], ...}}',
        example='{"time": [4, 6], "boxes": {"4": [10, 20, 60, 90], "5": [15, 20, 65, 90], "6": [20, 20, 70, 90]}}',
        approach="say what happens when, and how the target can be told from the rest",
    )

    def truth(self, record: Record) -> Event | NotScorable:
        """The right time and tube. A truth without a time, or with a broken box, is invalid."""
        value, _ = _value(unwrap_truth(record.answer))
        spans = read_spans(value, allow_points=True)
        tube = read_tube(value.get("boxes", {}))
        if spans is None or tube is None or not tube.is_whole:
            return NotScorable(
                reason=f'the answer {record.answer!r:.200} is not {{"time": [start, end], "boxes": {{"second": [x1, '
                "y1, x2, y2]}} with start <= end, x1 < x2, y1 < y2"
            )
        return Event(spans=spans.spans, boxes=tube.boxes)

    def grade(self, candidate: str, truth: Event, record: Record) -> Grade:
        """Each half counts on its own: an unreadable time leaves the boxes their worth."""
        value, is_whole = _value(candidate)
        spans = read_spans(value, allow_points=any(start == end for start, end in truth.spans))
        tube = read_tube(value.get("boxes"))
        if spans is None and tube is None:
            return UNREADABLE
        when = temporal_iou(spans.spans, truth.spans) if spans else 0.0
        where = tube_iou(tube.boxes, truth.boxes) if tube and truth.boxes else 0.0
        is_typed = is_whole and spans is not None and tube is not None and tube.is_whole
        is_typed = is_typed and spans is not None and (spans.is_flat or len(truth.spans) > 1)
        accuracy = (when + where) / 2 if truth.boxes else when
        return Grade(accuracy=accuracy, is_readable=True, is_typed=is_typed)


def _value(source: object) -> tuple[dict[str, Any], bool]:
    value, is_whole = read_value(source)
    return (value, is_whole) if isinstance(value, dict) else ({}, False)
