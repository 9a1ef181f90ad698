# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from verl.config.model import OptimConfig
from verl.fsdp.offload import move_optimizer, present
from verl.fsdp.optim import CompensatedAdamW, build_optimizer, build_schedule


def rates(num_steps: int, **keys: Any) -> list[float]:
    config = OptimConfig(lr=2.0, **keys)
    optimizer = build_optimizer([nn.Parameter(torch.ones(1))], config)
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


def test_frozen_weights_are_not_given_to_the_optimizer() -> None:
    frozen = nn.Parameter(torch.ones(2), requires_grad=False)
    trained = nn.Parameter(torch.ones(2))
    assert build_optimizer([frozen, trained], OptimConfig()).param_groups[0]["params"] == [trained]


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
