# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verl.scoring.boxes import box_iou, matched_iou, read_boxes
from verl.scoring.objects import read_value
from verl.scoring.tubes import read_tube, tube_iou

BOX = [1, 2, 3, 4]
boxes = st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 9)] * 2).map(
    lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
)


@pytest.mark.parametrize(
    ("source", "count", "is_object", "is_flat"),
    [
        ('{"boxes": [1, 2, 3, 4]}', 1, True, True),
        ('{"boxes": ["1", "2.0", 3, 4]}', 1, True, True),
        ('{"boxes": [[1, 2, 3, 4]]}', 1, True, False),
        ('{"bbox_2d": [1, 2, 3, 4]}', 1, False, True),
        ('[{"bbox_2d": [1, 2, 3, 4], "label": "dog"}]', 1, False, True),
        ('[{"bbox_2d": [1, 2, 3, 4]}, {"boxes": [1, 2, 3, 9]}]', 2, False, False),
        ("[1, 2, 3, 4]", 1, False, True),
        ('```json\n{"boxes": [1, 2, 3, 4]}\n```', 1, False, True),
        ('```json\n[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [1, 2, 3, 9]}]\n```', 2, False, False),
        ("Here:\n```json\n[1, 2, 3, 4]\n```", 1, False, True),
        ("\\boxed{[1, 2, 3, 4]}", 1, False, True),
        ("[1, 2, 3, 4].", 1, False, True),
        ({"boxes": BOX}, 1, True, True),
        (BOX, 1, False, True),
    ],
)
def test_boxes_are_read(source: Any, count: int, is_object: bool, is_flat: bool) -> None:
    reading = read_boxes(source)
    assert reading is not None
    assert (len(reading.boxes), reading.is_object, reading.is_flat) == (count, is_object, is_flat)
    assert reading.boxes[0] == (1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "1, 2, 3, 4",
        "{}",
        '{"boxes": []}',
        '{"boxes": [3, 2, 1, 4]}',
        '{"boxes": [1, 2, 1, 4]}',
        '{"boxes": [1, 2, 3]}',
        '{"boxes": [true, 2, 3, 4]}',
        '{"boxes": [1, 2, 3, NaN]}',
        '{"boxes": [1, 2, 3, 1e400]}',
        '{"boxes": [[1, 2, 3, 4], [1, 2]]}',
        '{"boxes": [1, 2, 3, 4], "bbox_2d": [1, 2, 3, 4]}',
        '{"boxes": [1, 2, 3, 4]} {"boxes": [1, 2, 3, 4]}',
        json.dumps({"boxes": [BOX] * 121}),
        "[" * 50_000,
        "x" * 70_000,
    ],
)
def test_anything_else_is_no_box(source: str) -> None:
    assert read_boxes(source) is None


def test_a_key_that_occurs_twice_has_no_value() -> None:
    value, is_whole = read_value('{"time": [1, 2], "time": [3, 4], "boxes": {}}')
    assert is_whole and not isinstance(value["time"], list) and value["boxes"] == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(boxes, min_size=1, max_size=4), st.lists(boxes, min_size=1, max_size=4))
def test_matching_is_the_best_of_all(ours: list[Any], theirs: list[Any]) -> None:
    few, many = sorted((ours, theirs), key=len)
    best = max(sum(map(box_iou, few, order)) for order in permutations(many, len(few)))
    assert matched_iou(ours, theirs) == pytest.approx(best / len(many))


def test_seconds_may_be_written_in_several_ways_but_not_twice() -> None:
    reading = read_tube({"8": BOX, "09": BOX, "10.0": BOX, "11s": BOX, "12": [1, 2]})
    assert reading is not None
    assert (sorted(reading.boxes), reading.is_whole) == ([8, 9, 10, 11], False)
    reading = read_tube({"8": BOX, "8.0": BOX, "9": BOX, "8.5": BOX})
    assert reading is not None
    assert (sorted(reading.boxes), reading.is_whole) == ([9], False)
    assert read_tube([BOX]) is None
    assert read_tube({str(key): BOX for key in range(4_097)}) is None


def test_a_second_without_a_box_counts() -> None:
    box = (0.0, 0.0, 2.0, 2.0)
    assert tube_iou({1: box, 9: box}, {1: box, 2: box}) == 0.5
    assert tube_iou({}, {1: box}) == 0.0
