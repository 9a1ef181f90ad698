# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Videos and images each have their own limits of pixels, and cache, prompt, engine and policy all keep to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.quickstart.make_videos import JOINT, Recipe, write_dataset
from tests.world import tiny_model
from verl.config.load import load as load_config
from verl.data.dataset import PromptDataset, build_dataset
from verl.media.source import load
from verl.models.adapter import ModelAdapter, load_adapter
from verl.rollout.requests import build_request

RECIPE = Recipe(kinds={"colour": 1.0}, train=len(JOINT), val=len(JOINT), media=JOINT)
SIDES = {  # of a frame and of an image, in training and in validation: none is as in the files
    True: {"video": 32, "image": 128},
    False: {"video": 96, "image": 64},
}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> ModelAdapter:
    return load_adapter(str(tiny_model(tmp_path_factory.mktemp("model") / "tiny")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, RECIPE)
    return folder


def dataset(folder: Path, adapter: ModelAdapter, *, train: bool) -> PromptDataset:
    limits = [
        f"data.{'' if split else 'val_'}{kind}_{end}_pixels={side**2}"
        for split, sides in SIDES.items()
        for kind, side in sides.items()
        for end in ("min", "max")
    ]
    files = [f"data.{split}_files={folder / split}.jsonl" for split in ("train", "val")]
    rest = [f"data.image_dir={folder}", "data.prompt_key=problem", f"data.preprocessed_video_dir={folder / 'cache'}"]
    return build_dataset(load_config([*limits, *files, *rest]).data, adapter, train=train)


@pytest.mark.parametrize("train", [True, False], ids=["training", "validation"])
def test_every_stage_sees_the_size_that_its_budget_allows(folder: Path, adapter: ModelAdapter, train: bool) -> None:
    prompts = list(dataset(folder, adapter, train=train))
    assert [len(prompt.media) for prompt in prompts] == [kind != "text" for kind in JOINT]
    for prompt in prompts[:-1]:
        (ref,), (grid,) = prompt.media, prompt.grids
        side = SIDES[train][ref.kind]
        clip = load(ref)  # for the engine and for the policy alike
        assert clip.frames.shape[-2:] == (side, side)
        assert adapter.patches(clip).grid == grid
        assert grid.h * grid.w == (side // adapter.patch_size) ** 2
        assert len(adapter.visual_index(prompt.ids, prompt.grids)) == grid.num_tokens(adapter.merge_size)
        sent = build_request(prompt, [clip])["multi_modal_data"][ref.kind][0]
        pixels = sent if ref.kind == "image" else sent[0]
        assert pixels.shape[-3:] == (side, side, 3)
        assert (ref.entry is not None) == (ref.kind == "video"), (
            "the cache holds clips; images are read from their files"
        )


def test_clips_of_another_budget_are_another_entry(folder: Path, adapter: ModelAdapter) -> None:
    keys = {
        train: {ref.key for prompt in dataset(folder, adapter, train=train) for ref in prompt.media}
        for train in (True, False)
    }
    assert len(keys[True]) == len(keys[False]) == 6 and not keys[True] & keys[False]
