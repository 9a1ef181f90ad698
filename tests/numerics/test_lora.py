# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Adapters in a packed, sharded policy against peft around transformers' own code, one response at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import AutoModelForImageTextToText

from tests import policy_world, world
from tests.numerics.test_gradients import LOW, SETTINGS, Gradients, assert_close, dealt, stock_logprobs
from verl.checkpoint.adapter import describe, merged_weights, write_peft
from verl.config.model import LoraConfig
from verl.fsdp.policy import FrozenPolicy, Policy
from verl.models.adapter import load_adapter
from verl.models.low_rank import is_adapter, peft_name

LORA = LoraConfig(rank=4, alpha=12)
BLIND = {"lora": LORA, "freeze_vision_tower": True}  # adapters on the language model alone
CASES: dict[str, dict[str, Any]] = {
    "all": {"model": {"lora": LORA}},
    "all, plain, stored activations": {
        "model": {"lora": LORA, "enable_gradient_checkpointing": False},
        "shared_prompt": False,
    },
    "language": {"model": BLIND},
}


def new_policy(path: Path, ranks: int, *, shared_prompt: bool = True, **settings: Any) -> tuple[Policy, Any]:
    made = policy_world.World(load_adapter(str(path)), shared_prompt=shared_prompt)
    training = policy_world.training_settings(max_grad_norm=float("inf"), token_budget=LOW)
    return Policy(
        made.packer, policy_world.policy_settings(**settings), training, init_device_mesh("cpu", (ranks,))
    ), made


@torch.no_grad()
def stir(policy: Policy) -> None:
    """Give every adapter a say: the second of its matrices starts at zero."""
    for name, weight in policy.model.named_parameters():
        if is_adapter(name):
            generator = torch.Generator().manual_seed(sum(name.encode()))
            whole = 0.05 * torch.randn(weight.shape, generator=generator)
            weight.copy_(distribute_tensor(whole, weight.device_mesh, weight.placements))


def whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def adapters(policy: Policy) -> dict[str, Tensor]:
    return {
        name: whole(weight.detach()).clone() for name, weight in policy.model.named_parameters() if is_adapter(name)
    }


def gradients(path: Path, case: dict[str, Any], hands: int) -> Gradients:
    policy, made = new_policy(path, hands, **case)
    stir(policy)
    rows = dealt(made)
    mine = rows[dist.get_rank()] if hands == 2 else [row for hand in rows for row in hand]
    found: Gradients = {}

    def keep(*_: Any) -> None:
        for name, parameter in policy.model.named_parameters():
            assert is_adapter(name) or parameter.grad is None, name
            if parameter.grad is not None:
                found[name] = whole(parameter.grad).clone()

    policy.optimizer.register_step_pre_hook(keep)
    policy.update([mine], SETTINGS)
    return found


def two_ranks(rank: int, path: Path, target: Path) -> None:
    found = gradients(path, CASES["all"], 2)
    first = adapters(new_policy(path, 2, **CASES["all"], fsdp={"enable_rank0_init": False})[0])
    if rank == 0:
        torch.save((found, first), target)


def in_peft(policy: Policy, path: Path, folder: Path) -> peft.PeftModel:
    """The same adapters around transformers' model, read from a peft folder."""
    lora = describe(LORA.rank, LORA.alpha, path)
    base = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")
    return peft.PeftModel.from_pretrained(base, write_peft(adapters(policy), lora, folder), is_trainable=True)


