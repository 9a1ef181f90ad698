# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What GRPO promises beyond its definition (test_advantages.py)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from torch import Tensor

from tests.numerics.batches import Batch, batches
from verl.algorithms.advantage import find_advantage
from verl.algorithms.contract import AdvantageInput


def grpo(rewards: Tensor, mask: Tensor, group: Tensor) -> Tensor:
    return find_advantage("grpo").compute(AdvantageInput(rewards=rewards, mask=mask, group=group)).advantages


def outcome(scores: list[float], group: list[int], dtype: torch.dtype = torch.float64) -> Tensor:
    """[B] advantages of single-token responses."""
    rewards = torch.tensor(scores, dtype=dtype)[:, None]
    return grpo(rewards, torch.ones_like(rewards, dtype=torch.bool), torch.tensor(group))[:, 0]


@given(batches())
def test_advantages_of_siblings_sum_to_zero(batch: Batch) -> None:
    mask = batch.mask & (torch.arange(batch.mask.shape[1]) == 0)
    per_row = grpo(batch.rewards.nan_to_num(), mask | ~batch.mask.any(-1)[:, None], batch.group)[:, 0]
    for label in set(batch.group.tolist()):
        assert per_row[batch.group == label].sum().item() == pytest.approx(0, abs=1e-9)


def test_a_small_difference_between_siblings_survives_float32() -> None:
    found = outcome([0.7, 0.7, 0.7, 0.701], [0] * 4, torch.float32)
    torch.testing.assert_close(found, torch.tensor([-0.499, -0.499, -0.499, 1.497]), rtol=1e-2, atol=0)


def test_grpo_is_zero_for_a_response_without_siblings() -> None:
    assert outcome([1.0, 0.0, 1.0], [5, 7, 7]).tolist()[0] == 0.0
