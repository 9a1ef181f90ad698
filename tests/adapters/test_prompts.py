# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Ids, grids, positions and patches of prompts, against transformers and against vLLM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from tests.adapters.conftest import Library
from tests.adapters.families import WITH_MEDIA, Family
from tests.adapters.media import (
    LONG,
    QUESTIONS,
    SHAPES,
    STEADY,
    TALL,
    WIDE,
    Asked,
    Medium,
    Question,
    ask,
    in_order,
    processed,
)
from tests.unit.models.clips import Shape
from verl.errors import AlignmentError
from verl.models.adapter import ModelAdapter
from verl.types import ImageClip, VideoClip

ROUNDED = {str(STEADY), "long, then long"}  # transformers multiplies times in float32, vLLM in float64
EACH = pytest.mark.parametrize("question", QUESTIONS, ids=str)


def kinds(adapter: ModelAdapter, ids: torch.Tensor) -> torch.Tensor:
    """transformers' numbers: 1 on images, 2 on videos."""
    config = adapter.config
    return (ids == config.image_token_id).int() + 2 * (ids == config.video_token_id).int()


def stock_positions(adapter: ModelAdapter, found: Any) -> torch.Tensor:
    """[3, P] of what a processor gave."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(adapter.config).model
    names = ("image_grid_thw", "video_grid_thw", "second_per_grid_ts")
    given = {name: found[name] for name in names if name in found}
    if "second_per_grid_ts" in given:
        given["second_per_grid_ts"] = torch.as_tensor(given["second_per_grid_ts"])
    return model.get_rope_index(found["input_ids"], kinds(adapter, found["input_ids"]), **given)[0][:, 0]


def test_the_folder_decides_the_family(library: Library, family: Family) -> None:
    adapter = library.adapter(family)
    assert (adapter.family, adapter.align, adapter.reads_media) == (family.name, family.align, family.reads_media)
    tokens = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>") if family.reads_media else ()
    assert set(adapter.banned_ids) == {adapter.encode(token).item() for token in tokens}


@EACH
def test_ids_and_grids_equal_the_processors(library: Library, seeing: Family, question: Question) -> None:
    asked = ask(library.adapter(seeing), question)
    theirs = processed(library.processor(seeing), asked.text, asked.media)
    assert asked.prompt.ids.tolist() == theirs["input_ids"][0].tolist()
    grids = in_order(asked.media, theirs.get("image_grid_thw", ()), theirs.get("video_grid_thw", ()))
    assert [list(grid) for grid in asked.prompt.grids] == [grid.tolist() for grid in grids]
    index = library.adapter(seeing).visual_index(asked.prompt.ids, asked.prompt.grids)
    assert index.tolist() == kinds(library.adapter(seeing), theirs["input_ids"])[0].nonzero()[:, 0].tolist()


@pytest.mark.parametrize("seeing", WITH_MEDIA, ids=str)
def test_ids_grids_and_positions_equal_vllms(library: Library, seeing: Family) -> None:
    """By vLLM's own processor, for the request that the rollout makes."""
    pytest.importorskip("vllm")
    from tests.adapters.engine_view import EngineView

    adapter = library.adapter(seeing)
    view = EngineView(library.folder(seeing), adapter)
    for question in QUESTIONS:
        asked = ask(adapter, question)
        ids, grids, positions = view.read(asked)
        assert asked.prompt.ids.tolist() == ids, question.name
        theirs = in_order(asked.media, grids.get("image", ()), grids.get("video", ()))
        assert [list(grid) for grid in asked.prompt.grids] == theirs, question.name
        ours = adapter.positions(asked.prompt.ids, asked.metadata)
        assert ours[0].tolist() == list(range(len(ids)))
        assert ours[1:].tolist() == positions.tolist(), question.name


