# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from string import ascii_uppercase

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.annotations import index_answer, nested, read_annotations, read_options, split_options
from eval.benchmark import BENCHMARKS
from eval.runner import read_items
from verl.data.files import Row
from verl.errors import DataError

ROWS = json.loads((Path(__file__).parents[2] / "vectors" / "eval_rows.json").read_text())
AGGREGATES = json.loads((Path(__file__).parents[2] / "vectors" / "eval_aggregates.json").read_text())
OFTEN = {"mlvu_dev": "mlvu-dev", "mlvu_test": "mlvu-test", "videoholmes": "holmes", "mmvu": "mmvu-mc"}
CONVERTED = {
    **{name: name for name in ("videomme", "mvbench", "motionbench", "lvbench", "longvideobench", "minerva")},
    **{name: name for name in ("longvideoreason", "videomathqa")},
    **OFTEN,
    "mmvu_all": "mmvu-all",
    "videomathqa_mbin": "videomathqa",
    "livesports3k": "livesports3k_qa",
}


def write(path: Path, rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize(("name", "file"), CONVERTED.items())
def test_converted_rows_are_read(tmp_path, name, file):
    items = read_items(BENCHMARKS[name], write(tmp_path / f"{file}.json", ROWS[file]))
    assert len({item.id for item in items}) == len(items) > 0
    for item in items:
        assert item.question and item.video and item.media[0].path == item.video and not item.video.startswith(".")
        if item.problem_type == "multiple choice":
            assert item.answer in ascii_uppercase[: len(item.options)]
            assert not any(option.startswith(("A. ", "B. ", "A: ")) for option in item.options)
        else:
            assert name == "mmvu_all" and item.answer and not item.options


def test_all_rows_of_a_kind_are_there(tmp_path):
    counts = {
        name: len(read_items(BENCHMARKS[name], write(tmp_path / f"{name}.json", ROWS[CONVERTED[name]])))
        for name in CONVERTED
    }
    assert counts["videomathqa"] + counts["videomathqa_mbin"] == len(ROWS["videomathqa"])
    whole = [name for name in counts if not name.startswith("videomathqa")]
    assert {name: counts[name] for name in whole} == {name: len(ROWS[CONVERTED[name]]) for name in whole}


def test_a_wrapped_list_is_read_too(tmp_path):
    path = write(tmp_path / "a.json", {"benchmark": "lvbench", "rows": ROWS["lvbench"]})
    assert len(read_items(BENCHMARKS["lvbench"], path)) == len(ROWS["lvbench"])


def test_letters_printed_before_options_decide_and_repaired_rows_are_told_apart(tmp_path):
    items = read_items(BENCHMARKS["longvideoreason"], write(tmp_path / "a.json", ROWS["longvideoreason"]))
    assert {item.labels["options"] for item in items} == {("in order",), ("repaired",)}
    assert read_options(["B. b", "A. a", "D. d", "C. "], "row") == ("a", "b", "", "d")
    assert read_options(["A. .", "B. b", "A. a", "B. more"], "row") == ("a", "b")
    assert read_options(["plain", "A. labelled"], "row") == ("plain", "A. labelled")
    assert read_options({"A": "x", "B": "y"}, "row") == ("x", "y")


CHOICES = ["red", "blue", "green"]
FRUIT = {f"answer_choice_{n}": text for n, text in enumerate(["a", "b", "c", "d", "e"])}
OFFICIAL = [
    (
        "videomme",
        "test.json",
        [{"question_id": "001-1", "videoID": "abc", "question": "Q?", "options": ["A. x", "B. y"], "answer": "B"}],
        ("001-1", "videos/abc.mp4", "B", ("x", "y")),
    ),
    (
        "videomme_v2",
        "test.json",
        [
            {
                "question_id": "001-1",
                "video_id": "001",
                "group_type": "logic",
                "group_structure": "[1, [2, 3], 4]",
                "question": "Q?",
                "options": "A. x\nB. y\nC. z",
                "answer": "C",
            }
        ],
        ("001-1", "videos/001.mp4", "C", ("x", "y", "z")),
    ),
    (
        "mvbench",
        "json/action_sequence.json",
        [{"video": "v.mp4", "question": "Q?", "candidates": CHOICES, "answer": "blue", "start": 1, "end": 4.5}],
        ("action_sequence-0", "star/Charades_v1_480/v.mp4", "B", tuple(CHOICES)),
    ),
    (
        "motionbench",
        "video_info.meta.jsonl",
        [
            {
                "key": "k",
                "video_path": "v.mp4",
                "question_type": "Action Order",
                "qa": [
                    {"uid": "u1", "question": "Q?\nA. x\nB. y", "answer": "A"},
                    {"uid": "u2", "question": "Hidden?\nA. x\nB. y", "answer": "NA"},
                ],
            }
        ],
        ("u1", "v.mp4", "A", ("x", "y")),
    ),
    (
        "lvbench",
        "video_info.meta.jsonl",
        [{"key": "k", "type": "live", "qa": [{"uid": "7", "question": "Q?\n(A) x\n(B) y", "answer": "B"}]}],
        ("7", "videos/k.mp4", "B", ("x", "y")),
    ),
    (
        "longvideobench",
        "lvb_val.json",
        [{"id": "v_0", "video_path": "v.mp4", "question": "Q?", "candidates": CHOICES, "correct_choice": 2}],
        ("v_0", "videos/v.mp4", "C", tuple(CHOICES)),
    ),
    (
        "mlvu_dev",
        "1_plotQA.json",
        [{"video": "v.mp4", "question": "Q?", "candidates": CHOICES, "answer": "red", "question_type": "plotQA"}],
        ("1_plotQA-0", "video/1_plotQA/v.mp4", "A", tuple(CHOICES)),
    ),
    (
        "videoholmes",
        "test_Video-Holmes.json",
        [
            {
                "video ID": "v",
                "Question ID": "q9",
                "Question Type": "SR",
                "Question": "Q?",
                "Options": {"A": "x", "B": "y"},
                "Answer": "B",
            }
        ],
        ("q9", "videos_cropped/v.mp4", "B", ("x", "y")),
    ),
    (
        "minerva",
        "minerva.json",
        [{"key": "m1", "video_id": "v", "question": "Q?", "answer": "d", "answer_id": 3, **FRUIT}],
        ("m1", "v.mp4", "D", tuple("abcde")),
    ),
    (
        "longvideoreason",
        "test.json",
        [{"videos": "v.mp4", "problem": "Why? A. x B. y C. z", "answer": "B"}],
        ("test-0", "v.mp4", "B", ("x", "y", "z")),
    ),
    (
        "mmvu",
        "validation.json",
        [
            {
                "id": "validation_1",
                "video": "https://example.org/mmvu/videos/Art/8.mp4",
                "question_type": "multiple-choice",
                "question": "Q?",
                "choices": {"A": "x", "B": "y"},
                "answer": "A",
            },
            {
                "id": "validation_2",
                "question_type": "open-ended",
                "question": "Q?",
                "choices": {"A": ""},
                "answer": "x",
            },
        ],
        ("validation_1", "videos/Art/8.mp4", "A", ("x", "y")),
    ),
    (
        "odvbench",
        "targeting_single_static_objects_v4.json",
        [{"video": "d/v.mp4", "start": 2, "end": 6, "question": "Q?", "candidates": CHOICES, "answer": "green"}],
        ("targeting_single_static_objects_v4-0", "d/v.mp4", "C", tuple(CHOICES)),
    ),
    (
        "livesports3k",
        "sports3k-qa.jsonl",
        [
            {
                "video_id": "v",
                "question_id": "e1_q2",
                "begin": 3.5,
                "end": 9,
                "q_type": "Who",
                "OCR": 1,
                "question": "Q?",
                "options": ["A: x", "B: y"],
                "answer": "B",
            }
        ],
        ("v_e1_q2", "v.mp4", "B", ("x", "y")),
    ),
    (
        "videomathqa_mbin",
        "multi_binary.json",
        [{"question_id": "q", "videoID": "v", "question": "Q?", "options": ["A. 1", "B. 2"], "answer": "A"}] * 2,
        ("q", "videos/v.mp4", "A", ("1", "2")),
    ),
]


@pytest.mark.parametrize(("name", "file", "rows", "wanted"), OFFICIAL, ids=[one[0] for one in OFFICIAL])
def test_official_annotations_are_read(tmp_path, name, file, rows, wanted):
    path = tmp_path / file
    write(path, rows)
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for place in (path, tmp_path):
        first, *more = read_items(BENCHMARKS[name], place)
        assert (first.id, first.video, first.answer, first.options) == wanted
        assert [item.id for item in more] == (["q#2"] if name == "videomathqa_mbin" else [])
    excerpt = (first.media[0].start, first.media[0].end)
    clips = {"mvbench": (1.0, 4.5), "odvbench": (2.0, 6.0), "livesports3k": (3.5, 9.0)}
    assert excerpt == clips.get(name, (None, None))


def test_labels_of_official_rows_are_those_of_the_breakdowns(tmp_path):
    labels = {}
    for name, file, rows, _ in OFFICIAL:
        if name == "videomme_v2":
            continue  # its groups have the labels
        path = tmp_path / name / Path(file).with_suffix(".json").name
        (item, *_) = read_items(BENCHMARKS[name], write(path, rows))
        labels[name] = item.labels
        assert set(item.labels) <= set(BENCHMARKS[name].breakdowns) or name == "videomathqa_mbin"
    assert labels["mvbench"] == {"task": ("Action Sequence",)}
    assert labels["motionbench"] == {"question_type": ("Action Order",)}
    assert labels["mmvu"] == {"subject": ("Art",)}
    assert labels["livesports3k"] == {"question_type": ("Who",), "OCR": ("yes",)}


def test_parquet_with_padded_options_is_read(tmp_path):
    row = {"id": "v_0", "video_path": "v.mp4", "question": "Q?", "correct_choice": 1}
    options = {"option0": "x", "option1": "y", "option2": "N/A", "option3": "N/A", "option4": "N/A"}
    pq.write_table(pa.Table.from_pylist([row | options]), tmp_path / "validation-00000.parquet")
    (item,) = read_items(BENCHMARKS["longvideobench"], tmp_path)
    assert (item.answer, item.options) == ("B", ("x", "y"))


def test_a_truth_that_is_no_option_of_a_text_benchmark_is_kept_and_never_right(tmp_path, caplog):
    rows = [{"video": "v.mp4", "question": "", "candidates": CHOICES, "answer": "pink", "question_type": "needle"}]
    (item,) = read_items(BENCHMARKS["mlvu_dev"], write(tmp_path / "2_needle.json", rows))
    assert item.answer == "" and "2_needle.json row 0: its answer 'pink'" in caplog.text
    assert all(BENCHMARKS["mlvu_dev"].official(item, text).score == 0 for text in ("", ")", "A)", "A"))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"problem": "Q?", "problem_id": 1, "options": ["A. x", "B. y"], "path": "v.mp4"}, "no column 'solution'"),
        ({"solution": "<answer>C</answer>", "options": ["A. x", "B. y"]}, "'<answer>C</answer>' is not the letter"),
        ({"solution": "A", "options": []}, "there are no options in 'options'"),
        ({"solution": "A", "options": 7}, "options should be a list"),
        ({"solution": "A", "options": ["A. x", "B. y"], "path": ""}, "{path} is empty"),
        ({"solution": "A", "options": ["A. x", "B. y"], "start": 4, "end": 2}, "from 4.0 to 2.0 is empty"),
        ({"solution": "A", "options": ["A. x", "B. y"], "start": "soon"}, "['soon', None, None] are not all numbers"),
    ],
)
def test_a_bad_row_is_named_with_its_file(tmp_path, row, complaint):
    good = ROWS["lvbench"][0]
    bad = {"problem": "Q?", "problem_id": 1, "path": "v.mp4"} | row
    with pytest.raises(DataError) as caught:
        read_items(BENCHMARKS["lvbench"], write(tmp_path / "rows.json", [good, bad]))
    assert "rows.json row 1" in str(caught.value) and complaint in str(caught.value)


