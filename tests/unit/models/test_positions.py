# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Position ids, by hand."""

from __future__ import annotations

from verl.models.adapter import ModelAdapter
from verl.models.positions import Block, continue_positions, mrope_positions


def test_text_has_the_same_position_on_every_axis(adapter: ModelAdapter, text_adapter: ModelAdapter) -> None:
    for each, axes in ((adapter, 4), (text_adapter, 1)):
        positions = each.positions(each.encode("just text"), ())
        assert positions.tolist() == [list(range(positions.shape[1]))] * axes
        after = each.continue_positions(positions, 3)
        assert after.tolist() == [[positions.shape[1] + i for i in range(3)]] * axes


def test_text_after_a_block_starts_behind_its_longer_side() -> None:
    positions = mrope_positions(9, [Block(start=1, height=2, width=3)])
    assert positions[1].tolist() == [0, 1, 1, 1, 1, 1, 1, 4, 5]
    assert positions[2].tolist() == [0, 1, 1, 1, 2, 2, 2, 4, 5]
    assert positions[3].tolist() == [0, 1, 2, 3, 1, 2, 3, 4, 5]


def test_a_prompt_that_ends_in_a_video_continues_past_its_largest_position() -> None:
    positions = mrope_positions(7, [Block(start=1, height=2, width=3)])
    assert continue_positions(positions, 2).tolist() == [[7, 8], [4, 5], [4, 5], [4, 5]]


def test_text_after_a_video_begins_after_its_last_moment() -> None:
    positions = mrope_positions(8, [Block(start=1, height=1, width=2, times=(0, 2, 5))])
    assert positions[1].tolist() == [0, 1, 1, 3, 3, 6, 6, 7]
    assert positions[2].tolist() == [0, 1, 1, 1, 1, 1, 1, 7]
    assert positions[3].tolist() == [0, 1, 2, 1, 2, 1, 2, 7]
