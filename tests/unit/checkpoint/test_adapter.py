# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.device_mesh import init_device_mesh
from transformers import AutoModelForImageTextToText

from tests import policy_world, world
from verl.algorithms.contract import LossSettings
from verl.checkpoint import layout, sharded
from verl.checkpoint.adapter import Lora, check_lora, describe, read_lora, weights_digest, write_lora
from verl.checkpoint.merge import export_adapter, merge
from verl.config.model import LoraConfig, OptimConfig
from verl.errors import CheckpointError
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.models.low_rank import is_adapter

LORA = LoraConfig(rank=4, alpha=6)


def new_policy(path: Path) -> tuple[Policy, Any]:
    made = policy_world.World(load_adapter(str(path)))
    settings = policy_world.policy_settings(model={"lora": LORA})
    training = policy_world.training_settings(optim=OptimConfig(lr=1e-2))
    return Policy(made.packer, settings, training, init_device_mesh("cpu", (1,))), made


def step(policy: Policy, made: Any, number: int) -> None:
    rows = made.rows(made.prompt(f"question {number}", made.clip("a")), number, [3, 5])
    policy.update([[policy_world.experience(row) for row in rows]], LossSettings())


def trained(policy: Policy) -> sharded.Trained:
    return sharded.Trained(policy.model, policy.optimizer, policy.learner.schedule)


@dataclass
class Saved:
    model: Path
    actor: Path
    lora: Lora
    weights: dict[str, torch.Tensor]  # merged, when it was saved
    later: dict[str, bytes]  # everything, a step later


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    directory = tmp_path_factory.mktemp("adapter")
    policy_world.one_rank(directory)
    model = world.tiny_model(directory / "model", tied=True)
    policy, made = new_policy(model)
    for number in range(2):
        step(policy, made, number)
    actor, lora = directory / "actor", describe(LORA.rank, LORA.alpha, model)
    layout.copy_model_files(model, actor)
    write_lora(actor, lora)
    sharded.save(actor, trained(policy))
    weights = {name: weight.clone() for name, weight in policy.full_weights()}
    step(policy, made, 2)
    return Saved(model, actor, lora, weights, dict(sharded.local_state(trained(policy))))


def test_a_checkpoint_holds_adapters_and_what_trains_them(saved: Saved) -> None:
    shapes = sharded.stored_shapes(saved.actor)
    assert all(map(is_adapter, shapes))
    whole = sum(weight.numel() for weight in saved.weights.values())
    assert sum(map(math.prod, shapes.values())) < 0.05 * whole
    optimized = FileSystemReader(saved.actor / "shards").read_metadata().state_dict_metadata
    assert {name.split(".")[-1] for name in optimized if name.startswith("optimizer.state.")} >= {
        "exp_avg",
        "exp_avg_sq",
    }
    assert all(
        name.startswith(("model.", "optimizer.")) and not name.endswith("base_layer.weight") for name in optimized
    )


def test_a_resumed_run_is_bitwise_the_uninterrupted_one(saved: Saved) -> None:
    policy, made = new_policy(saved.model)
    check_lora(saved.actor, saved.lora)
    sharded.load(saved.actor, trained(policy))
    step(policy, made, 2)
    assert dict(sharded.local_state(trained(policy))) == saved.later


def test_the_merged_folder_is_the_policy(saved: Saved, tmp_path: Path) -> None:
    model = AutoModelForImageTextToText.from_pretrained(merge(saved.actor, tmp_path / "merged"), dtype=torch.float32)
    found = dict(model.named_parameters())
    assert found.keys() == saved.weights.keys()
    assert all(torch.equal(found[name], weight) for name, weight in saved.weights.items())
    before = load_file(saved.model / "model.safetensors")
    after = load_file(tmp_path / "merged" / "model.safetensors")
    assert before.keys() == after.keys()


