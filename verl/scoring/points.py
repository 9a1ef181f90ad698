# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts for a segmenter: a box, three points on the object, three beside it, and in a video the moment.

They are compared with another such prompt, or with a mask of the object.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any

from verl.scoring.boxes import Box, box_iou, read_box
from verl.scoring.masks import Point, Region
from verl.scoring.objects import read_number, read_value

NUM_POINTS = 3
POINT_SCALE = 50.0  # points this far off, on average, score exp(-1/2)
TIME_SCALE = 2.0  # a moment this many seconds off scores exp(-1)
APART = 10.0  # points nearer to each other than this count once; less where the object is small
MARGIN = 1.5  # points beside the object stand in its box, made this much wider and higher


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
    value, is_whole = read_value(source)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The object itself."""

    region: Region
    time: float | None  # seconds, of the frame the mask is of; None for an image


def prompt_score(prompt: SegmentationPrompt, truth: SegmentationPrompt | Target) -> float:
    """Weighted closeness in [0, 1]: image 0.5 box + 0.25 + 0.25 points, video 0.3 box + 0.3 moment + 0.2 + 0.2.

    Of points, their distance to those of a prompt counts; with a mask, the share of positive ones on it and of negative
    ones off it but near, points close to each other counted once.
    """
    if isinstance(truth, Target):
        box: Box | None = truth.region.box
        positive, negative = _share_on(prompt.positive, truth.region), _share_beside(prompt.negative, truth.region)
    else:
        box = truth.box
        positive, negative = _closeness(prompt.positive, truth.positive), _closeness(prompt.negative, truth.negative)
    overlap = box_iou(prompt.box, box) if prompt.box and box else 0.0
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


def _share_on(points: Sequence[Point], region: Region) -> float:
    return _num_apart([point for point in points if region.contains(point)], region.area) / NUM_POINTS


def _share_beside(points: Sequence[Point], region: Region) -> float:
    """1 where the object leaves no room in the image."""
    x1, y1, x2, y2 = _near(region)
    room = (x2 - x1) * (y2 - y1) - region.area
    if room <= 1e-6 * region.area:
        return 1.0
    beside = [(x, y) for x, y in points if x1 <= x <= x2 and y1 <= y <= y2 and not region.contains((x, y))]
    return _num_apart(beside, room) / NUM_POINTS


def _near(region: Region) -> Box:
    """The box of the region with a margin, within the image; of one whose size is unknown, right of and below 0."""
    x1, y1, x2, y2 = region.box
    more_x, more_y = (x2 - x1) * (MARGIN - 1) / 2, (y2 - y1) * (MARGIN - 1) / 2
    left, top, right, bottom = region.canvas or (min(0.0, x1), min(0.0, y1), math.inf, math.inf)
    return (max(left, x1 - more_x), max(top, y1 - more_y), min(right, x2 + more_x), min(bottom, y2 + more_y))


def _num_apart(points: Sequence[Point], area: float) -> int:
    """The most points of which no two are near each other. In any area A three fit that are sqrt(A) / 3 apart."""
    apart = min(APART, math.sqrt(area) / 3)
    groups = (group for size in range(len(points), 0, -1) for group in combinations(points, size))
    return next(
        (len(group) for group in groups if all(math.dist(*pair) >= apart for pair in combinations(group, 2))), 0
    )
