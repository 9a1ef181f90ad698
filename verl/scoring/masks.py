# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Masks of an object, as COCO writes them: run lengths (a list or the compressed text) and polygons.

A mask is never drawn: what is asked of it (its box, its area, whether a point is on it) is read off runs and edges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeAlias

from verl.scoring.boxes import Box
from verl.scoring.objects import read_number

MAX_SIDE = 65_536  # pixels
MAX_RUNS = 100_000  # and characters of the compressed text
MAX_CORNERS = 10_000
MAX_GROUPS = 7  # characters of one compressed number: 35 bits

Point: TypeAlias = tuple[float, float]
Edge: TypeAlias = tuple[Point, Point]


class Region(ABC):
    """Where an object is."""

    box: Box  # the smallest around it
    area: float
    canvas: Box | None  # the image, where its size is known

    @abstractmethod
    def contains(self, point: Point) -> bool:
        """Whether the point (x, y) is on the object."""


@dataclass(frozen=True, slots=True)
class Runs(Region):
    """Columns of pixels from top to bottom, left to right, by turns off and on the object.

    Pixel (column, row) covers [column, column + 1) x [row, row + 1); coordinates are pixels times `scale`.
    """

    ends: tuple[int, ...]  # of each run, counted in pixels; the first run is off the object
    size: tuple[int, int]  # height, width
    scale: tuple[float, float]  # of x, of y
    box: Box
    area: float
    canvas: Box

    def contains(self, point: Point) -> bool:
        """The point's pixel is on; the right and lower border belong to the last pixel."""
        (height, width), (right, lower) = self.size, self.canvas[2:]
        if not 0 <= point[0] <= right or not 0 <= point[1] <= lower:
            return False
        column = min(int(point[0] / self.scale[0]), width - 1)
        row = min(int(point[1] / self.scale[1]), height - 1)
        return bisect_right(self.ends, column * height + row) % 2 == 1


@dataclass(frozen=True, slots=True)
class Polygons(Region):
    """The union of polygons in the unit of the answers; where a polygon crosses itself, even-odd."""

    edges: tuple[tuple[Edge, ...], ...]
    box: Box
    area: float  # of the largest of them
    canvas: Box | None = None

    def contains(self, point: Point) -> bool:
        """Inside an odd number of times, or on an edge's left or upper side."""
        return any(_crossings(point, edges) % 2 == 1 for edges in self.edges)


def read_region(value: Any, scale: float | None = None) -> Region | None:
    """{"size": [height, width], "counts": text or list}, or [[x1, y1, x2, y2, x3, y3, ...], ...]; None for neither.

    Also None for run lengths that do not add up, and for a mask of nothing. `scale` is what the width and the height of
    a mask of runs are in the coordinates of answers (1000 where these are thousandths); without it, pixels count.
    """
    return _read_runs(value, scale) if isinstance(value, dict) else _read_polygons(value)


def _read_runs(value: dict[str, Any], scale: float | None) -> Runs | None:
    size, counts = value.get("size"), value.get("counts")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(_is_side(side) for side in size):
        return None
    height, width = int(size[0]), int(size[1])
    lengths = _uncompressed(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, list) or not 0 < len(lengths) <= MAX_RUNS:
        return None
    if not all(type(length) is int and length >= 0 for length in lengths) or sum(lengths) != height * width:
        return None
    ends = tuple(accumulate(lengths))
    scales = (1.0, 1.0) if scale is None else (scale / width, scale / height)
    box = _box_of_runs(ends, height)
    if box is None:
        return None
    scaled = (box[0] * scales[0], box[1] * scales[1], box[2] * scales[0], box[3] * scales[1])
    canvas = (0.0, 0.0, width * scales[0], height * scales[1])
    return Runs(ends, (height, width), scales, scaled, sum(lengths[1::2]) * scales[0] * scales[1], canvas)


def _is_side(side: Any) -> bool:
    return type(side) is int and 0 < side <= MAX_SIDE


def _uncompressed(text: str) -> list[int] | None:
    """Five bits a character, the lowest first, with sign; from the fourth on, differences to the last but one."""
    if len(text) > MAX_RUNS:
        return None
    lengths: list[int] = []
    number = shift = 0
    for code in map(ord, text):
        bits = code - 48
        if not 0 <= bits < 64 or shift >= 5 * MAX_GROUPS:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = shift = 0
    return lengths if shift == 0 else None


def _box_of_runs(ends: Sequence[int], height: int) -> Box | None:
    """In pixels; a run that goes on in the next column touches the upper and the lower border."""
    runs = [(start, end) for start, end in zip(ends[::2], ends[1::2], strict=False) if start < end]
    if not runs:
        return None
    is_broken = any(start // height != (end - 1) // height for start, end in runs)
    top = 0 if is_broken else min(start % height for start, _ in runs)
    bottom = height if is_broken else max((end - 1) % height for _, end in runs) + 1
    return (float(runs[0][0] // height), float(top), float((runs[-1][1] - 1) // height + 1), float(bottom))


def _read_polygons(value: Any) -> Polygons | None:
    if not isinstance(value, list | tuple) or not value or not all(isinstance(item, list | tuple) for item in value):
        return None
    if sum(len(item) for item in value) > 2 * MAX_CORNERS:
        return None
    found = [_corners(item) for item in value]
    polygons = [corners for corners in found if corners is not None]
    areas = [_area(corners) for corners in polygons]
    if len(polygons) < len(value) or not max(areas) > 0:
        return None
    xs, ys = zip(*(corner for corners in polygons for corner in corners), strict=True)
    edges = tuple(tuple(zip(corners, corners[1:] + corners[:1], strict=True)) for corners in polygons)
    return Polygons(edges, (min(xs), min(ys), max(xs), max(ys)), max(areas))


def _corners(flat: Sequence[Any]) -> list[Point] | None:
    numbers = [read_number(number, allow_text=False) for number in flat]
    found = [number for number in numbers if number is not None]
    if len(found) < len(numbers) or len(found) < 6 or len(found) % 2:
        return None
    return list(zip(found[::2], found[1::2], strict=True))


def _area(corners: Sequence[Point]) -> float:
    turned = [*corners[1:], corners[0]]
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(corners, turned, strict=True))) / 2


def _crossings(point: Point, edges: Sequence[Edge]) -> int:
    """How many edges a ray to the right crosses."""
    x, y = point
    return sum((y1 > y) != (y2 > y) and x < x1 + (y - y1) / (y2 - y1) * (x2 - x1) for (x1, y1), (x2, y2) in edges)