def test_the_exported_folder_is_read_by_peft_and_is_the_policy_too(saved: Saved, tmp_path: Path) -> None:
    base = AutoModelForImageTextToText.from_pretrained(saved.model, dtype=torch.float32)
    model = peft.PeftModel.from_pretrained(base, export_adapter(saved.actor, tmp_path / "a" / "adapter"))
    found = dict(model.merge_and_unload().named_parameters())
    assert all(torch.equal(found[name], weight) for name, weight in saved.weights.items())


def test_types_are_rounded_once(saved: Saved, tmp_path: Path) -> None:
    merged = load_file(merge(saved.actor, tmp_path / "merged", torch.bfloat16) / "model.safetensors")
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert torch.equal(merged[name], saved.weights[name].to(torch.bfloat16))
    adapter = load_file(export_adapter(saved.actor, tmp_path / "adapter", torch.bfloat16) / "adapter_model.safetensors")
    assert {weight.dtype for weight in adapter.values()} == {torch.bfloat16}


def test_a_base_that_moved_is_found_and_another_one_refused(saved: Saved, tmp_path: Path) -> None:
    actor, moved = tmp_path / "actor", tmp_path / "elsewhere"
    shutil.copytree(saved.actor, actor)
    shutil.copytree(saved.model, moved)
    write_lora(actor, replace(saved.lora, base_model=str(tmp_path / "gone")))
    with pytest.raises(CheckpointError, match=r"which is not there; say where it is with --base_model"):
        merge(actor, tmp_path / "merged")
    assert (merge(actor, tmp_path / "merged", base=moved) / "model.safetensors").is_file()
    weights = load_file(moved / "model.safetensors")
    weights["model.language_model.norm.weight"] += 1e-3
    save_file(weights, moved / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"has other weights than the adapters were trained beside"):
        merge(actor, tmp_path / "merged", base=moved)


def test_the_base_is_not_replaced_by_what_is_merged(saved: Saved) -> None:
    before = weights_digest(saved.model)
    with pytest.raises(CheckpointError, match="trained beside; name another folder"):
        merge(saved.actor, saved.model)
    assert weights_digest(saved.model) == before


def test_adapters_for_other_layers_are_refused(saved: Saved, tmp_path: Path) -> None:
    actor, other = tmp_path / "actor", world.tiny_model(tmp_path / "other", "qwen3")
    shutil.copytree(saved.actor, actor)
    shutil.rmtree(actor / "huggingface")
    layout.copy_model_files(other, actor)
    write_lora(actor, describe(LORA.rank, LORA.alpha, other))
    with pytest.raises(CheckpointError, match=r"fits no weight of"):
        merge(actor, tmp_path / "merged")


def test_a_run_with_other_adapters_does_not_go_on_from_it(saved: Saved, tmp_path: Path) -> None:
    for lora, message in (
        (replace(saved.lora, alpha=12), r"rank 4 and alpha 6: set"),
        (replace(saved.lora, rank=8), r"rank 4 and alpha 6: set"),
        (replace(saved.lora, base_digest="0"), r"other weights than that had"),
        (None, r"holds adapters and this run trains whole weights"),
    ):
        with pytest.raises(CheckpointError, match=message):
            check_lora(saved.actor, lora)
    with pytest.raises(CheckpointError, match=r"holds whole weights and this run trains adapters"):
        check_lora(tmp_path, saved.lora)
    with pytest.raises(CheckpointError, match=r"has no adapters"):
        export_adapter(tmp_path, tmp_path / "adapter")
    (tmp_path / "lora.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"is damaged"):
        read_lora(tmp_path)


def test_the_digest_of_a_model_is_that_of_its_weights(saved: Saved, tmp_path: Path) -> None:
    shutil.copytree(saved.model, tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_text("{}")
    assert weights_digest(tmp_path / "copy") == saved.lora.base_digest
    (tmp_path / "copy" / "model.safetensors").unlink()
    assert weights_digest(tmp_path / "copy") != saved.lora.base_digest
