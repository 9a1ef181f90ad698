# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Axis-aligned boxes [x1, y1, x2, y2] in whatever unit the truth has: reading them, and how much they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.optimize import linear_sum_assignment

from verl.scoring.objects import read_number, read_value

MAX_BOXES = 120

Box: TypeAlias = tuple[float, float, float, float]

_KEYS = ("boxes", "bbox_2d")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxReading:
    """Boxes and in which shape they were written."""

    boxes: tuple[Box, ...]
    is_object: bool  # the text is {"boxes": ...} and nothing else
    is_flat: bool  # one box, not a list of them


def read_box(value: Any) -> Box | None:
    """Four finite numbers with x1 < x2 and y1 < y2, else None. Corners are never swapped."""
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    x1, y1, x2, y2 = (read_number(number) for number in value)
    if x1 is None or y1 is None or x2 is None or y2 is None:
        return None
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def read_boxes(source: object) -> BoxReading | None:
    """Boxes of a JSON value or text, or None when any of them is none.

    The form asked for is {"boxes": box} or {"boxes": [box, ...]}. The key "bbox_2d", a bare list and a list of objects
    with one box each are read too.
    """
    value, is_whole = read_value(source)
    is_named = isinstance(value, dict) and "boxes" in value
    value = _unnamed(value)
    if isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
        value = [_unnamed(item) for item in value]
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MAX_BOXES:
        return None
    is_flat = not isinstance(value[0], list | tuple)
    boxes = [read_box(item) for item in ([value] if is_flat else value)]
    found = tuple(box for box in boxes if box is not None)
    if len(found) < len(boxes):
        return None
    return BoxReading(boxes=found, is_object=is_whole and is_named, is_flat=is_flat)


def box_iou(ours: Box, theirs: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    width = min(ours[2], theirs[2]) - max(ours[0], theirs[0])
    height = min(ours[3], theirs[3]) - max(ours[1], theirs[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    union = (ours[2] - ours[0]) * (ours[3] - ours[1]) + (theirs[2] - theirs[0]) * (theirs[3] - theirs[1]) - shared
    return min(1.0, max(0.0, shared / union)) if union > 0 else 0.0


def matched_iou(ours: Sequence[Box], theirs: Sequence[Box]) -> float:
    """Sum of IoU under the best one-to-one matching, over the larger number of boxes (as in arXiv 2505.12081)."""
    if len(ours) == len(theirs) == 1:
        return box_iou(ours[0], theirs[0])
    overlaps = np.array([[box_iou(our, their) for their in theirs] for our in ours])
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return min(1.0, float(overlaps[rows, columns].sum()) / max(len(ours), len(theirs)))


def _unnamed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    named = [value[key] for key in _KEYS if key in value]
    return named[0] if len(named) == 1 else None
