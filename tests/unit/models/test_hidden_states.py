# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A packed row gives what the stock model gives to one response at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from tests.unit.models.clips import Shape, clip
from verl.errors import AlignmentError
from verl.models.adapter import Expanded, ModelAdapter, PackedRow
from verl.models.segments import group_segments, plain_segments
from verl.types import Tokens, VideoClip

TOLERANCE = {"rtol": 0, "atol": 1e-5}
RED, GREEN = clip(Shape(4, 64, 64, 30.0), seed=1), clip(Shape(3, 32, 96, 25.0), seed=2)


@dataclass(frozen=True)
class Group:
    """A prompt with its responses, expanded."""

    prompt: Expanded
    clips: tuple[VideoClip, ...]
    responses: tuple[Tokens, ...]


def group(adapter: ModelAdapter, problem: str, clips: Sequence[VideoClip], responses: Sequence[str]) -> Group:
    collapsed = adapter.encode(adapter.render(problem, len(clips)))
    prompt = adapter.expand(collapsed, [each.metadata for each in clips])
    return Group(prompt, tuple(clips), tuple(adapter.encode(text) for text in responses))


def mixed(adapter: ModelAdapter) -> list[Group]:
    """Video, text, two videos; one clip appears in two prompts."""
    return [
        group(adapter, "What moves? <video>", [RED], ["A square<|im_end|>", "Nothing at all.", "B"]),
        group(adapter, "Two plus two?", [], ["Four<|im_end|>", "5"]),
        group(adapter, "<video> or <video>", [GREEN, RED], ["The first", "the second one<|im_end|>"]),
    ]


def pack(adapter: ModelAdapter, groups: Sequence[Group], shared: bool = True) -> PackedRow:
    """Prompt, response, response, ... of every group; with `shared` false one prompt per response."""
    if not shared:
        groups = [replace(g, responses=(r,)) for g in groups for r in g.responses]
    ids, positions, index, slots, clips, done = [], [], [], [], [], 0
    for g in groups:
        start = adapter.positions(g.prompt.ids, g.prompt.grids)
        index.append(done + adapter.visual_index(g.prompt.ids, g.prompt.grids))
        ids += [g.prompt.ids, *g.responses]
        positions += [start, *(adapter.continue_positions(start, len(r)) for r in g.responses)]
        for each in g.clips:
            if not any(each is other for other in clips):
                clips.append(each)
            slots.append(next(i for i, other in enumerate(clips) if each is other))
        done += len(g.prompt.ids) + sum(map(len, g.responses))
    lens = [(len(g.prompt.ids), [len(r) for r in g.responses]) for g in groups]
    return PackedRow(
        ids=torch.from_numpy(np.concatenate(ids).astype(np.int64)),
        positions=torch.from_numpy(np.concatenate(positions, 1)),
        segments=group_segments(lens) if shared else plain_segments([p + sum(r) for p, r in lens]),
        media=tuple(adapter.patches(each) for each in clips),
        slots=tuple(slots),
        visual_index=torch.from_numpy(np.concatenate(index)),
    )


def rows_of(groups: Sequence[Group], hidden: Tensor, shared: bool = True) -> list[Tensor]:
    """Packed hidden states -> [P + R, D] for every response."""
    rows, done = [], 0
    for g in groups:
        prompt_len, prompt_at = len(g.prompt.ids), done
        done += prompt_len if shared else 0
        for r in g.responses:
            if not shared:
                prompt_at, done = done, done + prompt_len
            prompt = hidden[prompt_at : prompt_at + prompt_len]
            rows.append(torch.cat([prompt, hidden[done : done + len(r)]]))
            done += len(r)
    assert done == len(hidden)
    return rows


def stock_rows(model, adapter: ModelAdapter, groups: Sequence[Group]) -> list[Tensor]:
    """The same from the stock model, a prompt and a response at a time, placing features by token id."""
    rows = []
    for g in groups:
        for r in g.responses:
            ids = torch.from_numpy(np.concatenate([g.prompt.ids, r]).astype(np.int64))[None]
            media = {}
            if g.clips:
                media = {
                    "pixel_values_videos": torch.cat(
                        [adapter.patches(each).normalised(torch.float32) for each in g.clips]
                    ),
                    "video_grid_thw": torch.tensor(g.prompt.grids),
                    "mm_token_type_ids": torch.where(ids == adapter.config.video_token_id, 2, 0),
                }
            model.model.rope_deltas = None
            rows.append(model.model(input_ids=ids, use_cache=False, **media).last_hidden_state[0])
    return rows


@pytest.fixture
def stock(vision_folder: Path):
    return AutoModelForImageTextToText.from_pretrained(
        vision_folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    )


def assert_rows_equal(found: Sequence[Tensor], expected: Sequence[Tensor], head: Tensor) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)
        logprobs = [(x @ head.T).log_softmax(-1) for x in (ours, theirs)]
        torch.testing.assert_close(*logprobs, **TOLERANCE)


@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_a_mixed_row_matches_one_response_at_a_time(adapter: ModelAdapter, stock, shared: bool) -> None:
    groups = mixed(adapter)
    model = adapter.build(torch.float32)
    hidden = adapter.hidden_states(model, pack(adapter, groups, shared))
    found = rows_of(groups, hidden, shared)
    assert_rows_equal(found, stock_rows(stock, adapter, groups), adapter.head(model))


