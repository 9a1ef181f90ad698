# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl.config.load import load
from verl.data.files import list_files, read_rows
from verl.data.records import RowFormat, read_records
from verl.data.validate import RecordCheck
from verl.errors import DataError

ROW: dict[str, Any] = {"problem": "Why?", "answer": "A", "problem_type": "multiple choice"}


def lines(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def refusal(location: str, format: RowFormat | None = None, check: RecordCheck | None = None) -> str:
    with pytest.raises(DataError) as error:
        read_records([location], format or RowFormat(), check)
    return str(error.value)


def test_the_three_formats_hold_the_same_rows(tmp_path):
    rows = [ROW | {"answer": [1, 2]}, ROW | {"answer": [3, 4], "problem": "How \u00e9?"}]
    (tmp_path / "array.json").write_text("  \n" + json.dumps(rows, indent=1))
    lines(tmp_path / "lines.jsonl", *rows)
    lines(tmp_path / "lines.json", *rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    read = {}
    for name in ("array.json", "lines.jsonl", "lines.json", "table.parquet"):
        records = read_records([str(tmp_path / name)], RowFormat())
        read[name] = [(record.problem, record.answer, dict(record.fields)) for record in records]
    assert read["lines.jsonl"] == [(row["problem"], row["answer"], row) for row in rows]
    assert all(found == read["lines.jsonl"] for found in read.values())


def test_a_record_knows_where_it_stands(tmp_path):
    (tmp_path / "array.json").write_text(json.dumps([ROW, ROW]))
    (tmp_path / "lines.jsonl").write_text(f"{json.dumps(ROW)}\n\n{json.dumps(ROW | {'problem_id': 7})}\n")
    assert [r.where for r in read_records([str(tmp_path / "array.json")], RowFormat())] == [
        "array.json row 0",
        "array.json row 1",
    ]
    first, second = read_records([str(tmp_path / "lines.jsonl")], RowFormat())
    assert (first.where, first.id) == ("lines.jsonl:1", "lines.jsonl:1")
    assert (second.where, second.id) == ("lines.jsonl:3", "7")


def test_columns_have_the_names_of_the_configuration(tmp_path):
    config = load(["data.prompt_key=q", "data.answer_key=a", "data.video_key=clips", "data.video_dir=/v"]).data
    row = {"q": "<video>", "a": 3, "clips": "x.mp4", "problem": "something else"}
    (record,) = read_records([lines(tmp_path / "r.jsonl", row)], RowFormat.of(config))
    assert (record.problem, record.answer, record.videos) == ("<video>", 3, ("/v/x.mp4",))
    assert record.fields == row


def test_relative_paths_start_at_their_folder_and_absolute_ones_stay(tmp_path):
    config = load(["data.image_dir=/images", "data.prompt_key=problem"]).data
    assert RowFormat.of(config).video_root == "/images"
    row = ROW | {"videos": ["a/b.mp4", "/c.mp4"], "images": ["d.png"]}
    (record,) = read_records([lines(tmp_path / "r.jsonl", row)], RowFormat.of(config))
    assert record.videos == ("/images/a/b.mp4", "/c.mp4")
    assert record.images == ("/images/d.png",)
    (record,) = read_records([lines(tmp_path / "r.jsonl", row)], RowFormat())
    assert record.videos[0] == str(Path.cwd() / "a/b.mp4")


@pytest.mark.parametrize(
    ("media", "kind"),
    [
        ({}, "text"),
        ({"videos": []}, "text"),
        ({"videos": None}, "text"),
        ({"videos": ""}, "text"),
        ({"videos": ["v"]}, "video"),
        ({"videos": "v"}, "video"),
        ({"images": ["i"]}, "image"),
    ],
)
def test_the_media_themselves_say_what_kind_of_row_it_is(tmp_path, media, kind: str):
    (record,) = read_records([lines(tmp_path / "r.jsonl", ROW | media)], RowFormat())
    assert record.data_type == kind


@pytest.mark.parametrize(
    ("fields", "responses"),
    [
        ({}, ()),
        ({"offline_output": "x"}, ("x",)),
        ({"offline_output": ["x", "y"], "has_offline_trajectory": True}, ("x", "y")),
        ({"offline_output": "x", "has_offline_trajectory": False}, ()),
        ({"offline_output": "", "has_offline_trajectory": False}, ()),
        ({"offline_output": None, "has_offline_trajectory": None}, ()),
    ],
)
def test_offline_responses_are_read(tmp_path, fields, responses):
    (record,) = read_records([lines(tmp_path / "r.jsonl", ROW | fields)], RowFormat())
    assert record.offline_responses == responses


@pytest.mark.parametrize("answer", ["<answer>A</answer>", 0, 0.5, False, [1], {"time": [1, 2]}])
def test_answers_are_kept_as_written(tmp_path, answer: Any):
    (record,) = read_records([lines(tmp_path / "r.jsonl", ROW | {"answer": answer})], RowFormat())
    assert record.answer == answer and type(record.answer) is type(answer)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"problem": "Why?"}, "r.jsonl:1: there is no column 'answer' (columns: problem)"),
        ({"problm": "Why?", "answer": 1}, "there is no column 'problem'; did you mean 'problm'?"),
        (ROW | {"answer": None}, "column 'answer' is empty"),
        (ROW | {"answer": ""}, "column 'answer' is empty"),
        (ROW | {"problem": ""}, "column 'problem' is empty"),
        (ROW | {"problem": 3}, "column 'problem' should hold text, it holds 3"),
        (ROW | {"problem_type": 3}, "column 'problem_type' should hold text, it holds 3"),
        (ROW | {"options": "A B"}, "column 'options' should hold a list of text, it holds 'A B'"),
        (ROW | {"options": [1]}, "column 'options' should hold a list of text, it holds [1]"),
        (ROW | {"videos": [{"bytes": "x"}]}, "column 'videos' should hold a list of text"),
        (ROW | {"videos": ["https://a/b.mp4"]}, "is an address; download it"),
        (ROW | {"has_offline_trajectory": True}, "column 'offline_output' is empty"),
    ],
)
def test_a_bad_column_names_file_line_and_column(tmp_path, row: dict[str, Any], message: str):
    assert message in refusal(lines(tmp_path / "r.jsonl", row))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"problem": 1}\n{"a"\n', "r.jsonl:2: not JSON"),
        ('{\n  "problem": 1\n}\n', "r.jsonl:1: not JSON"),
        ("[{}, ", "r.jsonl: not JSON"),
        ("[1]", "r.jsonl row 0: a row must be an object"),
        ("3\n", "r.jsonl:1: a row must be an object"),
        ('{"answer": NaN}\n', "NaN is no JSON number"),
        ("", "there are no rows in it"),
        ("[]", "there are no rows in it"),
    ],
)
def test_a_malformed_file_names_the_line(tmp_path, text: str, message: str):
    (tmp_path / "r.jsonl").write_text(text)
    assert message in refusal(str(tmp_path / "r.jsonl"))


