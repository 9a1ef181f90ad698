# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmark import BENCHMARKS
from eval.benchmarks import stvg
from eval.grading import official_grade, sized
from eval.item import Graded
from eval.overlap import hc_stvg, span_iou, st_align, vidstg
from tests.unit.eval.annotated import ROWS, VIDEO, items_of


@pytest.mark.parametrize("scale", [(1, "stvg"), (1000, "stvg_1000"), (1.0, "stvg_1")], ids=lambda one: one[1])
def test_boxes_are_graded_in_the_unit_that_is_asked_for(tmp_path, scale):
    units, name = scale
    benchmark = BENCHMARKS[name]
    (item,) = items_of(name, tmp_path, ROWS["stvg"][1:2])
    told = benchmark.ask["instruct"](item, [VIDEO]).user
    across, along = (1, 1) if name == "stvg" else (units / 640, units / 360)
    assert ("640 wide and 360 high" in told) == (name == "stvg") and (f"from 0 to {units:g}" in told) == (
        name != "stvg"
    )
    boxes = {
        at: [x1 * across, y1 * along, x2 * across, y2 * along] for at, (x1, y1, x2, y2) in item.answer["boxes"].items()
    }
    response = json.dumps({"time": item.answer["time"], "boxes": boxes})
    seen = sized(item, [VIDEO])
    assert seen.media[0].size == (360, 640) and sized(item, []) == item
    for text in (response, f"<think>no</think><answer>{response}</answer>", f"```json\n{response}\n```"):
        assert official_grade(benchmark, "thinking", seen, text).score == pytest.approx(1)
    if name != "stvg":
        assert benchmark.official(item, response).score == 0  # nobody knows how large the frame is
        assert benchmark.official(item, response).parts["tiou"] == 1
        (known,) = items_of(name, tmp_path, [ROWS["stvg"][1] | {"width": 640, "height": 360}])
        assert benchmark.official(known, response).score == pytest.approx(1)


def test_tubes_and_times_are_counted_apart(tmp_path):
    rows = {row["problem_id"]: row for row in ROWS["stvg"]}
    unboxed, boxed = items_of("stvg", tmp_path, [rows[1001], rows[517]])
    grade = BENCHMARKS["stvg"].official
    both = [
        Graded(item=unboxed, grade=grade(unboxed, '{"time": [37.370666666666665, 37.87116666666667], "boxes": {}}')),
        Graded(item=boxed, grade=grade(boxed, '{"time": [28, 35], "boxes": {"29": [329, 0, 436, 52]}}')),
    ]
    found = stvg.figures(both)
    assert found["m_vIoU"].n == 1 and found["m_tIoU"].n == 2
    assert found["m_tIoU without boxes"].value == pytest.approx(100)
    assert found["m_sIoU"].value == 100 and found["m_vIoU"].value == pytest.approx(100 / 7)
    assert found["HC-STVG m_vIoU"].value == pytest.approx(100 / 8) == found["VidSTG m_vIoU"].value
    assert found["vIoU@0.3"].value == 0


def test_boxes_outside_the_time_count_by_one_script_alone(tmp_path):
    (item,) = items_of("stvg", tmp_path, ROWS["stvg"][1:2])
    parts = BENCHMARKS["stvg"].official(item, json.dumps(item.answer | {"time": [50, 60]})).parts
    assert parts["viou"] == 1 and parts["vidstg"] == 0 == parts["tiou"]
    assert parts["hc_stvg"] == pytest.approx(7 / 32)


SECONDS = st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 3))
SPANS = st.tuples(SECONDS, SECONDS)
BOXES = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(51, 100), st.integers(51, 100))
TUBES = st.dictionaries(st.integers(0, 12), BOXES, max_size=8)


@settings(max_examples=40, deadline=None)
@given(SPANS, SPANS, st.floats(0.1, 10))
def test_span_iou_is_a_symmetric_share_that_no_unit_of_time_changes(ours, theirs, unit):
    found = span_iou(ours, theirs)
    assert 0 <= found <= 1 and found == span_iou(theirs, ours)
    assert span_iou([x * unit for x in ours], [x * unit for x in theirs]) == pytest.approx(found, abs=1e-6)
    assert span_iou(sorted(ours), sorted(ours)) == (ours[0] != ours[1])


@settings(max_examples=40, deadline=None)
@given(TUBES, TUBES)
def test_a_tube_overlaps_no_more_than_its_time_and_its_boxes(ours, theirs):
    found = st_align(ours, theirs)
    assert 0 <= found.viou <= min(found.tiou, found.siou) + 1e-9 and found.siou <= 1
    assert found.viou == pytest.approx(found.tiou * found.siou) == st_align(theirs, ours).viou
    if ours and theirs:
        ends = [(min(tube), max(tube)) for tube in (ours, theirs)]
        inclusive = hc_stvg(ours, theirs, *ends)
        half_open = vidstg(ours, theirs, *((first, last + 1) for first, last in ends))
        assert inclusive.viou <= found.viou + 1e-9 and half_open.viou == pytest.approx(inclusive.viou)
        assert st_align(theirs, theirs).viou == pytest.approx(1)
