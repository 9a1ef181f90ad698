# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Official annotations of VidSTG and HC-STVG, whose truths stand on frames, and answers by whole seconds."""

from __future__ import annotations

import json

import pytest

from eval.benchmark import BENCHMARKS
from eval.benchmarks import stvg_official
from eval.item import WRONG, Graded
from eval.overlap import interpolated
from eval.runner import read_items
from tests.unit.eval.annotated import official_annotations, official_items
from verl.errors import DataError


def said(time, boxes) -> str:
    return json.dumps({"time": time, "boxes": {str(at): box for at, box in boxes.items()}})


def grade(item, response, name=None):
    return BENCHMARKS[name or ("vidstg" if "/" in item.id else "hcstvg")].official(item, response)


def test_vidstg_rows_become_a_sentence_and_a_question_about_an_excerpt(tmp_path):
    sentence, question = official_items("vidstg", tmp_path)
    (medium,) = sentence.media
    assert (medium.path, medium.start, medium.end, medium.size) == ("0004/2401075277.mp4", 4.0, 14.0, (360, 640))
    assert sentence.labels == {"kind": ("declarative",)} and question.labels == {"kind": ("interrogative",)}
    assert sentence.question.startswith('Find this in the video: "A brown dog runs past a child."')
    assert question.question.startswith("What runs past the child?")
    # frames 60 to 100 of 10 a second, in an excerpt that begins with frame 40
    assert sentence.answer["time"] == [2.0, 6.0]
    # left edges are 10 + 2 * frame: second 2 is frame 60, second 5 is frame 90; at second 6 the tube is over
    assert {at: box[0] for at, box in sentence.answer["boxes"].items()} == {"2": 130, "3": 150, "4": 170, "5": 190}
    truth = sentence.fields["truth"]
    assert (truth.first, truth.end, len(truth.boxes)) == (10, 30, 20)  # 5 ticks a second


def test_vidstg_is_counted_on_five_ticks_a_second(tmp_path):
    sentence, _ = official_items("vidstg", tmp_path)
    moving = {at: [10 + 2 * (40 + 10 * at), 20, 60 + 2 * (40 + 10 * at), 120] for at in range(2, 7)}
    perfect = grade(sentence, said([2, 6], moving))
    assert perfect.score == pytest.approx(1) and perfect.parts["tiou"] == pytest.approx(1)
    half = grade(sentence, said([2, 4], moving))
    assert half.parts["tiou"] == pytest.approx(0.5) == half.parts["viou"]
    late = grade(sentence, said([4, 8], moving | {7: moving[6], 8: moving[6]}))
    assert late.parts["tiou"] == pytest.approx(2 / 6) and late.score == pytest.approx(2 / 6)
    shifted = {at: [x1 + 25, y1, x2 + 25, y2] for at, (x1, y1, x2, y2) in moving.items()}
    assert grade(sentence, said([2, 6], shifted)).score == pytest.approx(1 / 3)  # 25 of 50 pixels
    assert grade(sentence, said([2, 6], {4: moving[4]})).score == pytest.approx(
        sum(tick_iou(n) for n in range(-4, 5)) / 20
    )  # held for under a second on both sides
    for nothing in (said([7, 9], moving), said([4, 4], moving), "no idea", '{"boxes": {}}'):
        assert not grade(sentence, nothing).score


def tick_iou(ticks: int) -> float:
    """Overlap of boxes 50 pixels wide that moved 4 pixels a tick."""
    shared = 50 - 4 * abs(ticks)
    return shared / (100 - shared)


def test_hc_stvg_is_counted_on_every_frame(tmp_path):
    (item,) = official_items("hcstvg", tmp_path)
    assert item.answer["time"] == [pytest.approx(5), pytest.approx(9)] and item.media[0].size == (360, 640)
    assert item.answer["boxes"] == {str(at): [100, 50, 180, 250] for at in range(5, 9)}
    box, truth = [100, 50, 180, 250], item.fields["truth"]
    assert (truth.rate, truth.first, truth.end) == (pytest.approx(20), 101, 181)
    every = dict.fromkeys(range(0, 20), box)
    assert grade(item, said([5, 9], every)).score == pytest.approx(1)
    assert grade(item, said([5, 7], every)).score == pytest.approx(0.5)
    assert grade(item, said([1, 9], every)).score == pytest.approx(0.5)
    assert grade(item, said([0, 20], every)).score == pytest.approx(80 / 400)
    assert grade(item, said([5, 9], {5: box, 6: box})).score == pytest.approx(40 / 80)


