# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl.config.load import load
from verl.data.checks import RecordCheck
from verl.data.files import Row, list_files, read_rows
from verl.data.records import RowFormat, read_records, read_sources
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
        ({"images": ["i"], "videos": ["v"]}, "video"),
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
        ({"offline_output": ["x"], "has_offline_trajectory": 0}, ()),
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
        (ROW | {"videos": [3]}, "column 'videos' should hold a list of text"),
        (ROW | {"images": [{"bytes": "x"}]}, "column 'images' holds the media themselves; write them to files"),
        (ROW | {"videos": ["https://a/b.mp4"]}, "is an address; download it"),
        (ROW | {"has_offline_trajectory": True}, "column 'offline_output' is empty"),
        (ROW | {"has_offline_trajectory": "no"}, "column 'has_offline_trajectory' should hold true or false"),
        (ROW | {"offline_output": ["x", " "]}, "column 'offline_output' holds an empty response"),
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
    assert [row.fields for row in read_rows(tmp_path / "r.json") if isinstance(row, Row)] == [ROW]


def test_the_first_twenty_problems_are_listed_and_all_are_counted(tmp_path):
    message = refusal(lines(tmp_path / "r.jsonl", *[{"problem": "x"}] * 25))
    assert message.startswith("25 problems in the data:\n")
    assert "r.jsonl:20:" in message and "r.jsonl:21:" not in message
    assert message.endswith("and 5 more")


@pytest.mark.parametrize(
    ("problem", "media", "message"),
    [
        ("<video> Why?", {}, "the problem holds 1 <video> for 0 videos; write"),
        ("<video><video> Why?", {"videos": ["v.mp4"]}, "the problem holds 2 <video> for 1 video;"),
        ("<video> Why?", {"videos": ["no.mp4"]}, "there is no video "),
        ("<image> Why?", {}, "the problem holds 1 <image> for 0 images; write one <image> where each image goes"),
        ("<video> Why?", {"images": ["i.png"]}, "the problem holds 1 <video> for 0 videos;"),
        ("<image> Why?", {"images": ["i.png"]}, "there is no image "),
        ("<image> Why?", {"images": ["."]}, "there is no image "),
        ("Why?", {"data_type": "image"}, "data_type is 'image', but there is no image"),
        ("Why?", {"data_type": "video"}, "data_type is 'video', but there is no video"),
    ],
)
def test_media_and_their_places_must_agree(tmp_path, problem: str, media: dict[str, Any], message: str):
    (tmp_path / "v.mp4").touch()
    location = lines(tmp_path / "r.jsonl", ROW | {"problem": problem} | media)
    assert message in refusal(location, RowFormat(video_root=str(tmp_path)), RecordCheck())


def test_a_sound_row_passes(tmp_path):
    (tmp_path / "v.mp4").touch()
    (tmp_path / "frames").mkdir()
    row = ROW | {"problem": "<video> and <video>: why?", "videos": ["v.mp4", "frames"], "data_type": "video"}
    location = lines(tmp_path / "r.jsonl", row)
    assert read_records([location], RowFormat(video_root=str(tmp_path)), RecordCheck())


def test_the_reward_may_object_to_a_ground_truth(tmp_path):
    check = RecordCheck(answer=lambda record: "not a letter" if record.answer == 3 else None)
    location = lines(tmp_path / "r.jsonl", ROW, ROW | {"answer": 3})
    assert "r.jsonl:2: ground truth 3: not a letter" in refusal(location, check=check)


def test_shape_and_media_problems_come_in_one_report(tmp_path):
    message = refusal(lines(tmp_path / "r.jsonl", {"problem": "x"}, ROW | {"problem": "<video>"}), check=RecordCheck())
    assert message.startswith("2 problems") and "r.jsonl:1" in message and "r.jsonl:2" in message


def placed(tmp_path, **row: Any) -> str:
    (record,) = read_records([lines(tmp_path / "r.jsonl", ROW | row)], RowFormat(), None)
    return record.problem