def test_no_annotations_and_broken_files_are_errors(tmp_path):
    with pytest.raises(DataError, match="there is no annotation file"):
        list(read_annotations(tmp_path))
    (tmp_path / "a.json").write_text('{"rows": [')
    with pytest.raises(DataError, match=r"a\.json"):
        list(read_annotations(tmp_path))


def test_folders_of_subtitles_and_videos_hold_no_annotations(tmp_path):
    for name in ("lvb_val.json", "lvb_test_wo_gt.json", "subtitles/v.json", "videos/v.json"):
        write(tmp_path / name, [{"line": name}])
    assert [row.fields["line"] for row in read_annotations(tmp_path, "*val*")] == ["lvb_val.json"]


def test_named_rows_lines_and_nested_questions_are_rows(tmp_path):
    named = list(read_annotations(write(tmp_path / "a.json", {"q1": {"x": 1}, "q2": {"x": 2}})))
    assert [(row.fields["key"], row.fields["x"]) for row in named] == [("q1", 1), ("q2", 2)]
    (tmp_path / "b.txt").write_text("one\n\ntwo\n")
    lines = list(read_annotations(tmp_path / "b.txt"))
    assert [(row.where, row.fields["line"]) for row in lines] == [("b.txt:1", "one"), ("b.txt:3", "two")]
    (inner,) = nested(Row(where="a.json row 0", fields={"video": "v", "qa": [{"uid": 1}]}))
    assert (inner.where, inner.fields["video"], inner.fields["uid"]) == ("a.json row 0, qa 0", "v", 1)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Q?\nA. x\nB. y", ("Q?", ("x", "y"))),
        ("Q?\n(A) x\n(B) y\nmore\n(C) z", ("Q?", ("x", "y\nmore", "z"))),
        ("Who is A. Smith? A. he B. she", ("Who is A. Smith?", ("he", "she"))),
        ("Q?\nA. only", ("Q?", ("only",))),
        ("Mr. A. is here", ("Mr. A. is here", ())),
    ],
)
def test_options_are_told_from_the_question(text, wanted):
    assert split_options(text) == wanted


