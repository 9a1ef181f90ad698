# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Expansion from metadata alone: what is refused, and prompts without vision start against vLLM."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests.unit.models.clips import SHAPES, Shape, clip, metadata
from verl.errors import AlignmentError
from verl.models.adapter import ModelAdapter
from verl.types import Grid


@pytest.mark.parametrize("around", ["<|vision_start|><|video_pad|><|vision_end|>", "see <|video_pad|> now"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_ids_equal_vllms(adapter: ModelAdapter, shape: Shape, around: str) -> None:
    """The engine replaces one token by tokens, also where a prompt has no vision start around the video."""
    vllm = pytest.importorskip("vllm.model_executor.models.qwen3_vl")
    config, facts = adapter.config, metadata(shape)
    seconds = vllm.Qwen3VLProcessingInfo._calculate_timestamps(
        SimpleNamespace(), list(facts.frame_indices), facts.source_fps, adapter.temporal_patch_size
    )
    grid = adapter.grid(facts)
    replacement = vllm.Qwen3VLMultiModalProcessor.get_video_repl(
        tokens_per_frame=[grid.num_tokens(adapter.merge_size) // grid.t] * grid.t,
        timestamps=seconds,
        tokenizer=adapter.tokenizer,
        vision_start_token_id=config.vision_start_token_id,
        vision_end_token_id=config.vision_end_token_id,
        video_token_id=config.video_token_id,
    )
    collapsed = adapter.encode(around)
    theirs = vllm._replace_video_token_placeholders(
        collapsed.tolist(), [config.video_token_id], [list(replacement.full)]
    )
    assert adapter.expand(collapsed, [facts]).ids.tolist() == theirs


def test_text_alone_is_left_as_it_is(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    for each in (adapter, text_adapter):
        ids = each.encode(each.render("Two plus two?", 0))
        expanded = each.expand(ids, [])
        assert expanded.ids.tolist() == ids.tolist()
        assert expanded.grids == ()
        assert each.visual_index(expanded.ids, ()).tolist() == []


def test_a_clip_without_a_placeholder_is_fatal(adapter: ModelAdapter) -> None:
    with pytest.raises(AlignmentError, match="0 video tokens for 1 videos"):
        adapter.expand(adapter.encode("no video"), [metadata(SHAPES[0])])


def test_a_placeholder_spelled_out_by_the_problem_is_fatal(adapter: ModelAdapter) -> None:
    collapsed = adapter.encode(adapter.render("<video> <|video_pad|>", 1))
    with pytest.raises(AlignmentError, match="2 video tokens for 1 videos"):
        adapter.expand(collapsed, [metadata(SHAPES[0])])


def test_frames_that_cannot_be_cut_evenly_are_refused(adapter: ModelAdapter) -> None:
    assert adapter.align == 32
    with pytest.raises(AlignmentError, match="align=32"):
        adapter.grid(metadata(Shape(4, 48, 64, 30.0)))


def test_visual_index_finds_every_placeholder(adapter: ModelAdapter) -> None:
    expanded = adapter.expand(adapter.encode("a<|video_pad|>b"), [metadata(SHAPES[0])])
    index = adapter.visual_index(expanded.ids, expanded.grids)
    assert len(index) == expanded.grids[0].num_tokens(adapter.merge_size) == 16
    assert set(expanded.ids[index].tolist()) == {adapter.config.video_token_id}


@pytest.mark.parametrize(
    ("grids", "reason"),
    [
        ((Grid(4, 4, 6),), "16 placeholders for 24"),
        ((), "16 placeholders for 0"),
        ((Grid(2, 4, 8),), "runs of"),
    ],
)
def test_grids_of_other_clips_are_refused(adapter: ModelAdapter, grids: tuple[Grid, ...], reason: str) -> None:
    expanded = adapter.expand(adapter.encode("a<|video_pad|>b"), [metadata(SHAPES[0])])
    with pytest.raises(AlignmentError, match=reason):
        adapter.visual_index(expanded.ids, grids)


def test_a_text_model_refuses_media(text_adapter: ModelAdapter) -> None:
    ids = text_adapter.encode("hello")
    grid = Grid(1, 2, 2)
    refusals = [
        lambda: text_adapter.grid(metadata(SHAPES[0])),
        lambda: text_adapter.patches(clip(SHAPES[0])),
        lambda: text_adapter.expand(ids, [metadata(SHAPES[0])]),
        lambda: text_adapter.visual_index(ids, [grid]),
        lambda: text_adapter.positions(ids, [metadata(SHAPES[0])]),
    ]
    for refusal in refusals:
        with pytest.raises(AlignmentError, match="text only"):
            refusal()
