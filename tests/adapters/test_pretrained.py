# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Weights read one at a time against those that transformers' own from_pretrained gives, for every family."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.adapters.conftest import Library
from tests.adapters.families import Family
from tests.world import tiny_model
from verl.errors import ConfigError
from verl.models.adapter import load_adapter
from verl.models.pretrained import INDEX, SINGLE, PretrainedWeights


def spread(folder: Path, num_files: int = 3) -> Path:
    """The folder with its weights dealt to several files, those of one layer to different ones."""
    weights = load_file(folder / SINGLE)
    (folder / SINGLE).unlink()
    places = {
        name: f"model-{place % num_files + 1:05}-of-{num_files:05}.safetensors" for place, name in enumerate(weights)
    }
    for file in set(places.values()):
        save_file({name: weights[name] for name in weights if places[name] == file}, folder / file)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


@pytest.mark.parametrize("tied", [False, True])
def test_every_weight_is_what_from_pretrained_makes_of_it(
    library: Library, family: Family, tied: bool, tmp_path: Path
) -> None:
    if tied:
        adapter = load_adapter(str(tiny_model(tmp_path / "model", family.name, tied=True)))
    else:
        adapter = library.adapter(family)
    expected = adapter.build(torch.float32)
    folder = spread(tiny_model(tmp_path / "spread", family.name, tied=tied))
    empty = adapter.build(torch.float32, meta=True)
    weights = PretrainedWeights(folder, empty)
    kept = expected.state_dict()
    assert weights.names == kept.keys() == empty.state_dict().keys()
    for name, value in kept.items():
        found = weights.read(name)
        assert found.dtype == weights.dtype(name)
        assert torch.equal(found.to(value.dtype), value), name
    tables = dict(empty.named_buffers()).keys() - kept.keys()
    assert all(torch.equal(empty.get_buffer(name), expected.get_buffer(name)) for name in tables)


def test_layers_that_transformers_leaves_out_are_left_out(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", "qwen3_5")
    rewrite(folder, lambda weights: {**weights, "mtp.layers.0.weight": torch.ones(2)})
    model = load_adapter(str(folder)).build(torch.float32, meta=True)
    assert "mtp.layers.0.weight" not in PretrainedWeights(folder, model).names


Change = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
DOWN, NORM = "model.layers.1.mlp.down_proj.weight", "model.norm.weight"
BROKEN: dict[str, tuple[Change, str]] = {
    "lacks one": (lambda weights: {name: value for name, value in weights.items() if name != DOWN}, f"lacks {DOWN}"),
    "has one more": (
        lambda weights: {**weights, "model.layers.9.bias": torch.ones(2)},
        r"the model has no place for model.layers.9.bias\.",
    ),
    "another shape": (
        lambda weights: {**weights, NORM: torch.ones(3)},
        rf"the folder has {NORM} \[3\] instead of \[64\]",
    ),
    "an untied head": (
        lambda weights: {**weights, "lm_head.weight": weights["model.embed_tokens.weight"] + 1},
        "different values for lm_head.weight and model.embed_tokens.weight|different values for model.embed_tokens",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_weights_of_another_model_are_refused_by_name(case: str, tmp_path: Path) -> None:
    change, message = BROKEN[case]
    folder = tiny_model(tmp_path / "model", "qwen3", tied=True)
    rewrite(folder, change)
    model = load_adapter(str(folder)).build(torch.float32, meta=True)
    with pytest.raises(ConfigError, match=message):
        PretrainedWeights(folder, model)


def test_a_head_that_is_stored_twice_and_one_that_may_be_absent_are_read(tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model", "qwen3", tied=True)
    rewrite(folder, lambda weights: {**weights, "lm_head.weight": weights["model.embed_tokens.weight"].clone()})
    model = load_adapter(str(folder)).build(torch.float32, meta=True)
    weights = PretrainedWeights(folder, model)
    assert torch.equal(weights.read("lm_head.weight"), weights.read("model.embed_tokens.weight"))
    untied = tiny_model(tmp_path / "untied", "qwen3")
    rewrite(untied, lambda weights: {name: value for name, value in weights.items() if name != "lm_head.weight"})
    model = load_adapter(str(untied)).build(torch.float32, meta=True)
    with pytest.raises(ConfigError, match=r"lacks lm_head\.weight"):
        PretrainedWeights(untied, model)
    assert "lm_head.weight" not in PretrainedWeights(untied, model, ["lm_head.weight"]).names


def test_files_that_are_absent_damaged_or_of_another_kind_are_named(tmp_path: Path) -> None:
    folder = spread(tiny_model(tmp_path / "model", "qwen3"))
    model = load_adapter(str(folder)).build(torch.float32, meta=True)
    second = folder / "model-00002-of-00003.safetensors"
    second.write_bytes(second.read_bytes()[:-8])
    with pytest.raises(ConfigError, match=r"model-00002-of-00003.safetensors is damaged"):
        PretrainedWeights(folder, model)
    second.unlink()
    with pytest.raises(ConfigError, match=r"lacks model-00002-of-00003.safetensors, 1 of its 3 weight files"):
        PretrainedWeights(folder, model)
    (folder / INDEX).write_text("[]")
    with pytest.raises(ConfigError, match=r"index.json is damaged"):
        PretrainedWeights(folder, model)
    (folder / INDEX).unlink()
    with pytest.raises(ConfigError, match=r"holds neither model.safetensors nor"):
        PretrainedWeights(folder, model)


def rewrite(folder: Path, change: Change) -> None:
    weights = load_file(folder / SINGLE)
    save_file(change(weights), folder / SINGLE, metadata={"format": "pt"})