@pytest.mark.parametrize("case", AGGREGATES["minerva_gold"], ids=lambda case: str(case["doc"]))
def test_the_truth_of_minerva_is_a_number_or_a_text(tmp_path, case):
    row = {"key": "m", "video_id": "v", "question": "Q?"} | ({} if "answer" in case["doc"] else FRUIT) | case["doc"]
    row |= {name: text for name, text in FRUIT.items() if name not in row}
    path = write(tmp_path / "minerva.json", [row])
    if case["letter"]:
        assert [item.answer for item in read_items(BENCHMARKS["minerva"], path)] == [case["letter"]]
    else:
        with pytest.raises(DataError, match="answer 9 is not the number of one of its 5 options"):
            read_items(BENCHMARKS["minerva"], path)


def test_a_number_counts_from_zero():
    assert index_answer("1", ("x", "y"), "row") == "B"
    for bad in (-1, 2, "x", None, 1.0):
        with pytest.raises(DataError):
            index_answer(bad, ("x", "y"), "row")


def test_converted_mlvu_rows_get_their_tasks_back(tmp_path):
    def tasks(name, rows):
        items = read_items(BENCHMARKS[name], write(tmp_path / f"{name}.json", rows))
        return {
            Path(item.video).stem.split("_")[-2 if name == "mlvu_dev" else 1]: item.labels["task"] for item in items
        }

    assert tasks("mlvu_test", ROWS["mlvu-test"])["surveil"] == ("anomaly_reco",)
    assert tasks("mlvu_test", ROWS["mlvu-test"])["needle"] == ("needleQA",)
    assert tasks("mlvu_test", ROWS["mlvu-test"])["tutorial"] == ("tutorialQA",)
    dev = tasks("mlvu_dev", ROWS["mlvu-dev"])
    assert (dev["surveil"], dev["tv"], dev["tomjerry"]) == (("anomaly_reco",), ("plotQA",), ("topic_reasoning",))


