# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Weights of experts on their way out: to engines and into folders, as they are published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.device_mesh import init_device_mesh

from tests import policy_world
from tests.world import tiny_model
from verl.checkpoint import sharded
from verl.checkpoint.layout import copy_model_files
from verl.checkpoint.merge import merge
from verl.errors import ConfigError
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter


@pytest.mark.parametrize("family", ["qwen3_vl_moe", "qwen3_5_moe"])
def test_engines_and_folders_get_what_the_hub_has(family: str, tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)
    folder = tiny_model(tmp_path / "model", family)
    published = load_file(folder / "model.safetensors")
    made = policy_world.World(load_adapter(str(folder)))
    mesh = init_device_mesh("cpu", (1,))
    policy = Policy(made.packer, policy_world.policy_settings(), policy_world.training_settings(), mesh)
    source = policy.full_weights()
    sent = {name: tensor.clone() for name, tensor in source}
    assert source.metadata() == [(name, torch.float32, tuple(tensor.shape)) for name, tensor in sent.items()]
    actor = tmp_path / "actor"
    sharded.save(actor, sharded.Trained(policy.model, policy.optimizer, policy.schedule), model_only=True)
    copy_model_files(folder, actor)
    merged = load_file(merge(actor) / "model.safetensors")
    for found in (sent, merged):
        assert found.keys() == published.keys()
        assert all(torch.equal(found[name], tensor) for name, tensor in published.items())


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"moe_intermediate_size": 32}, "square weights"), ({"norm_topk_prob": False}, "norm_topk_prob=false")],
)
def test_what_transformers_and_vllm_would_read_differently_is_refused(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    folder = tiny_model(tmp_path / "model", "qwen3_vl_moe")
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=reason):
        load_adapter(str(folder))
