# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Shapes of rows that data sets have now and then."""

from __future__ import annotations

import json

import pytest

from eval.annotations import bare_options, read_options, text_answer
from eval.benchmark import BENCHMARKS
from tests.unit.eval.annotated import VIDEO, items_of
from verl.errors import DataError

VCR = {
    "id": 3,
    "video_path": "video/x.mp4",
    "dimension": "Video Plot Analysis",
    "multiple-choice": True,
    "question": "Did the U.S.A. cook stop?A. Tired.\nB. Smoke.\nC. A bell rang.\n",
    "choices": {"A": "Tired.", "B": "Smoke.", "C": "A bell rang.", "D": ""},
    "answer": "C",
}
OVO = {"id": 8, "task": "OCR", "video": "v.mp4", "realtime": 0.03, "question": "Q?", "options": [5, 7], "gt": 1}
MMMU = {"id": "dev_Biology_3", "question": "Q?", "question_type": "multiple-choice", "answer": "B"}
MMMU_CONVERTED = {
    "problem_id": 1,
    "problem": "Q?",
    "path": "./dev_Biology_3.mp4",
    "original_question_type": "multiple-choice",
    "options": ["A. x", "B. y"],
    "solution": "<answer>E</answer>",
}
MMVU = {"id": "1", "question_type": "multiple-choice", "question": "Q?", "choices": {"A": "x"}, "answer": "A"}
CHIP = {
    "video": "videos/chip/a.mp4",
    "question": "How many chips?",
    "answer": "1 chips: 5",
    "dim": "counting_state",
    "num_state": 1,
    "num_operation": 5,
}


def test_options_come_in_many_forms():
    assert read_options({"A": "x", "B": "y", "C": "", "D": None}, "row") == ("x", "y")
    assert read_options({"A": "x", "B": None, "C": "z"}, "row") == ("x", "", "z")
    assert read_options([3, 2.5], "row") == ("3", "2.5")
    assert read_options(["A. x", "B) y", "C z", "D. w"], "row") == ("x", "y", "C z", "w")
    assert read_options(["A. x", "B) y", "z", "E. coli"], "row") == ("A. x", "B) y", "z", "E. coli")
    assert bare_options(["C. albicans", "B. subtilis", "E. coli"], "row") == ("C. albicans", "B. subtilis", "E. coli")
    assert bare_options(["A. x", "B. y"], "row") == bare_options("['x', 'y']", "row") == ("x", "y")
    with pytest.raises(DataError, match="row: options should be a list of texts"):
        read_options([None, "x"], "row")


def test_a_letter_where_a_text_should_be_counts_unless_options_are_letters():
    assert text_answer("B", ("cat", "dog"), "row") == "B"
    assert text_answer("B", ("B", "C"), "row") == "A"
    assert text_answer("B", ("C", "D"), "row") == text_answer("E", ("cat", "dog"), "row") == ""


def test_options_at_the_end_of_a_question_are_not_asked_twice(tmp_path):
    joined, alone = items_of("vcrbench", tmp_path, [VCR, {**VCR, "id": 5, "question": "Why?"}])
    assert joined.options == alone.options == ("Tired.", "Smoke.", "A bell rang.") and joined.answer == "C"
    asked = [BENCHMARKS["vcrbench"].ask["official"](item, [VIDEO]).user for item in (joined, alone)]
    choices = "A. Tired.\nB. Smoke.\nC. A bell rang."
    assert asked == [f"<video>Did the U.S.A. cook stop?{choices}", f"<video>Why?\n{choices}"]


def test_numbers_and_initials_are_options_of_ovo_bench(tmp_path):
    numbers, names = items_of("ovobench", tmp_path, [OVO, {**OVO, "id": 9, "options": ["B. Long", "A. Short"]}])
    assert (numbers.options, numbers.answer, numbers.media[0].end) == (("5", "7"), "B", 0.03)
    assert (names.options, names.answer) == (("B. Long", "A. Short"), "B")


def test_initials_are_options_of_video_mmmu(tmp_path):
    rows = [{**MMMU, "options": "['C. albicans', 'B. subtilis']"}]
    (item,) = items_of("videommmu", tmp_path, rows, "Perception/test.json")
    assert item.options == ("C. albicans", "B. subtilis")


def test_a_missing_option_keeps_the_letters_of_the_others(tmp_path):
    row = {"key": "m", "video_id": "v", "question": "Q?", "answer": "c", "answer_id": 2}
    texts = {f"answer_choice_{n}": text for n, text in enumerate(["a", None, "c", "d", ""])}
    (item,) = items_of("minerva", tmp_path, [{**row, **texts}])
    assert (item.options, item.answer) == (("a", "", "c", "d"), "C")