def test_the_time_of_frames_without_times_follows_from_the_length_of_all_clips(tmp_path):
    folder = official_annotations("hcstvg", tmp_path)
    path = folder / "valv2.json"
    row = json.loads(path.read_text())
    (held,) = row.values()
    del held["st_time"], held["ed_time"]
    path.write_text(json.dumps(row))
    (item,) = read_items(BENCHMARKS["hcstvg"], path)
    assert item.answer["time"] == [pytest.approx(5), pytest.approx(9)]  # 400 frames in 20 seconds
    del held["img_num"]
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match="no column 'img_num' or 'frame_count'"):
        read_items(BENCHMARKS["hcstvg"], path)


@pytest.mark.parametrize(("name", "scale"), [("vidstg_1000", 1000), ("vidstg_1", 1), ("hcstvg_1000", 1000)])
def test_relative_boxes_are_turned_into_pixels_of_the_source(tmp_path, name, scale):
    item, *_ = official_items(name, tmp_path)
    boxes = {
        at: [x1 * scale / 640, y1 * scale / 360, x2 * scale / 640, y2 * scale / 360]
        for at, (x1, y1, x2, y2) in item.answer["boxes"].items()
    }
    assert grade(item, said(item.answer["time"], boxes), name).score > 0.9
    assert grade(item, said(item.answer["time"], item.answer["boxes"]), name).score < 0.5


def test_figures_by_the_published_conventions(tmp_path):
    sentence, question = official_items("vidstg", tmp_path)
    moving = {at: [10 + 2 * (40 + 10 * at), 20, 60 + 2 * (40 + 10 * at), 120] for at in range(2, 7)}
    rows = [
        Graded(item=sentence, grade=grade(sentence, said([2, 6], moving))),
        Graded(item=sentence, grade=grade(sentence, said([2, 4], moving))),  # exactly .5: not above it
        Graded(item=question, grade=grade(question, said([2, 3.2], moving))),  # exactly .3
        Graded(item=question, grade=WRONG),
    ]
    found = {name: (round(number.value, 6), number.n) for name, number in stvg_official.figures(rows).items()}
    assert found["m_vIoU"] == (45.0, 4) == found["m_tIoU"]
    assert (found["vIoU@0.3"], found["vIoU@0.5"]) == ((50.0, 4), (25.0, 4))
    assert (found["declarative m_vIoU"], found["interrogative m_vIoU"]) == ((75.0, 2), (15.0, 2))


def test_missing_boxes_are_named(tmp_path):
    folder = official_annotations("vidstg", tmp_path)
    rows = json.loads((folder / "test_annotations.json").read_text())
    (folder / "test_annotations.json").write_text(json.dumps([rows[0] | {"vid": "999"}]))
    with pytest.raises(DataError, match=r"no 999\.json among the annotations of VidOR"):
        read_items(BENCHMARKS["vidstg"], folder)
    rows[0]["captions"][0]["target_id"] = 7
    (folder / "test_annotations.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match="object 7 of 2401075277 has no box"):
        read_items(BENCHMARKS["vidstg"], folder)
    (folder / "vidor").rename(folder / "elsewhere")
    with pytest.raises(DataError, match="no folder vidor"):
        read_items(BENCHMARKS["vidstg"], folder)


def test_boxes_between_seconds():
    boxes = {2: (0.0, 0.0, 10.0, 10.0), 3: (10.0, 0.0, 20.0, 10.0)}
    assert interpolated(boxes, 2.5) == (5.0, 0.0, 15.0, 10.0) and interpolated(boxes, 2) == boxes[2]
    assert interpolated(boxes, 1.2) == boxes[2] and interpolated(boxes, 3.9) == boxes[3]
    assert interpolated(boxes, 1.0) is None and interpolated(boxes, 4.0) is None
