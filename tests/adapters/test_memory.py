# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The estimate against what a real model, its gradients, its optimizer and the graph of a real pass hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.conftest import Library
from tests.adapters.families import FAMILIES, WITH_MEDIA, Family
from tests.adapters.test_network import Batch, batch_of
from verl.config.model import FsdpConfig, LoraConfig, ModelConfig, OptimConfig
from verl.fsdp.memory import MemoryPlan, activations, estimate, kv_cache_per_token
from verl.fsdp.optim import build_optimizer
from verl.fsdp.trained import choose_trained
from verl.models.adapter import ModelAdapter

FACTOR = 1.25  # between formula and graph
PLAIN_DELTA_NET = 2.3  # by which plain torch code keeps more of a linear layer than the formula has
CHANGES: dict[str, ModelConfig] = {
    "all": ModelConfig(),
    "frozen tower": ModelConfig(freeze_vision_tower=True),
    "adapters": ModelConfig(lora=LoraConfig(rank=4)),
}


def plan(**changes: Any) -> MemoryPlan:
    defaults: dict[str, Any] = {"model": ModelConfig(), "fsdp": FsdpConfig(), "optim": OptimConfig(), "num_shards": 1}
    return MemoryPlan(**{**defaults, "token_budget": 100, "visual_tokens": 20, "device": "cpu", **changes})


def stepped(adapter: ModelAdapter, config: ModelConfig, optim: OptimConfig) -> tuple[list[Any], torch.optim.Optimizer]:
    """Weights, and their optimizer after a step with a gradient for each that is trained."""
    model = adapter.build(torch.float32)
    choose_trained(model, adapter, config, torch.float32, 0)
    optimizer = build_optimizer(model, optim)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight) if weight.requires_grad else None
    optimizer.step()
    return list(model.parameters()), optimizer


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    values = [value for state in optimizer.state.values() for value in state.values()]
    return sum(value.nbytes for value in values if isinstance(value, Tensor))


def check(adapter: ModelAdapter, config: ModelConfig, optim: OptimConfig) -> None:
    weights, optimizer = stepped(adapter, config, optim)
    found = estimate(adapter, plan(model=config, optim=optim))
    assert found.weights == sum(weight.nbytes for weight in weights)
    assert found.gradients == sum(weight.grad.nbytes for weight in weights if weight.grad is not None)
    assert found.optimizer == state_bytes(optimizer)
    assert found.num_weights == sum(weight.numel() for weight in weights)


def test_weights_gradients_and_moments_are_exact(library: Library, family: Family) -> None:
    check(library.adapter(family), ModelConfig(), OptimConfig())


@pytest.mark.parametrize("change", ["frozen tower", "adapters"])
def test_what_is_not_trained_has_no_gradient_and_no_moments(library: Library, change: str) -> None:
    check(library.adapter(WITH_MEDIA[2]), CHANGES[change], OptimConfig())


@pytest.mark.parametrize("strategy", ["adamw_bf16", "muon"])
def test_every_optimizer_has_its_own_state(library: Library, strategy: Any) -> None:
    check(library.adapter(WITH_MEDIA[2]), ModelConfig(), OptimConfig(strategy=strategy))


def test_the_first_process_has_the_longer_part_of_a_weight(library: Library) -> None:
    adapter = library.adapter(WITH_MEDIA[2])
    weights = adapter.build(torch.float32, meta=True).parameters()
    by_hand = sum(next(iter(weight.chunk(3))).numel() * 4 for weight in weights)
    assert estimate(adapter, plan(num_shards=3)).weights == by_hand


def kept_by(batch: Batch, *, checkpointing: bool) -> int:
    """Bytes of all storages that the graph of a pass holds, weights left out."""
    model, micro = batch.adapter.build(torch.float32, gradient_checkpointing=checkpointing), batch.pack()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        batch.adapter.hidden_states(model, micro.row)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own)


@pytest.mark.parametrize("checkpointing", [True, False], ids=["checkpointing", "everything"])
def test_activations_are_those_that_the_graph_holds(library: Library, family: Family, checkpointing: bool) -> None:
    batch = batch_of(library, family)
    row = batch.pack().row
    asked = plan(
        model=ModelConfig(enable_gradient_checkpointing=checkpointing),
        token_budget=len(row.ids),
        visual_tokens=sum(clip.grid.num_tokens(2) for clip in row.media),
    )
    formula, recomputed = activations(batch.adapter.config, asked, 4)
    plain_code = PLAIN_DELTA_NET if "qwen3_5" in family.name and not checkpointing else 1
    assert 1 / FACTOR <= formula / kept_by(batch, checkpointing=checkpointing) * plain_code <= FACTOR
    assert (recomputed > 0) == checkpointing


def test_only_attention_has_a_cache_that_grows(library: Library) -> None:
    by_name = {family.name: kv_cache_per_token(library.adapter(family).config) for family in FAMILIES}
    assert by_name["qwen3_vl"] == 2 * 2 * 2 * 32 * 2  # keys and values, layers, heads, numbers, bytes
    assert by_name["qwen3_5"] == by_name["qwen3_vl"] // 2  # one of three layers


def test_the_command_prints_a_line_for_each_part(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.estimate_memory import main

    folder: Path = library.folder(WITH_MEDIA[2])
    assert main(["--model", str(folder), "--gpus", "4", "--token-budget", "4096"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "weights",
        "gradients",
        "optimizer state",
        "gathered blocks and their gradients",
        "activations kept",
        "a block recomputed",
        "a chunk of logits",
        "of these in host memory",
        "all together, at most",
        "KV cache of an engine, per token",
    ]
    assert main(["--model", str(folder / "nowhere"), "--gpus", "4", "--token-budget", "4096"]) == 2


def test_what_waits_in_host_memory_is_not_on_the_device(library: Library) -> None:
    adapter, stored = library.adapter(WITH_MEDIA[2]), ModelConfig(enable_gradient_checkpointing=False)
    before = estimate(adapter, plan(device="cuda"))
    by_fsdp = estimate(adapter, plan(device="cuda", fsdp=FsdpConfig(enable_cpu_offload=True)))
    assert by_fsdp.on_host == before.weights + before.gradients + before.optimizer == before.total - by_fsdp.total
    text, vision = adapter.config.text_config, adapter.config.vision_config
    inputs = 2 * (100 * text.num_hidden_layers * text.hidden_size + 20 * 4 * vision.depth * vision.hidden_size)
    offloading = {"enable_activation_offload": True}
    found = estimate(adapter, plan(device="cuda", model=ModelConfig(**offloading)))
    assert found.on_host == inputs == before.total - found.total
    assert estimate(adapter, plan(device="cuda", model=replace(stored, **offloading))).on_host == 0
    assert estimate(adapter, plan(fsdp=FsdpConfig(enable_cpu_offload=True))).on_host == 0  # on a CPU


def test_the_command_counts_no_processes_that_are_not_there(
    library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.estimate_memory import main

    model = ["--model", str(library.folder(WITH_MEDIA[2])), "--token-budget", "4096"]
    assert main([*model, "--gpus", "2", "worker.actor.fsdp.fsdp_size=8"]) == 0
    assert "a copy over 2," in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main([*model, "--gpus", "0"])
    assert "must be at least 1" in capsys.readouterr().err