def alone(case: dict[str, Any], path: Path, folder: Path) -> Gradients:
    policy, made = new_policy(path, 1, **case)
    stir(policy)
    model = in_peft(policy, path, folder)
    rows = [row for hand in dealt(made) for row in hand]
    num_tokens = sum(len(row.trajectory.response_ids) for row in rows)
    for row in rows:
        ratio = (stock_logprobs(model.get_base_model(), made, row) - torch.from_numpy(row.old_logprobs)).exp()
        advantages = torch.from_numpy(row.advantages)
        clipped = ratio.clamp(1 - SETTINGS.clip_low, 1 + SETTINGS.clip_high)
        loss = torch.maximum(-advantages * ratio, -advantages * clipped)
        dual = torch.minimum(loss, -advantages * SETTINGS.clip_dual)
        (torch.where(advantages < 0, dual, loss).sum() / num_tokens).backward()
    theirs = {peft_name(name): name for name in adapters(policy)}
    return {
        theirs[name.replace(".default.weight", ".weight")]: torch.zeros_like(p) if p.grad is None else p.grad
        for name, p in model.named_parameters()
        if p.requires_grad
    }


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("lora") / "model", tied=True)


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_one_rank_has_the_gradient_of_peft_without_packing(case: str, model_path: Path, tmp_path: Path) -> None:
    expected = alone(CASES[case], model_path, tmp_path / "adapter")
    assert any(".visual." in name for name in expected) == (case != "language")
    assert_close(gradients(model_path, CASES[case], 1), expected)


def test_two_ranks_have_it_too_and_begin_with_the_same_adapters(model_path: Path, tmp_path: Path) -> None:
    policy_world.run_ranks(two_ranks, 2, model_path, tmp_path / "found.pt")
    found, first = torch.load(tmp_path / "found.pt")
    assert_close(found, gradients(model_path, CASES["all"], 1))
    expected = adapters(new_policy(model_path, 1, **CASES["all"])[0])
    assert first.keys() == expected.keys()
    assert all(torch.equal(first[name], expected[name]) for name in expected)


def test_a_policy_with_new_adapters_is_the_model_it_starts_from(model_path: Path) -> None:
    """To the bit. Later the same is what it says without them: a reference that needs no second model."""
    policy, made = new_policy(model_path, 1, **CASES["all"])
    rows = [row.trajectory for hand in dealt(made) for row in hand]
    frozen = FrozenPolicy(made.packer, policy_world.policy_settings(model={"lora": LORA}, trainable=False), policy.mesh)
    expected = frozen.logprobs(rows)
    assert all(map(np.array_equal, policy.base_logprobs(rows), expected))  # before anything was gathered to be trained
    said = policy.logprobs(rows)
    assert all(map(np.array_equal, said, expected))
    for _ in range(2):
        policy.update([[row for hand in dealt(made) for row in hand]], SETTINGS)
        moved = policy.logprobs(rows)
        assert max(float(np.abs(a - b).max()) for a, b in zip(moved, said, strict=True)) > 1e-3
        said = moved
        assert all(map(np.array_equal, policy.base_logprobs(rows), expected))


def test_what_is_published_and_what_is_merged_is_what_peft_merges(model_path: Path, tmp_path: Path) -> None:
    policy, _ = new_policy(model_path, 1, **CASES["all"])
    before = {name: weight.clone() for name, weight in policy.full_weights()}
    stir(policy)
    expected = in_peft(policy, model_path, tmp_path / "adapter").merge_and_unload()
    source = policy.full_weights()
    found = {name: weight.clone() for name, weight in source}
    assert [(name, weight.dtype, tuple(weight.shape)) for name, weight in found.items()] == source.metadata()
    assert {name for name, _ in expected.named_parameters()} == found.keys()
    assert all(torch.equal(expected.get_parameter(name), weight) for name, weight in found.items())
    assert sum(not torch.equal(before[name], weight) for name, weight in found.items()) == len(adapters(policy)) // 2
    lora = describe(LORA.rank, LORA.alpha, model_path)
    merged = merged_weights(before, adapters(policy), lora)
    assert all(torch.equal(merged[name], weight) for name, weight in found.items())


def test_adapters_alone_travel_under_pefts_names(model_path: Path) -> None:
    policy, _ = new_policy(model_path, 1, **CASES["language"])
    stir(policy)
    held = adapters(policy)
    _, whole = new_policy(model_path, 1)[0].num_weights()
    assert policy.num_weights() == (sum(weight.numel() for weight in held.values()), whole)
    sent = dict(policy.adapter_weights())
    assert sent.keys() == {peft_name(name) for name in held}
    assert all(torch.equal(sent[peft_name(name)], weight) for name, weight in held.items())