def test_bytes_that_are_no_text_and_no_parquet_are_refused_by_name(tmp_path):
    (tmp_path / "r.jsonl").write_bytes(b'{"a": "\xff\xfe"}')
    assert "r.jsonl: not a text file in UTF-8" in refusal(str(tmp_path / "r.jsonl"))
    (tmp_path / "r.parquet").write_bytes(b"no")
    assert "r.parquet: cannot be read as parquet" in refusal(str(tmp_path / "r.parquet"))


def test_a_split_picks_files_of_a_folder_by_stem(tmp_path):
    for name in ("train.jsonl", "val.json", "train-00001-of-00002.parquet", "notes.txt", "trainer.json"):
        (tmp_path / name).touch()
    (tmp_path / "deeper").mkdir()

    def names(location: str) -> list[str]:
        return [file.name for file in list_files(location)]

    assert names(f"{tmp_path}@train") == ["train-00001-of-00002.parquet", "train.jsonl"]
    assert names(f"{tmp_path}@val") == ["val.json"]
    assert len(names(str(tmp_path))) == 4
    assert names(f"{tmp_path}/val.json@train") == names(f"{tmp_path}/val.json@val") == ["val.json"]
    for wrong in (f"{tmp_path}@test", f"{tmp_path}/val.json@test", f"{tmp_path}/deeper", f"{tmp_path}/no.json"):
        with pytest.raises(DataError, match=str(tmp_path)):
            list_files(wrong)


def test_several_files_are_read_in_the_order_given(tmp_path):
    files = [lines(tmp_path / f"{name}.jsonl", ROW | {"problem": name}) for name in ("b", "a")]
    assert [record.problem for record in read_records(files, RowFormat())] == ["b", "a"]


def test_a_byte_order_mark_is_no_part_of_the_first_row(tmp_path):
    (tmp_path / "r.json").write_text("\ufeff" + json.dumps([ROW]))
    assert [row.fields for row in read_rows(tmp_path / "r.json")] == [ROW]


def test_the_first_twenty_problems_are_listed_and_all_are_counted(tmp_path):
    message = refusal(lines(tmp_path / "r.jsonl", *[{"problem": "x"}] * 25))
    assert message.startswith("25 problems in the data:\n")
    assert "r.jsonl:20:" in message and "r.jsonl:21:" not in message
    assert message.endswith("and 5 more")


@pytest.mark.parametrize(
    ("problem", "media", "message"),
    [
        ("Why?", {"videos": ["v.mp4"]}, "the problem holds 0 <video> for 1 video; write one <video> where"),
        ("<video> Why?", {}, "the problem holds 1 <video> for 0 videos; write"),
        ("<video><video> Why?", {"videos": ["v.mp4"]}, "the problem holds 2 <video> for 1 video;"),
        ("<video> Why?", {"videos": ["no.mp4"]}, "there is no video "),
        ("Why?", {"images": ["i.png"]}, "images are not supported yet"),
        ("<image> Why?", {}, "images are not supported yet"),
        ("Why?", {"data_type": "video"}, "data_type is 'video', but there is no video"),
    ],
)
def test_media_and_their_places_must_agree(tmp_path, problem: str, media: dict[str, Any], message: str):
    (tmp_path / "v.mp4").touch()
    location = lines(tmp_path / "r.jsonl", ROW | {"problem": problem} | media)
    assert message in refusal(location, RowFormat(video_root=str(tmp_path)), RecordCheck())


def test_a_sound_row_passes(tmp_path):
    (tmp_path / "v.mp4").touch()
    row = ROW | {"problem": "<video> and <video>: why?", "videos": ["v.mp4", "v.mp4"], "data_type": "video"}
    location = lines(tmp_path / "r.jsonl", row)
    assert read_records([location], RowFormat(video_root=str(tmp_path)), RecordCheck())


def test_the_reward_may_object_to_a_ground_truth(tmp_path):
    check = RecordCheck(answer=lambda record: "not a letter" if record.answer == 3 else None)
    location = lines(tmp_path / "r.jsonl", ROW, ROW | {"answer": 3})
    assert "r.jsonl:2: ground truth 3: not a letter" in refusal(location, check=check)


def test_shape_and_media_problems_come_in_one_report(tmp_path):
    message = refusal(lines(tmp_path / "r.jsonl", {"problem": "x"}, ROW | {"problem": "<video>"}), check=RecordCheck())
    assert message.startswith("2 problems") and "r.jsonl:1" in message and "r.jsonl:2" in message
