# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts for a segmenter: a box, three points on the object, three beside it, and in a video the moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, TypeAlias

from verl.scoring.boxes import Box, box_iou, read_box
from verl.scoring.objects import read_number, read_value

NUM_POINTS = 3
POINT_SCALE = 50.0  # points this far off, on average, score exp(-1/2)
TIME_SCALE = 2.0  # a moment this many seconds off scores exp(-1)

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationPrompt:
    """What a segmenter is told."""

    box: Box | None  # None: four numbers that are no box
    positive: tuple[Point, ...]
    negative: tuple[Point, ...]
    time: float | None  # seconds; None for an image


def read_prompt(source: object, *, is_video: bool) -> tuple[SegmentationPrompt | None, bool]:
    """The prompt in a JSON value or text, and whether it is exactly of the form asked for.

    None without a list of four as box, three points of each kind, or the moment (a JSON number) in a video.
    """
    value, is_whole = read_value(source) if isinstance(source, str) else (source, True)
    if not isinstance(value, dict):
        return None, False
    box = value.get("boxes")
    positive, negative = _points(value.get("positive_points")), _points(value.get("negative_points"))
    time = read_number(value.get("time"), allow_text=False) if is_video else None
    if not isinstance(box, list | tuple) or len(box) != 4 or positive is None or negative is None:
        return None, False
    if is_video and time is None:
        return None, False
    prompt = SegmentationPrompt(box=read_box(box), positive=positive, negative=negative, time=time)
    return prompt, is_whole and prompt.box is not None


def prompt_score(prompt: SegmentationPrompt, truth: SegmentationPrompt) -> float:
    """Weighted closeness in [0, 1]: image 0.5 box + 0.25 + 0.25 points, video 0.3 box + 0.3 moment + 0.2 + 0.2."""
    overlap = box_iou(prompt.box, truth.box) if prompt.box and truth.box else 0.0
    positive, negative = _closeness(prompt.positive, truth.positive), _closeness(prompt.negative, truth.negative)
    if truth.time is None or prompt.time is None:
        return 0.5 * overlap + 0.25 * positive + 0.25 * negative
    moment = math.exp(-abs(prompt.time - truth.time) / TIME_SCALE)
    return min(1.0, 0.3 * overlap + 0.3 * moment + 0.2 * positive + 0.2 * negative)


def _points(value: Any) -> tuple[Point, ...] | None:
    if not isinstance(value, list | tuple) or len(value) != NUM_POINTS:
        return None
    points = [_point(item) for item in value]
    found = tuple(point for point in points if point is not None)
    return found if len(found) == NUM_POINTS else None


def _point(value: Any) -> Point | None:
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    x, y = read_number(value[0]), read_number(value[1])
    return None if x is None or y is None else (x, y)


def _closeness(ours: Sequence[Point], theirs: Sequence[Point]) -> float:
    """exp(-d^2 / (2 * 50^2)) of the mean distance d under the best matching."""
    totals = [sum(map(math.dist, order, theirs)) for order in permutations(ours)]
    return math.exp(-((min(totals) / len(theirs)) ** 2) / (2 * POINT_SCALE**2))