@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_gradients_match_one_response_at_a_time(adapter: ModelAdapter, stock, gradient_checkpointing: bool) -> None:
    groups = mixed(adapter)
    model = adapter.build(torch.float32, gradient_checkpointing=gradient_checkpointing)
    generator = torch.Generator().manual_seed(0)
    weights = [
        torch.randn(len(g.prompt.ids) + len(r), 64, generator=generator) / 64 for g in groups for r in g.responses
    ]
    found = rows_of(groups, adapter.hidden_states(model, pack(adapter, groups)))
    for rows in (found, stock_rows(stock, adapter, groups)):
        sum((row * weight).sum() for row, weight in zip(rows, weights, strict=True)).backward()
    theirs = dict(stock.named_parameters())
    for name, parameter in model.named_parameters():
        if name != "lm_head.weight":
            torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-5, msg=name)


def test_each_distinct_clip_goes_through_the_tower_once(adapter: ModelAdapter) -> None:
    model = adapter.build(torch.float32)
    seen: list[int] = []
    model.model.visual.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    row = pack(adapter, mixed(adapter))
    adapter.hidden_states(model, row)
    assert row.slots == (0, 1, 0)
    assert seen == [sum(len(adapter.patches(each).values) for each in (RED, GREEN))]


@torch.no_grad()
def test_the_tower_is_given_the_type_it_computes_in(adapter: ModelAdapter) -> None:
    model = adapter.build(torch.bfloat16)
    seen: list[Tensor] = []
    model.model.visual.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    row = pack(adapter, mixed(adapter))
    adapter.hidden_states(model, row)
    (pixels,) = seen
    assert {patches.values.dtype for patches in row.media} == {torch.uint8}
    assert torch.equal(pixels, torch.cat([patches.normalised(torch.float32) for patches in row.media]).bfloat16())


@torch.no_grad()
def test_a_sampled_video_token_is_ordinary_text(adapter: ModelAdapter, stock) -> None:
    """The stock model cannot tell it from a placeholder; it gets another token with the same embedding."""
    twin_token = adapter.encode("<|vision_pad|>").item()
    embedding = stock.get_input_embeddings().weight
    embedding[twin_token] = embedding[adapter.config.video_token_id]
    responses = ["I see <|video_pad|><|video_pad|> it", "<|video_pad|>"]
    sampled = [
        group(adapter, "What? <video>", [RED], responses),
        group(adapter, "Text only", [], responses),
    ]
    renamed = [
        replace(
            g,
            responses=tuple(np.where(r == adapter.config.video_token_id, twin_token, r) for r in g.responses),
        )
        for g in sampled
    ]
    model = adapter.build(torch.float32)
    found = rows_of(sampled, adapter.hidden_states(model, pack(adapter, sampled)))
    assert_rows_equal(found, stock_rows(stock, adapter, renamed), adapter.head(model))


def test_a_text_row_runs_the_tower_at_weight_zero(adapter: ModelAdapter, stock) -> None:
    groups = [group(adapter, "Two plus two?", [], ["Four", "Five!"])]
    model = adapter.build(torch.float32)
    found = rows_of(groups, adapter.hidden_states(model, pack(adapter, groups)))
    with torch.no_grad():
        assert_rows_equal(found, stock_rows(stock, adapter, groups), adapter.head(model))
    sum(row.sum() for row in found).backward()
    tower = adapter.vision_tower(model)
    assert tower is not None
    for name, parameter in tower.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_a_row_with_too_few_placeholders_is_fatal(adapter: ModelAdapter) -> None:
    row = pack(adapter, mixed(adapter))
    model = adapter.build(torch.float32)
    with pytest.raises(AlignmentError, match="placeholders for"):
        adapter.hidden_states(model, replace(row, visual_index=row.visual_index[:-1]))
    with pytest.raises(AlignmentError, match="placeholders for"):
        adapter.hidden_states(model, replace(row, slots=(0, 1)))


@torch.no_grad()
def test_a_model_built_without_weights_becomes_the_model_when_they_arrive(adapter: ModelAdapter) -> None:
    full, bare = adapter.build(torch.float32), adapter.build(torch.float32, meta=True)
    assert {p.device.type for p in bare.parameters()} == {"meta"}
    bare.load_state_dict(full.state_dict(), assign=True)
    row = pack(adapter, mixed(adapter))
    assert torch.equal(adapter.hidden_states(bare, row), adapter.hidden_states(full, row))


@pytest.mark.parametrize("shared", [True, False])
@torch.no_grad()
def test_text_models_match_too(text_adapter: ModelAdapter, text_folder: Path, shared: bool) -> None:
    groups = [
        group(text_adapter, "Two plus two?", [], ["Four<|im_end|>", "Five, I think"]),
        group(text_adapter, "Name a colour.", [], ["Red"]),
    ]
    stock = AutoModelForCausalLM.from_pretrained(
        text_folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    )
    model = text_adapter.build(torch.float32)
    hidden = text_adapter.hidden_states(model, pack(text_adapter, groups, shared))
    found = rows_of(groups, hidden, shared)
    assert_rows_equal(found, stock_rows(stock, text_adapter, groups), text_adapter.head(model))


def test_a_row_moves_between_devices_whole(adapter: ModelAdapter) -> None:
    row = pack(adapter, mixed(adapter)).to("meta")
    tensors = [
        row.ids,
        row.positions,
        row.visual_index,
        row.segments.cu_q,
        row.segments.cu_k,
        row.segments.k_index,
    ]
    assert {x.device.type for x in [*tensors, *(m.values for m in row.media)]} == {"meta"}
