# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a user can get wrong, told before any process starts: what, where, what now."""

from __future__ import annotations

import json

import pytest

from tests.runs import arguments, make_world
from verl.config.load import load
from verl.trainer.main import USAGE_ERROR, main
from verl.trainer.wiring import prepare


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("bad_input"))


@pytest.fixture
def told(world, capsys, monkeypatch):
    """Run the command with some changes, which must fail before Ray starts; what it says."""

    def started(*_, **__):
        raise AssertionError("processes were started")

    monkeypatch.setattr("verl.trainer.crew.started", started)

    def run(*changes: str) -> str:
        assert main([*arguments(world), *changes]) == USAGE_ERROR
        return capsys.readouterr().err

    return run


def rows_with(world, name: str, **changes) -> str:
    """A data file whose second row has these changes; a column that is None is left out."""
    rows = [json.loads(line) for line in (world / "data" / "train.jsonl").read_text().splitlines()]
    rows[1] = {key: value for key, value in (rows[1] | changes).items() if value is not None}
    file = world / "data" / f"{name}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"data.train_files={file}"


def test_an_unknown_key_names_the_nearest(told):
    assert "data.rollout_batch_size" in told("data.rollout_batchsize=4")


def test_a_wrong_type_names_key_value_and_where_it_was_said(told):
    message = told("worker.rollout.n=many")
    assert "worker.rollout.n" in message
    assert "many" in message
    assert "command line" in message


def test_a_missing_config_file_is_named(told):
    assert "nowhere.yaml" in told("config=nowhere.yaml")


def test_a_missing_data_file_is_named(told):
    message = told("data.train_files=nowhere.jsonl")
    assert "data.train_files" in message
    assert "nowhere.jsonl" in message


def test_a_world_size_that_does_not_divide_names_both_numbers(told):
    message = told("trainer.device=cuda", "worker.rollout.tensor_parallel_size=3")
    assert "tensor_parallel_size=3" in message
    assert "2" in message


def test_a_row_without_an_answer_is_named_by_file_and_line(told, world):
    message = told(rows_with(world, "no_answer", answer=None))
    assert "no_answer.jsonl:2" in message
    assert "answer" in message


def test_an_answer_that_cannot_be_scored_is_named(told, world):
    message = told(
        rows_with(world, "odd_answer", answer="Q", problem_type="multiple choice"), "worker.reward.reward_function=null"
    )
    assert "odd_answer.jsonl:2" in message


def test_a_missing_video_is_named(told, world):
    message = told(rows_with(world, "no_video", videos=["videos/gone.mp4"]))
    assert "no_video.jsonl:2" in message
    assert "gone.mp4" in message


def test_a_placeholder_without_a_video_is_named(told, world):
    message = told(rows_with(world, "marks", problem="<video><video>Which?"))
    assert "marks.jsonl:2" in message
    assert "2 <video>" in message


def test_fewer_placeholders_than_videos_are_named(told, world):
    videos = json.loads((world / "data" / "train.jsonl").read_text().splitlines()[1])["videos"]
    assert "plain.jsonl:2" in told(rows_with(world, "plain", problem="<video>Which?", videos=videos * 2))


def test_an_unreadable_image_is_named_with_its_row(told, world):
    (world / "data" / "broken.png").write_bytes(b"no image")
    changes = {
        "problem": "<image>Which?",
        "images": [str(world / "data" / "broken.png")],
        "videos": None,
        "data_type": None,
    }
    message = told(rows_with(world, "broken_image", **changes))
    assert "broken_image.jsonl:2" in message
    assert "broken.png" in message


def test_a_dataset_that_is_not_in_the_local_cache_names_the_command(told):
    assert "hf download --repo-type dataset someone/clips" in told("data.train_files=someone/clips@train")


def test_ratios_for_other_files_than_there_are_say_so(told):
    assert "data.mix_ratios=[1.0, 2.0]" in told("data.mix_ratios=[1,2]")


def test_an_unreadable_video_is_named_with_its_row(told, world):
    (world / "data" / "videos" / "broken.mp4").write_bytes(b"this is no video" * 64)
    message = told(rows_with(world, "broken", videos=["videos/broken.mp4"]))
    assert "broken.jsonl:2" in message
    assert "broken.mp4" in message


def test_a_truncated_cache_entry_is_named_with_its_cure(told, world):
    cache = f"data.preprocessed_video_dir={world / 'cut_cache'}"
    parts = prepare(load(arguments(world, cache)))
    parts.loader.next()
    parts.loader.close()
    entry = next((world / "cut_cache").rglob("*.safetensors"))
    entry.write_bytes(entry.read_bytes()[:-100])
    message = told(cache)
    assert entry.name in message
    assert "preprocess_videos.py" in message or "delete" in message


def test_a_clip_missing_from_a_cache_that_must_have_it_names_the_command(told, world):
    (world / "empty").mkdir()
    message = told("data.video_source_mode=preprocessed_only", f"data.preprocessed_video_dir={world / 'empty'}")
    assert "scripts/preprocess_videos.py" in message


def test_a_model_that_is_not_there_is_named(told):
    assert "no/such/model" in told("worker.actor.model.model_path=no/such/model")


def test_too_few_rows_for_one_step_say_so(told):
    message = told("data.rollout_batch_size=64", "worker.actor.global_batch_size=64")
    assert "64" in message
    assert "16" in message
