# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.numerics import naive
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
def test_grpo_equals_the_definition(batch: Batch) -> None:
    expected = naive.grpo(batch.rewards.tolist(), batch.lengths, batch.group.tolist())
    found = grpo(batch.rewards, batch.mask, batch.group)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)


@given(batches())
def test_advantages_of_siblings_sum_to_zero(batch: Batch) -> None:
    mask = batch.mask & (torch.arange(batch.mask.shape[1]) == 0)
    per_row = grpo(batch.rewards.nan_to_num(), mask | ~batch.mask.any(-1)[:, None], batch.group)[:, 0]
    for label in set(batch.group.tolist()):
        assert per_row[batch.group == label].sum().item() == pytest.approx(0, abs=1e-9)


@given(batches(), st.randoms(use_true_random=False))
def test_row_order_does_not_matter(batch: Batch, random: object) -> None:
    order = list(range(len(batch.lengths)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = grpo(batch.rewards[order], batch.mask[order], batch.group[order])
    torch.testing.assert_close(shuffled, grpo(batch.rewards, batch.mask, batch.group)[order])


@given(batches(), st.integers(1, 3))
def test_padding_does_not_matter(batch: Batch, extra: int) -> None:
    padded = torch.nn.functional.pad(batch.rewards, (0, extra), value=torch.nan)
    mask = torch.nn.functional.pad(batch.mask, (0, extra))
    torch.testing.assert_close(
        grpo(padded, mask, batch.group)[:, :-extra], grpo(batch.rewards, batch.mask, batch.group)
    )


@given(
    st.floats(-1e3, 1e3, width=32),
    st.integers(2, 8),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_grpo_is_exactly_zero_when_siblings_agree(score: float, size: int, dtype: torch.dtype) -> None:
    assert outcome([score] * size, [0] * size, dtype).tolist() == [0.0] * size


def test_a_small_difference_between_siblings_survives_float32() -> None:
    found = outcome([0.7, 0.7, 0.7, 0.701], [0] * 4, torch.float32)
    torch.testing.assert_close(found, torch.tensor([-0.499, -0.499, -0.499, 1.497]), rtol=1e-2, atol=0)


def test_grpo_is_zero_for_a_response_without_siblings() -> None:
    assert outcome([1.0, 0.0, 1.0], [5, 7, 7]).tolist()[0] == 0.0


def test_grpo_does_not_read_rewards_outside_the_mask() -> None:
    rewards = torch.tensor([[1.0, 9.0], [0.0, -9.0]])
    mask = torch.tensor([[True, False], [True, False]])
    clean = grpo(rewards.masked_fill(~mask, 0), mask, torch.tensor([0, 0]))
    assert grpo(rewards, mask, torch.tensor([0, 0])).tolist() == clean.tolist()
