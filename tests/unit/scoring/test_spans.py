# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl.scoring.spans import read_spans, temporal_iou


@pytest.mark.parametrize(
    ("source", "is_object", "is_flat"),
    [
        ('{"time": [10, 20]}', True, True),
        ('{"time": ["10", "20.0"], "confidence": 0.9}', True, True),
        ('{"time": [[10, 20]]}', True, False),
        ('```json\n{"time": [10, 20]}\n```', False, True),
        ('From 3 to 5? No: {"time": [10, 20]}.', False, True),
        ("[10, 20]", False, True),
        ("from 10 to 20 seconds", False, True),
        ("10-20", False, True),
        ("00:10 - 00:20", False, True),
        ("0:00:10 to 0:00:20", False, True),
        ("[10s, 20s]", False, True),
        ("[00:10 - 00:20]", False, True),
        ("\\boxed{[10, 20]}", False, True),
        ("```json\n[10, 20]\n```", False, True),
        ("\u4ece10\u79d2\u523020\u79d2", False, True),
        ({"time": [10, 20]}, True, True),
        ([[10, 20]], False, False),
    ],
)
def test_span_is_read_from_json_prose_and_clock_times(source: object, is_object: bool, is_flat: bool) -> None:
    reading = read_spans(source)
    assert reading is not None
    assert (reading.spans, reading.is_object, reading.is_flat) == (((10.0, 20.0),), is_object, is_flat)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "10",
        "10, 20, 30",
        "at 3 it starts, then 10 to 20",
        "10 to 20 minutes",
        "10 Minuten bis 20 Minuten",
        "10 \u5206\u949f\u5230 20 \u5206\u949f",
        "[10 - 20 - 30]",
        "frames 10 to 20",
        "-10 to 20",
        "20 to 10",
        "10 to 10",
        '{"time": [20, 10]}',
        '{"time": [10, 10]}',
        '{"time": [10]}',
        '{"time": [10, 15, 20]}',
        '{"time": [true, 20]}',
        '{"time": [NaN, 20]}',
        '{"time": [10, Infinity]}',
        '{"time": [10, 1e400]}',
        '{"time": [10, 1e13]}',
        '{"time": ["nan", "20"]}',
        '{"time": [[1, 2], 3]}',
        '{"time": []}',
        '{"time": {"start": 10, "end": 20}}',
        "{'time': [10, 20]}",
        '{"time": [10, 20,]}',
        '{"time": [0, 5]} {"time": [10, 20]}',
        '{"time": [0, 5], "time": [10, 20]}',
        "[" * 3000,
        '{"a":' * 9000,
        '{"time": [1, ' + "9" * 5000 + "]}",
        json.dumps({"time": [[n, n + 0.5] for n in range(1001)]}),
        None,
        12,
    ],
)
def test_anything_else_is_no_span(source: object) -> None:
    assert read_spans(source) is None


def test_instants_are_read_on_request() -> None:
    assert read_spans("[5, 5]") is None
    reading = read_spans("[5, 5]", allow_points=True)
    assert reading is not None and reading.spans == ((5.0, 5.0),)


def test_an_instant_is_half_a_second_wide() -> None:
    assert temporal_iou([(15, 15)], [(15, 15)]) == 1.0
    assert temporal_iou([(14.75, 15.25)], [(15, 15)]) == 1.0
    assert temporal_iou([(0, 60)], [(15, 15)]) == pytest.approx(0.5 / 60)


spans = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda x: (float(x[0]), float(x[0] + x[1]))),
    min_size=1,
    max_size=5,
)


@given(spans, spans)
def test_iou_is_that_of_the_seconds_covered(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> None:
    def seconds(found: list[tuple[float, float]]) -> set[int]:
        return {second for start, end in found for second in range(int(start), int(end))}

    shared, union = seconds(ours) & seconds(theirs), seconds(ours) | seconds(theirs)
    assert temporal_iou(ours, theirs) == pytest.approx(len(shared) / len(union))
    assert temporal_iou(ours, theirs) == pytest.approx(temporal_iou(theirs, ours))
    assert temporal_iou(ours, ours) == 1.0
