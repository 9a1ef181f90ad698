# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.distributed.device_mesh import init_device_mesh
from transformers import AutoModelForImageTextToText, AutoTokenizer, AutoVideoProcessor

from tests import policy_world, world
from verl.checkpoint import sharded
from verl.checkpoint.layout import copy_model_files
from verl.checkpoint.merge import merge
from verl.errors import CheckpointError
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)


def saved(model: Path, actor: Path) -> dict[str, torch.Tensor]:
    """A checkpoint of `model` with changed weights; the weights."""
    made = policy_world.World(load_adapter(str(model)))
    mesh = init_device_mesh("cpu", (1,))
    policy = Policy(made.packer, policy_world.policy_settings(), policy_world.training_settings(), mesh)
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.125)
    sharded.save(actor, sharded.Trained(policy.model, policy.optimizer, policy.schedule), model_only=True)
    copy_model_files(model, actor)
    return {name: tensor.clone() for name, tensor in policy.full_weights()}


def stored_names(folder: Path) -> set[str]:
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            names |= set(opened.keys())
    return names


@pytest.mark.parametrize(
    ("family", "tied"), [("qwen3_vl", False), ("qwen3_vl", True), ("qwen2_vl", True), ("qwen2_5_vl", False)]
)
def test_from_pretrained_gives_the_trained_weights_under_the_hubs_names(
    tmp_path: Path, family: str, tied: bool
) -> None:
    original = world.tiny_model(tmp_path / "model", family, tied=tied)
    expected = saved(original, tmp_path / "actor")
    merged = merge(tmp_path / "actor")
    assert merged == tmp_path / "actor" / "huggingface"
    assert stored_names(merged) == stored_names(original)
    assert ("lm_head.weight" in stored_names(merged)) is not tied
    model = AutoModelForImageTextToText.from_pretrained(merged, dtype=torch.float32)
    found = dict(model.named_parameters())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    AutoTokenizer.from_pretrained(merged)
    AutoVideoProcessor.from_pretrained(merged)


def test_a_missing_tensor_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    saved(world.tiny_model(tmp_path / "model", "qwen3"), tmp_path / "actor")
    config = tmp_path / "actor" / "huggingface" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "num_hidden_layers": 3, "layer_types": None}))
    with pytest.raises(CheckpointError, match=r"tensors differ \(model.layers.2.* absent in the checkpoint"):
        merge(tmp_path / "actor")
    assert stored_names(tmp_path / "actor" / "huggingface") == set()


def test_the_command_writes_another_type_to_another_folder(tmp_path: Path) -> None:
    expected = saved(world.tiny_model(tmp_path / "model", "qwen3"), tmp_path / "actor")
    command = [sys.executable, "scripts/model_merger.py", "--local_dir", str(tmp_path / "actor")]
    options = ["--dtype", "bfloat16", "--target_dir", str(tmp_path / "out")]
    subprocess.run([*command, *options], check=True, env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    with safe_open(next((tmp_path / "out").glob("*.safetensors")), "pt") as opened:
        found = opened.get_tensor("model.norm.weight")
    assert torch.equal(found, expected["model.norm.weight"].bfloat16())


def test_the_huggingface_folder_itself_is_not_what_to_merge(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must be a checkpoint's actor folder"):
        merge(tmp_path)


def test_what_training_overrode_is_in_the_config(tmp_path: Path) -> None:
    original = world.tiny_model(tmp_path / "model")
    copy_model_files(original, tmp_path, override_config={"text_config": {"rms_norm_eps": 0.5}})
    before = json.loads((original / "config.json").read_text())
    after = json.loads((tmp_path / "huggingface" / "config.json").read_text())
    assert after["text_config"] == {**before["text_config"], "rms_norm_eps": 0.5}
    assert after["vision_config"] == before["vision_config"]
    assert not list((tmp_path / "huggingface").glob("*.safetensors*"))


def test_a_folder_with_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "actor" / "huggingface").mkdir(parents=True)
    (tmp_path / "actor" / "huggingface" / "config.json").write_text("{}")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    for target in (tmp_path, tmp_path / "actor", tmp_path / "thesis"):
        with pytest.raises(CheckpointError, match="holds no model; all that is in it would be deleted"):
            merge(tmp_path / "actor", target)
    assert (tmp_path / "thesis" / "thesis.tex").exists()
