# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Tubes: one box for each whole second of a video. {"8": [x1, y1, x2, y2], "9": ...}"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl.scoring.boxes import Box, box_iou, read_box

MAX_KEYS = 4_096

_SECOND = re.compile(r"(\d{1,9})(?:\.0{1,9})?\s?(?:s|secs?|seconds?)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeReading:
    """Boxes by second, and whether every key and box was well formed."""

    boxes: Mapping[int, Box]
    is_whole: bool


def read_tube(value: Any) -> TubeReading | None:
    """Boxes by second of a JSON object, or None when it is none or has more than 4,096 keys.

    Keys may be written 8, 08, 8.0 or 8s. A second that occurs twice, however written, has no box.
    """
    if not isinstance(value, dict) or len(value) > MAX_KEYS:
        return None
    seconds = [_second(key) for key in value]
    boxes: dict[int, Box | None] = {}
    for second, item in zip(seconds, value.values(), strict=True):
        if second is not None:
            boxes[second] = None if second in boxes else read_box(item)
    found = {second: box for second, box in boxes.items() if box is not None}
    return TubeReading(boxes=found, is_whole=len(found) == len(value))


def tube_iou(ours: Mapping[int, Box], theirs: Mapping[int, Box]) -> float:
    """Mean IoU over the seconds of the truth `theirs` (not empty); a second without a box of ours counts 0."""
    return sum(box_iou(ours[second], box) for second, box in theirs.items() if second in ours) / len(theirs)


def _second(key: str) -> int | None:
    found = _SECOND.fullmatch(key.strip())
    return int(found[1]) if found else None
