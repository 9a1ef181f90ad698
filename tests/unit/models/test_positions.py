# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Position ids against transformers' get_rope_index."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from tests.unit.models.clips import SHAPES, Shape, metadata
from verl.models.adapter import Expanded, ModelAdapter
from verl.models.positions import Block, continue_positions, mrope_positions


def reference(adapter: ModelAdapter, expanded: Expanded) -> torch.Tensor:
    """[3, P] from transformers."""
    ids = torch.from_numpy(expanded.ids.astype(np.int64))[None]
    with torch.device("meta"):
        model = Qwen3VLModel(adapter.config)
    kinds = torch.where(ids == adapter.config.video_token_id, 2, 0)
    grids = torch.tensor(expanded.grids) if expanded.grids else None
    return model.get_rope_index(ids, kinds, video_grid_thw=grids)[0][:, 0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_video_matches_transformers(adapter: ModelAdapter, shape: Shape) -> None:
    expanded = adapter.expand(adapter.encode("one <|video_pad|> and text"), [metadata(shape)])
    positions = adapter.positions(expanded.ids, MEDIA)
    assert positions.shape == (adapter.num_position_axes, len(expanded.ids))
    assert positions[0].tolist() == list(range(len(expanded.ids)))
    assert positions[1:].tolist() == reference(adapter, expanded).tolist()


def test_two_videos_match_transformers(adapter: ModelAdapter) -> None:
    clips = [metadata(SHAPES[1]), metadata(SHAPES[2])]
    expanded = adapter.expand(adapter.encode("<|video_pad|> then <|video_pad|>"), clips)
    positions = adapter.positions(expanded.ids, MEDIA)
    assert positions[1:].tolist() == reference(adapter, expanded).tolist()


def test_text_has_the_same_position_on_every_axis(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    for each, axes in ((adapter, 4), (text_adapter, 1)):
        positions = each.positions(each.encode("just text"), ())
        assert positions.tolist() == [list(range(positions.shape[1]))] * axes
        after = each.continue_positions(positions, 3)
        assert after.tolist() == [[positions.shape[1] + i for i in range(3)]] * axes


def test_a_response_continues_as_if_it_had_been_part_of_the_prompt(adapter: ModelAdapter) -> None:
    expanded = adapter.expand(adapter.encode("see <|video_pad|> so"), [metadata(SHAPES[1])])
    response = adapter.encode("A long answer.")
    positions = adapter.positions(expanded.ids, MEDIA)
    whole = adapter.positions(np.concatenate([expanded.ids, response]), expanded.grids)
    assert adapter.continue_positions(positions, len(response)).tolist() == whole[:, len(expanded.ids) :].tolist()


def test_text_after_a_block_starts_behind_its_longer_side() -> None:
    positions = mrope_positions(9, [Block(start=1, height=2, width=3)])
    assert positions[1].tolist() == [0, 1, 1, 1, 1, 1, 1, 4, 5]
    assert positions[2].tolist() == [0, 1, 1, 1, 2, 2, 2, 4, 5]
    assert positions[3].tolist() == [0, 1, 2, 3, 1, 2, 3, 4, 5]


def test_a_prompt_that_ends_in_a_video_continues_past_its_largest_position() -> None:
    positions = mrope_positions(7, [Block(start=1, height=2, width=3)])
    assert continue_positions(positions, 2).tolist() == [[7, 8], [4, 5], [4, 5], [4, 5]]