@pytest.mark.parametrize(
    "bad", [{"question_id": "001"}, {"question_id": "001-5"}, {"group_type": "x"}, {"group_structure": "[4,3,2,1]"}]
)
def test_a_question_without_a_place_in_a_known_group_is_refused(tmp_path, bad):
    good = next(rows[0] for name, _, rows, _ in OFFICIAL if name == "videomme_v2")
    with pytest.raises(DataError, match=r"test\.json row 0: "):
        read_items(BENCHMARKS["videomme_v2"], write(tmp_path / "test.json", [good | bad]))


def test_a_folder_is_passed_over_by_its_whole_name(tmp_path):
    row = {"id": "a"}
    for place in (
        "videomme/test.jsonl",
        "videos/x.jsonl",
        "videos_cropped/x.jsonl",
        "subtitle/x.jsonl",
        "images/x.json",
    ):
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text(json.dumps(row))
    assert [one.fields["annotation_folder"] for one in read_annotations(tmp_path)] == ["videomme"]


def test_options_may_be_the_text_of_a_list_and_a_text_without_options_is_an_error():
    assert read_options("['a dog', \"b's\"]", "here") == ("a dog", "b's")
    with pytest.raises(DataError, match="should be a list of texts"):
        read_options("no options", "here")


def test_the_prompt_of_video_holmes_has_the_options_as_its_script_prints_them(tmp_path):
    options = {"A": "it's red", "B": "blue {1}"}
    row = {
        "video ID": "v",
        "Question ID": 0,
        "Question Type": "SR",
        "Question": "Who?",
        "Options": options,
        "Answer": "A",
    }
    (tmp_path / "rows.json").write_text(json.dumps([row]))
    (one,) = BENCHMARKS["videoholmes"].read(tmp_path / "rows.json")
    user = BENCHMARKS["videoholmes"].ask["official"](one, []).user
    assert user.endswith("The question is: Who?. The options are: A: it's red, B: blue {1}. Your answer:")