def test_media_without_a_place_go_to_the_front_in_the_row_s_order(tmp_path):
    assert placed(tmp_path, videos=["v"]) == "<video>Why?"
    assert placed(tmp_path, videos=["v"], images=["i", "j"]) == "<video><image><image>Why?"
    assert placed(tmp_path, images=["i", "j"], videos=["v"]) == "<image><image><video>Why?"
    assert placed(tmp_path, problem="Why <image>?", videos=["v", "w"], images=["i"]) == "<video><video>Why <image>?"


def test_media_with_a_place_stay_there_options_included(tmp_path):
    assert placed(tmp_path, problem="<image>, <video>", videos=["v"], images=["i"]) == "<image>, <video>"
    assert placed(tmp_path, options=["A. <image>", "B. <image>"], images=["i", "j"]) == "Why?"
    (tmp_path / "i.png").touch()
    row = ROW | {"options": ["A. <image>", "B. <image>"], "images": ["i.png"]}
    location = lines(tmp_path / "r.jsonl", row)
    assert "holds 2 <image> for 1 image;" in refusal(location, RowFormat(image_root=str(tmp_path)), RecordCheck())


def test_rows_whose_media_were_placed_are_counted_once(tmp_path, caplog):
    rows = [ROW | {"videos": ["v"]}, ROW, ROW | {"images": ["i"]}, ROW | {"problem": "<video>", "videos": ["v"]}]
    with caplog.at_level(logging.WARNING):
        records = read_records([lines(tmp_path / "r.jsonl", *rows)], RowFormat())
    assert [message for message in caplog.messages if "put at the front" in message] == [
        "2 of 4 rows do not say where their media go: these are put at the front, beginning with r.jsonl:1"
    ]
    assert records[0].fields["problem"] == "Why?"


def test_all_bad_lines_of_a_file_come_in_one_report(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"a"\n' + json.dumps(ROW) + "\n3\n" + json.dumps({"problem": "x"}) + "\n")
    message = refusal(str(tmp_path / "r.jsonl"))
    assert message.startswith("3 problems")
    assert all(where in message for where in ("r.jsonl:1: not JSON", "r.jsonl:3: a row must be", "r.jsonl:4: there is"))


def test_sources_stay_apart_and_an_empty_one_is_named(tmp_path):
    files = [lines(tmp_path / f"{name}.jsonl", *[ROW] * count) for name, count in (("a", 2), ("b", 1))]
    assert [len(records) for records in read_sources(files, RowFormat())] == [2, 1]
    with pytest.raises(DataError, match=r"none\.jsonl: there are no rows"):
        read_sources([*files, lines(tmp_path / "none.jsonl")], RowFormat())
    with pytest.raises(DataError, match="no file"):
        read_sources([], RowFormat())


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """A Hugging Face cache that holds one dataset, as huggingface_hub lays it out."""
    root = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))
    snapshot = root / "datasets--owner--clips" / "snapshots" / ("0" * 40)
    (snapshot / "data").mkdir(parents=True)
    (root / "datasets--owner--clips" / "refs").mkdir()
    (root / "datasets--owner--clips" / "refs" / "main").write_text("0" * 40)
    (snapshot / "README.md").touch()
    (snapshot / "dataset_infos.json").write_text("{}")
    for split in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        pq.write_table(pa.Table.from_pylist([ROW | {"problem": split}]), snapshot / "data" / f"{split}.parquet")
    return snapshot


def test_a_dataset_of_the_hub_is_read_from_the_local_cache(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(read_records(["owner/clips"], RowFormat())) == 3
    problems = [record.problem for record in read_records(["owner/clips@train"], RowFormat())]
    assert problems == ["train-00000-of-00002", "train-00001-of-00002"]
    with pytest.raises(DataError, match=r"owner/clips@val: no .* file for it there"):
        list_files("owner/clips@val")
    with pytest.raises(DataError, match="run: hf download --repo-type dataset owner/other"):
        list_files("owner/other@train")


def test_a_copy_of_such_a_dataset_is_read_like_it(hub):
    assert [file.parent.name for file in list_files(str(hub))] == ["data"] * 3
    assert len(list_files(f"{hub}@test")) == 1