@pytest.mark.parametrize(
    ("file", "question", "answer", "right", "found"),
    [
        ("multi-choice", "What?\nA.runs\nB.sits", "B.sits", "B. sits", ("multiple choice", "B", ("runs", "sits"))),
        ("yes_no", "Is it?", "Yes ", "Yes, it is.", ("boolean", "yes", ())),
        (
            "caption_matching",
            "Which?\nCaption A: He runs.\nCaption B: He sits.",
            "Caption B: He sits",
            "Caption B: He sits.",
            ("multiple choice", "B", ("Caption A: He runs.", "Caption B: He sits.")),
        ),
    ],
)
def test_the_file_tells_the_kind_of_a_question(tmp_path, file, question, answer, right, found):
    rows = {"12": {"action": [{"question": question, "answer": answer}]}}
    (item,) = items_of("tempcompass", tmp_path, rows, f"{file}.json")
    assert item.labels["kind"] == (file,) and (item.problem_type, item.answer, item.options) == found
    assert BENCHMARKS["tempcompass"].official(item, right).score == 1.0


LONG = {"id": "v_0", "video_path": "v.mp4", "question": "Q?", "candidates": ["a", "b"], "correct_choice": 1}
TEMPORAL = {"question": "What?\nA. grows\nB. shrinks", "answer": "A. grows"}
VSI = {"id": 4, "dataset": "d", "scene_name": "s", "question_type": "object_counting", "question": "Q?"}


@pytest.mark.parametrize(
    ("name", "file", "rows", "message"),
    [
        ("mlvu_test", "a.json", [{"question_id": "AR_0", "option": "D"}], "row 0: there is no column 'candidates'"),
        ("mlvu_dev", "a.json", [{"candidates": []}], "row 0: there are no options"),
        ("mlvu_dev", "a.json", [{"candidates": ["x"], "video_name": "v.mp4"}], "row 0: there is no column 'video'"),
        ("mmvu", "a.json", [MMVU], "row 0: there is no column 'video'"),
        ("mmvu", "a.json", [{**MMVU, "video": "9.mp4"}], "row 0: the video '9.mp4' does not end in"),
        ("videommmu", "a.json", [MMMU_CONVERTED], "row 0: the answer 'E' is not the letter"),
        ("lvbench", "a.jsonl", json.dumps({"key": "k", "qa": ["x"]}), "a.jsonl:1, qa 0: should be an object"),
        (
            "tempcompass",
            "multi-choice.json",
            {"12": {"action": [TEMPORAL], "size": [TEMPORAL]}},
            "row 12: .'size'. are",
        ),
        (
            "tempcompass",
            "multi-choice.json",
            {"12": {"action": [{"question": "Q", "answer": "A"}]}},
            "row 12: there are",
        ),
        (
            "tempcompass",
            "yes_no.json",
            {"12": {"action": [{"question": "Q", "answer": "maybe"}]}},
            "row 12: the answer",
        ),
        ("videoreasonbench", "a.json", {"k": {**CHIP, "num_state": 9}}, "row k: numbers of states"),
        ("videoreasonbench", "a.json", {"k": {**CHIP, "num_operation": "x"}}, "row k: numbers of states"),
        ("videoreasonbench", "a.json", {"k": {**CHIP, "num_state": ""}}, "row k: numbers of states"),
        ("longvideobench", "lvb_val.json", [{**LONG, "candidates": None}], "row 0: options should be a list"),
        ("longvideobench", "lvb_val.json", [{**LONG, "candidates": "ab"}], "row 0: options should be a list"),
        ("hcstvg", "a.json", {"v.mp4": {"bbox": [], "st_frame": 1, "caption": "He sits."}}, "row v.mp4: there are no"),
        ("vsibench", "a.json", [{**VSI, "ground_truth": "nan"}], "row 0: the answer 'nan' is no number"),
        (
            "videommlu",
            "a.json",
            [{"problem_id": "y", "path": "y.mp4", "solution": ""}],
            "row 0: there is no description",
        ),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, name, file, rows, message):
    with pytest.raises(DataError, match=message):
        items_of(name, tmp_path, rows, file)


def test_subtitles_need_their_columns(tmp_path):
    (tmp_path / "subtitles").mkdir()
    with pytest.raises(DataError, match="v_0: there is no column 'subtitle_path' and no 'duration'"):
        items_of("longvideobench_subtitles", tmp_path, [LONG], "lvb_val.json")


def test_a_row_of_vidstg_has_sentences(tmp_path):
    (tmp_path / "vidor").mkdir()
    (tmp_path / "vidor" / "1.json").write_text(json.dumps({"trajectories": []}))
    span = {"begin_fid": 0, "end_fid": 9}
    row = {"vid": "1", "fps": 10, "used_segment": span, "temporal_gt": span}
    with pytest.raises(DataError, match="row 0: there is no list 'captions' and no list 'questions'"):
        items_of("vidstg", tmp_path, [row])
