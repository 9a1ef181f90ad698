# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The real adapter and the real media source, on a tiny model and short videos."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.world import tiny_model, tiny_rows
from verl.config.load import load
from verl.config.plan import video_spec
from verl.config.trainer import Config
from verl.data.dataset import build_dataset
from verl.data.loader import build_loader
from verl.errors import DataError, MediaError
from verl.models.adapter import ModelAdapter, load_adapter
from verl.rewards.router import validate_answer

ROWS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tiny_rows(folder, ROWS, kinds="colour:2,boolean:1")
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> ModelAdapter:
    return load_adapter(str(tiny_model(tmp_path_factory.mktemp("model") / "tiny")))


def configure(folder: Path, *more: str) -> Config:
    return load(
        [
            f"data.train_files={folder}/train.jsonl",
            f"data.val_files={folder}@train",
            f"data.video_dir={folder}",
            "data.prompt_key=problem",
            "data.min_pixels=null",
            "data.max_pixels=null",
            "data.video_max_frames=4",
            "data.val_video_max_frames=8",
            "data.rollout_batch_size=4",
            *more,
        ]
    )


def test_rows_become_prompts_whose_placeholders_match_their_grids(folder, adapter):
    dataset = build_dataset(configure(folder).data, adapter, train=True, check_answer=validate_answer)
    assert len(dataset) == ROWS
    for prompt in dataset:
        assert len(prompt.media) == len(prompt.grids) == 1
        visual = adapter.visual_index(prompt.ids, prompt.grids)
        assert len(visual) == prompt.grids[0].num_tokens(adapter.merge_size)
        assert len(prompt.ids) - len(prompt.collapsed_ids) >= len(visual) - 1
        assert prompt.record.problem.replace("<video>", "").strip() in prompt.text


def test_validation_reads_its_videos_by_its_own_recipe(folder, adapter):
    data = configure(folder).data
    train, val = (build_dataset(data, adapter, train=which) for which in (True, False))
    assert [len(val), train[0].record.id] == [ROWS, val[0].record.id]
    assert train[0].media[0].spec == video_spec(data, adapter.align, train=True)
    assert (train[0].media[0].metadata.num_frames, val[0].media[0].metadata.num_frames) == (4, 8)


def test_a_cache_is_filled_by_the_first_use_and_then_enough(folder, adapter, tmp_path):
    cache = f"data.preprocessed_video_dir={tmp_path / 'cache'}"
    with pytest.raises(MediaError, match=r"train\.jsonl:1: .* is not preprocessed"):
        data = configure(folder, cache, "data.video_source_mode=preprocessed_only").data
        build_dataset(data, adapter, train=True)
    filled = build_dataset(configure(folder, cache).data, adapter, train=True)
    data = configure(folder, cache, "data.video_source_mode=preprocessed_only").data
    assert not (tmp_path / "cache").exists(), "headers are enough to measure a prompt"
    first = [replace(prompt.media[0], required=True) for prompt in filled]
    read = build_dataset(data, adapter, train=True)
    assert first == [prompt.media[0] for prompt in read]
    assert all(Path(prompt.media[0].entry).is_file() for prompt in read)


def test_overlong_prompts_are_dropped_or_an_error(folder, adapter):
    limit = len(build_dataset(configure(folder).data, adapter, train=True)[0].ids) - 1
    with pytest.raises(DataError, match=r"data\.max_prompt_length"):
        build_dataset(configure(folder, "data.max_prompt_length=8").data, adapter, train=True)
    arguments = [f"data.max_prompt_length={limit}", "data.filter_overlong_prompts=false"]
    with pytest.raises(DataError, match=f"train.jsonl:1: the prompt has {limit + 1} tokens"):
        build_dataset(configure(folder, *arguments).data, adapter, train=True)


def test_a_ground_truth_that_the_reward_cannot_use_is_refused_at_load(folder, adapter, tmp_path):
    row = json.loads((folder / "train.jsonl").read_text().splitlines()[0]) | {"problem_type": "astrology"}
    (tmp_path / "bad.jsonl").write_text(json.dumps(row) + "\n")
    data = configure(folder, f"data.train_files={tmp_path}/bad.jsonl").data
    with pytest.raises(DataError, match=r"bad\.jsonl:1: ground truth .*astrology"):
        build_dataset(data, adapter, train=True, check_answer=validate_answer)


def test_the_loader_draws_the_same_prompts_after_a_restart(folder, adapter):
    data = configure(folder).data
    loaders = [build_loader(data, build_dataset(data, adapter, train=True)) for _ in range(2)]
    first = [[prompt.record.id for prompt in loaders[0].next()] for _ in range(3)]
    loaders[1].next()
    loaders[1].restore(json.loads(json.dumps(loaders[1].state())))
    assert [[prompt.record.id for prompt in loaders[1].next()] for _ in range(2)] == first[1:]
