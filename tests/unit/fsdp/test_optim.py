# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from verl.config.model import OptimConfig
from verl.errors import ConfigError
from verl.fsdp.offload import move_optimizer, present
from verl.fsdp.optim import CompensatedAdamW, build_optimizer, build_schedule


def rates(num_steps: int, **keys: Any) -> list[float]:
    config = OptimConfig(lr=2.0, **keys)
    optimizer = build_optimizer(nn.Linear(1, 1), config)
    schedule = build_schedule(optimizer, config, num_steps)
    found = []
    for _ in range(num_steps):
        found.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return found


def test_a_constant_rate_is_constant() -> None:
    assert rates(3) == [2, 2, 2]


def test_warm_up_is_linear_from_zero_and_steps_win_over_the_ratio() -> None:
    assert rates(6, lr_warmup_ratio=0.5) == pytest.approx([0, 2 / 3, 4 / 3, 2, 2, 2])
    assert rates(4, lr_warmup_steps=2, lr_warmup_ratio=0.75) == [0, 1, 2, 2]
    assert rates(3, lr_warmup_steps=0, lr_warmup_ratio=1.0) == [2, 2, 2]


def test_cosine_goes_down_to_the_floor() -> None:
    found = rates(10, lr_scheduler_type="cosine", lr_warmup_steps=2, min_lr_ratio=0.1)
    expected = [2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * k / 8))) for k in range(8)]
    assert found == pytest.approx([0, 1, *expected])


def test_a_line_goes_down_to_the_floor() -> None:
    found = rates(6, lr_scheduler_type="linear", lr_warmup_steps=2, min_lr_ratio=0.5)
    assert found == pytest.approx([0, 1, 2, 1.75, 1.5, 1.25])
    assert rates(5, lr_scheduler_type="linear") == pytest.approx([2, 1.6, 1.2, 0.8, 0.4])


EIGHT_BIT = pytest.param("adamw_8bit", marks=pytest.mark.skipif(find_spec("torchao") is None, reason="needs torchao"))
STRATEGIES = ["adamw", "adamw_bf16", EIGHT_BIT, "muon"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_frozen_weights_are_left_out_and_vectors_are_not_decayed(strategy: str) -> None:
    model = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 4), nn.LayerNorm(4), nn.Linear(4, 2), nn.Linear(2, 1))
    model[3].requires_grad_(False)
    names = {parameter: name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, OptimConfig(strategy=strategy))
    found = {
        (group["weight_decay"], "momentum" in group, names[parameter])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {
        (0.01, False, "0.weight"),
        (0.01, strategy == "muon", "1.weight"),
        (0.01, False, "4.weight"),
        *((0.0, False, name) for name in ("1.bias", "2.weight", "2.bias", "4.bias")),
    }


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rate_is_a_number_wherever_the_optimizer_keeps_it(strategy: str) -> None:
    model, config = nn.Linear(2, 2), OptimConfig(lr=0.5, strategy=strategy, lr_warmup_steps=2)
    optimizer = build_optimizer(model, config)
    schedule = build_schedule(optimizer, config, 4)
    optimizer.step(), schedule.step()
    assert json.loads(json.dumps(schedule.state_dict()))["_last_lr"] == [0.25, 0.25]
    schedule.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    schedule.step()
    assert [float(group["lr"]) for group in optimizer.param_groups] == [0.5, 0.5]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resumed_run_keeps_moments_and_place_and_takes_its_settings_from_the_configuration(strategy: str) -> None:
    def made(**keys: Any) -> Any:
        model = nn.Linear(2, 2)
        config = OptimConfig(strategy=strategy, lr_scheduler_type="linear", **keys)
        optimizer = build_optimizer(model, config)
        return model, optimizer, build_schedule(optimizer, config, 10)

    model, optimizer, schedule = made(lr=0.5, weight_decay=0.1)
    for _ in range(4):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step(), schedule.step()
    again = {"same": made(lr=0.5, weight_decay=0.1), "other": made(lr=0.25, weight_decay=0.0, betas=(0.8, 0.9))}
    for _, resumed, place in again.values():
        resumed.load_state_dict(optimizer.state_dict())
        place.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    _, same, place = again["same"]
    assert place.state_dict() == schedule.state_dict()
    assert [float(group["lr"]) for group in same.param_groups] == schedule.state_dict()["_last_lr"]
    _, other, place = again["other"]
    assert [float(group["lr"]) for group in other.param_groups] == pytest.approx([0.25 * 0.6] * 2)
    assert {group["weight_decay"] for group in other.param_groups} == {0.0}
    assert {tuple(group["betas"]) for group in other.param_groups} == {(0.8, 0.9)}
    place.step()
    assert place.get_last_lr() == pytest.approx([0.25 * 0.5] * 2)
    assert len(other.state) == len(optimizer.state) > 0


def test_without_torchao_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(ConfigError, match=r"pip install 'verl\[adamw8bit\]'"):
        build_optimizer(nn.Linear(2, 2), OptimConfig(strategy="adamw_8bit"))


def descend(kind: Any, dtype: torch.dtype, **options: Any) -> torch.Tensor:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(64).to(dtype))
    optimizer = kind([weight], lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1, **options)
    for step in range(30):
        torch.manual_seed(step)
        weight.grad = (torch.randn(64) + 0.5).to(dtype)
        optimizer.step()
    return weight.detach().float()


def test_compensated_adamw_follows_adamw() -> None:
    expected = descend(AdamW, torch.float32)
    torch.testing.assert_close(descend(CompensatedAdamW, torch.float32), expected, atol=3e-4, rtol=0)


def test_compensation_keeps_steps_that_bfloat16_weights_cannot_hold() -> None:
    expected = descend(AdamW, torch.float32)
    plain = (descend(AdamW, torch.bfloat16) - expected).abs().mean()
    compensated = (descend(CompensatedAdamW, torch.bfloat16) - expected).abs().mean()
    assert compensated < plain / 2


def test_on_a_cpu_nothing_moves() -> None:
    model = nn.Linear(2, 2)
    optimizer = AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    kept = {id(value) for state in optimizer.state.values() for value in state.values()}
    with present(model, optimizer, "cpu"):
        pass
    move_optimizer(optimizer, "cpu")
    assert {id(value) for state in optimizer.state.values() for value in state.values()} == kept