@EACH
def test_positions_equal_transformers_where_it_is_right(library: Library, seeing: Family, question: Question) -> None:
    adapter = library.adapter(seeing)
    asked = ask(adapter, question)
    theirs = stock_positions(adapter, processed(library.processor(seeing), asked.text, asked.media))
    ours = adapter.positions(asked.prompt.ids, asked.metadata)[1:]
    if seeing.stock_positions or all(isinstance(medium, ImageClip) for medium in asked.media):
        assert ours.tolist() == theirs.tolist()
        return
    end = end_of_first_video(adapter, asked)
    off = np.abs(ours[:, :end] - theirs[:, :end].numpy()).max()
    assert off == 0 or (question.name in ROUNDED and off == 1)


def end_of_first_video(adapter: ModelAdapter, asked: Asked) -> int:
    index = adapter.visual_index(asked.prompt.ids, asked.prompt.grids)
    first = next(place for place, medium in enumerate(asked.media) if isinstance(medium, VideoClip))
    return int(index[sum(grid.num_tokens(adapter.merge_size) for grid in asked.prompt.grids[: first + 1]) - 1]) + 1


@pytest.mark.parametrize("seeing", [family for family in WITH_MEDIA if not family.stock_positions], ids=str)
def test_transformers_still_counts_on_inside_a_video(library: Library, seeing: Family) -> None:
    """It adds the longer side of a frame, although the video's time reaches further."""
    adapter = library.adapter(seeing)
    asked = ask(adapter, Question("long", "<video> so?", (LONG,)))
    theirs = stock_positions(adapter, processed(library.processor(seeing), asked.text, asked.media))
    end = end_of_first_video(adapter, asked)
    assert int(theirs[:, end].max()) <= int(theirs[:, :end].max()), "transformers is right now: mark the family so"
    ours = adapter.positions(asked.prompt.ids, asked.metadata)
    assert ours[1:, end].tolist() == [ours[1:, :end].max() + 1] * 3


@pytest.mark.parametrize("medium", [*SHAPES, TALL, WIDE], ids=str)
def test_patches_equal_the_processors_to_the_last_bit(library: Library, seeing: Family, medium: Medium) -> None:
    adapter = library.adapter(seeing)
    kind, pixels = ("video", "pixel_values_videos") if isinstance(medium, Shape) else ("image", "pixel_values")
    asked = ask(adapter, Question("", f"<{kind}>", (medium,)))
    theirs = processed(library.processor(seeing), asked.text, asked.media)
    ours = adapter.patches(asked.media[0])
    assert [list(ours.grid)] == theirs[f"{kind}_grid_thw"].tolist() == [list(grid) for grid in asked.prompt.grids]
    assert torch.equal(ours.normalised(torch.float32), theirs[pixels])


def test_a_response_continues_as_if_it_had_been_part_of_the_prompt(library: Library, family: Family) -> None:
    adapter = library.adapter(family)
    question = Question("mixed", "Is <image> in <video>?", (TALL, STEADY)) if family.reads_media else Question("", "Hi")
    asked = ask(adapter, question)
    response = adapter.encode("A long answer.")
    positions = adapter.positions(asked.prompt.ids, asked.metadata)
    assert positions.shape == (adapter.num_position_axes, len(asked.prompt.ids))
    whole = adapter.positions(np.concatenate([asked.prompt.ids, response]), asked.metadata)
    assert adapter.continue_positions(positions, len(response)).tolist() == whole[:, len(asked.prompt.ids) :].tolist()


def test_media_that_are_not_those_of_the_prompt_are_refused(library: Library, seeing: Family) -> None:
    adapter = library.adapter(seeing)
    asked = ask(adapter, Question("", "Is <image> in <video>?", (TALL, LONG)))
    collapsed, (image, video) = adapter.encode(asked.text), asked.metadata
    for media, reason in (
        ([video, image], "another order"),
        ([image, video, image], "1 image tokens for 2 images"),
        ([image], "1 video tokens for 0 videos"),
    ):
        with pytest.raises(AlignmentError, match=reason):
            adapter.expand(collapsed, media)
    with pytest.raises(AlignmentError, match="runs of"):
        adapter.positions(asked.prompt.ids, [video, image])
    with pytest.raises(AlignmentError, match="placeholders for"):
        adapter.positions(asked.prompt.ids, [image])
