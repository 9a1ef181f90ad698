# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every benchmark that `python -m eval list` knows has rows that are read, worded, graded and added up."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import pytest

from eval.benchmark import BENCHMARKS
from eval.item import WRONG, Graded
from eval.runner import read_items
from tests.unit.eval.annotated import (
    CONVERTED,
    ROWS,
    SAMPLES,
    UNITS,
    VIDEO,
    items_of,
    official_annotations,
    official_items,
)
from tests.unit.eval.test_annotations import CONVERTED as PLAIN
from tests.unit.eval.test_annotations import OFFICIAL
from tests.unit.eval.test_structured import CONVERTED as STRUCTURED
from verl.errors import DataError

NAMES = [*SAMPLES["official"], *(name + end for name in ("vidstg", "hcstvg") for end in UNITS)]


def test_every_benchmark_has_rows(tmp_path):
    assert len(items_of("videommmu_gain", tmp_path, ROWS["videommmu_with_image"])) > 1
    known = {*PLAIN, *STRUCTURED, *CONVERTED, *NAMES, *(one[0] for one in OFFICIAL), "videommmu_gain"}
    assert set(BENCHMARKS) - known == set()


@pytest.mark.parametrize("name", NAMES)
def test_official_rows_are_read_worded_and_graded(tmp_path, name):
    benchmark, items = BENCHMARKS[name], official_items(name, tmp_path)
    wanted = {"tempcompass": 4, "odvbench": 2, "hcstvg": 1, "hcstvg_1000": 1, "hcstvg_1": 1}
    wanted |= {
        "videomme_v2": 4,
        "videomme_v2_subtitles": 4,
        "videomathqa_mbin_subtitles": 4,
        "longvideobench_subtitles": 1,
    }
    assert len(items) == wanted.get(name, 2)
    for item in items:
        assert item.media and item.question and not item.video.startswith((".", "/"))
        for ask in benchmark.ask.values():
            words = ask(item, [VIDEO])
            assert words.user.startswith("<video>") and item.question.split("\n")[0].rstrip(". ") in words.user
        assert not benchmark.official(item, "").score
    failed = benchmark.aggregate([Graded(item=item, grade=WRONG) for item in items])
    right = [Graded(item=item, grade=replace(WRONG, score=1.0)) for item in items]
    lowest = {"G-Avg (2 to 10)": 2.0}
    for headline, number in list(failed.items())[:1]:
        assert number.value == lowest.get(headline, 0.0)
    assert benchmark.judging is not None or name.startswith(("vidstg", "hcstvg")) or benchmark.aggregate(right)


@pytest.mark.parametrize("name", CONVERTED)
def test_converted_rows_are_read(tmp_path, name):
    items = items_of(name, tmp_path, CONVERTED[name])
    assert len(items) == len(CONVERTED[name]) == len({item.id for item in items})
    letters = [row["solution"].removeprefix("<answer>")[0] for row in CONVERTED[name]]
    assert [item.answer for item in items] == letters
    rows = [Graded(item=item, grade=BENCHMARKS[name].official(item, item.answer)) for item in items]
    assert [row.grade.score for row in rows] == [1.0] * len(items)
    assert next(iter(BENCHMARKS[name].aggregate(rows).values())).value == 100


def test_subtitles_of_video_math_qa_are_those_of_the_frames_and_none_are_told_too(tmp_path):
    spoken, silent = official_items("videomathqa_subtitles", tmp_path)
    ask = BENCHMARKS["videomathqa_subtitles"].ask["official"]
    led = "<video>This video's subtitles are listed below: \nToday we count triangles.\nSelect the best answer to the"
    led += (
        " following multiple-choice question based on the video and the subtitles. Respond with the letter (A, B, C, D"
    )
    led += " or E) of the correct option.\n"
    assert ask(spoken, [VIDEO]).user.startswith(led)  # its frames are those of the first subtitle
    assert ask(silent, [VIDEO]).user.startswith(led.replace("Today we count triangles.", "No subtitles available"))
    plain = BENCHMARKS["videomathqa"].ask["official"](spoken, [VIDEO]).user
    assert "subtitles" not in plain and plain.startswith("<video>Select the best answer")
    pairs = official_items("videomathqa_mbin_subtitles", tmp_path / "pairs")
    assert len({item.id for item in pairs}) == 4 and pairs[0].subtitles == spoken.subtitles


@pytest.mark.parametrize("inside", ["", "subtitles/", "subtitle/"])
def test_an_archive_of_subtitles_is_read_as_it_is(tmp_path, inside):
    annotations = official_annotations("videomathqa_subtitles", tmp_path)
    folder = annotations.parent / "subtitles"
    with zipfile.ZipFile(annotations.parent / "subtitles.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"{inside}{file.name}")
            file.unlink()
    folder.rmdir()
    spoken, silent = read_items(BENCHMARKS["videomathqa_subtitles"], annotations)
    assert [one.text for one in spoken.subtitles] == ["Today we count triangles.", "Let us begin."]
    assert silent.subtitles == ()
    (annotations.parent / "subtitles.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="not a zip archive"):
        read_items(BENCHMARKS["videomathqa_subtitles"], annotations)
