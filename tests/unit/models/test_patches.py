# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Patches against transformers' video processor, bit for bit."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.unit.models.clips import SHAPES, Shape, clip, for_transformers
from verl.errors import ConfigError
from verl.models.adapter import ModelAdapter, load_adapter
from verl.models.patches import PatchRecipe
from verl.types import VideoClip


def edited(folder: Path, target: Path, changes: dict[str, dict[str, Any]]) -> Path:
    """A copy of a model folder with other numbers in its JSON files."""
    shutil.copytree(folder, target)
    for name, values in changes.items():
        file = target / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return target


def reference(processor, made: VideoClip) -> tuple[torch.Tensor, list[int]]:
    out = processor.video_processor(
        videos=[torch.from_numpy(made.frames)],
        video_metadata=[for_transformers(made.metadata)],
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )
    return out["pixel_values_videos"], out["video_grid_thw"][0].tolist()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_patches_equal_the_processors_to_the_last_bit(adapter: ModelAdapter, processor, shape: Shape) -> None:
    made = clip(shape)
    ours = adapter.patches(made)
    values, grid = reference(processor, made)
    assert list(ours.grid) == grid
    assert ours.grid == adapter.grid(made.metadata)
    assert ours.values.dtype == torch.uint8
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        found = ours.normalised(dtype)
        assert found.dtype == dtype
        assert torch.equal(found, values.to(dtype))


def test_other_means_are_followed_to_the_last_bit(vision_folder: Path, tmp_path: Path) -> None:
    from transformers import AutoProcessor

    numbers = {
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    names = ("preprocessor_config.json", "video_preprocessor_config.json")
    folder = edited(vision_folder, tmp_path / "m", dict.fromkeys(names, numbers))
    made = clip(SHAPES[1])
    values, _ = reference(AutoProcessor.from_pretrained(folder, local_files_only=True), made)
    assert torch.equal(load_adapter(str(folder)).patches(made).normalised(torch.float32), values)


def test_patches_of_fourteen_pixels_are_cut_and_normalised_in_several_runs() -> None:
    """An independent reading of the order, number by number, of more patches than are normalised at a time."""
    recipe = PatchRecipe(
        patch_size=14,
        temporal_patch_size=2,
        merge_size=2,
        mean=(0.48, 0.46, 0.41),
        std=(0.27, 0.26, 0.28),
        rescale=1 / 255,
    )
    made = clip(Shape(5, 168, 252, 30.0))
    ours = recipe.cut(made)
    assert ours.grid == (3, 12, 18) and len(ours.values) == 648
    frames = np.concatenate([made.frames, made.frames[-1:]])
    places = [
        (t, 28 * row + 14 * y, 28 * column + 14 * x)
        for t, row, column, y, x in itertools.product(range(3), range(6), range(9), range(2), range(2))
    ]
    expected = np.stack([frames[2 * t : 2 * t + 2, :, y : y + 14, x : x + 14].swapaxes(0, 1) for t, y, x in places])
    assert np.array_equal(ours.values.numpy(), expected.reshape(648, -1))
    mean, std = (np.float32(values)[:, None, None, None] * np.float32(255) for values in (recipe.mean, recipe.std))
    assert np.array_equal(ours.normalised(torch.float32).numpy(), ((expected - mean) / std).reshape(648, -1))


def test_frames_in_another_memory_order_give_the_same_patches(adapter: ModelAdapter) -> None:
    made = clip(SHAPES[1])
    interleaved = np.ascontiguousarray(made.frames.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    other = VideoClip(frames=interleaved, metadata=made.metadata)
    assert torch.equal(adapter.patches(other).values, adapter.patches(made).values)


def test_read_only_frames_are_enough(adapter: ModelAdapter, recwarn: pytest.WarningsRecorder) -> None:
    made = clip(SHAPES[0])
    before = adapter.patches(made).values
    made.frames.flags.writeable = False
    assert torch.equal(adapter.patches(made).values, before)
    assert not recwarn.list


def test_frames_are_not_changed(adapter: ModelAdapter) -> None:
    made = clip(SHAPES[1])
    before = made.frames.copy()
    adapter.patches(made)
    assert np.array_equal(made.frames, before)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"preprocessor_config.json": {"image_mean": [0.4, 0.4, 0.4]}}, "vLLM"),
        ({"video_preprocessor_config.json": {"image_std": [0.4, 0.5, 0.5]}}, "vLLM"),
        ({"video_preprocessor_config.json": {"do_rescale": False}}, "do_rescale"),
        ({"video_preprocessor_config.json": {"patch_size": 8}}, "vision tower reads"),
    ],
)
def test_processors_that_disagree_are_refused(
    vision_folder: Path, tmp_path: Path, changes: dict[str, dict[str, Any]], reason: str
) -> None:
    folder = edited(vision_folder, tmp_path / "m", changes)
    with pytest.raises(ConfigError, match=reason):
        load_adapter(str(folder))


def test_a_folder_without_processors_is_refused(vision_folder: Path, tmp_path: Path) -> None:
    folder = edited(vision_folder, tmp_path / "m", {})
    (folder / "preprocessor_config.json").unlink()
    (folder / "video_preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match="processors"):
        load_adapter(str(folder))
