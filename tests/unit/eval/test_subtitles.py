# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.benchmark import BENCHMARKS
from eval.runner import read_items
from eval.subtitles import between_frames, on_frames, read_srt, read_words, subtitle_folder, timed
from verl.errors import DataError

INTERLEAVED = json.loads((Path(__file__).parents[2] / "vectors" / "eval_aggregates.json").read_text())[
    "longvideobench_interleave"
]

SRT = """\ufeff1
00:00:01,500 --> 00:00:03,000
<i>Good</i> morning,
everyone.

2
01:00:00,000 --> 01:00:01,250
Bye. 1 < 2
"""


def test_srt_files_are_read(tmp_path):
    (tmp_path / "a.srt").write_text(SRT.replace("\n", "\r\n"), encoding="utf-8")
    found = [(one.start, one.end, one.text) for one in read_srt(tmp_path / "a.srt")]
    assert found == [(1.5, 3.0, "Good morning, everyone."), (3600.0, 3601.25, "Bye. 1 < 2")]


def test_a_subtitle_is_on_a_frame_from_its_start_until_before_its_end(tmp_path):
    (tmp_path / "a.srt").write_text(SRT)
    subtitles = read_srt(tmp_path / "a.srt")
    assert [len(on_frames(subtitles, [time])) for time in (1.49, 1.5, 2.99, 3.0)] == [0, 1, 1, 0]
    assert len(on_frames(subtitles, [2.0, 2.5, 3600.5])) == 2


@pytest.mark.parametrize("case", INTERLEAVED)
def test_subtitles_stand_between_frames_as_published(case):
    subtitles = [timed(row, case["starting_timestamp"], case["duration"], "row") for row in case["subtitles"]]
    line, shown = [], 0
    for before, one in between_frames(subtitles, case["frame_timestamps"]):
        line += [f"<F{n}>" for n in range(shown, before)] + [one.text]
        shown = before
    line += [f"<F{n}>" for n in range(shown, len(case["frame_timestamps"]))]
    assert line == case["shown"]


def test_words_are_joined_until_a_pause_or_after_a_full_stop(tmp_path):
    words = [("Hi", 0, 0.4), ("there.", 0.4, 0.8), ("So", 0.95, 1.0), ("we", 1.05, 1.2), ("go", 2.0, 2.1)]
    lines = [json.dumps({"text": text, "start_time": start, "end_time": end}) for text, start, end in words]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = [(one.start, one.end, one.text) for one in read_words(tmp_path / "a.jsonl")]
    assert found == [(0, 0.8, "Hi there."), (0.95, 1.2, "So we"), (2.0, 2.1, "go")]


@pytest.mark.parametrize("line", ['{"text": "x"}', "{", "[1]"])
def test_a_word_without_times_is_named(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(line)
    with pytest.raises(DataError, match=r"a\.jsonl:1"):
        read_words(tmp_path / "a.jsonl")


@pytest.mark.parametrize("row", [{}, {"timestamp": [1]}, {"start": "soon", "end": "00:00:01", "line": "x"}])
def test_a_row_that_is_no_subtitle_is_named(row):
    with pytest.raises(DataError, match=r"v\.json row 3: is no subtitle"):
        timed(row, 0.0, 9.0, "v.json row 3")


def test_subtitles_are_found_beside_the_annotations(tmp_path):
    annotations = tmp_path / "annotations"
    annotations.mkdir()
    row = {"question_id": "001-1", "videoID": "abc", "question": "Q?", "options": ["A. x", "B. y"], "answer": "B"}
    (annotations / "test.json").write_text(json.dumps([row, row | {"question_id": "002-1", "videoID": "mute"}]))
    for place in (annotations, annotations / "test.json"):
        with pytest.raises(DataError, match="put subtitles there"):
            subtitle_folder(place)
    (tmp_path / "subtitle").mkdir()
    (tmp_path / "subtitle" / "abc.srt").write_text(SRT)
    for place in (annotations, annotations / "test.json"):
        spoken, mute = read_items(BENCHMARKS["videomme_subtitles"], place)
        assert [one.text for one in spoken.subtitles] == ["Good morning, everyone.", "Bye. 1 < 2"]
        assert mute.subtitles == ()
