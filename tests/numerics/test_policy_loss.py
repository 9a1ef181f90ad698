# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.numerics import naive
from tests.numerics.batches import Batch, batches
from verl.algorithms.contract import LossInput
from verl.algorithms.policy_loss import find_loss

PPO = find_loss("default")
BOUNDS = (0.2, 0.3, 3.0)
averages = st.sampled_from(["token", "seq"])
kinds = st.sampled_from(["kl", "abs", "mse", "low_var_kl"])


def rows_of(x: LossInput, rows: slice) -> LossInput:
    streams = ("logprobs", "old_logprobs", "advantages", "ref_logprobs", "mask")
    return replace(x, **{name: getattr(x, name)[rows] for name in streams})


def gradient(x: LossInput, splits: list[slice]) -> Tensor:
    logprobs = x.logprobs.clone().requires_grad_()
    for rows in splits:
        PPO.compute(rows_of(replace(x, logprobs=logprobs), rows)).loss.backward()
    assert logprobs.grad is not None
    return logprobs.grad


def naive_loss(batch: Batch, logprobs: Tensor, average: str, kl: tuple[str, float]) -> float:
    kind, coef = kl
    values = [
        [
            naive.ppo_token(p, q, a, BOUNDS) + coef * naive.kl_token(p, r, kind)
            for p, q, a, r in list(zip(*row, strict=True))[:length]
        ]
        for *row, length in zip(
            logprobs.tolist(),
            batch.old_logprobs.tolist(),
            batch.advantages.tolist(),
            batch.ref_logprobs.tolist(),
            batch.lengths,
            strict=True,
        )
    ]
    return naive.average(values, batch.lengths, average)


@given(batches(), averages, kinds, st.sampled_from([0.0, 0.1]))
def test_ppo_with_kl_equals_the_definition(batch: Batch, average: str, kind: str, coef: float) -> None:
    x = batch.loss_input(average=average, use_kl_loss=True, kl_kind=kind, kl_coef=coef)
    expected = naive_loss(batch, batch.logprobs, average, (kind, coef))
    assert PPO.compute(x).loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@settings(max_examples=20)
@given(batches(), averages)
def test_the_gradient_is_that_of_the_definition(batch: Batch, average: str) -> None:
    kl = ("low_var_kl", 0.1)
    x = batch.loss_input(average=average, use_kl_loss=True, kl_kind=kl[0], kl_coef=kl[1])
    found, step = gradient(x, [slice(None)]), 1e-7
    for row, length in enumerate(batch.lengths):
        for token in range(length):
            nudge = torch.zeros_like(batch.logprobs)
            nudge[row, token] = step
            above = naive_loss(batch, batch.logprobs + nudge, average, kl)
            below = naive_loss(batch, batch.logprobs - nudge, average, kl)
            assert found[row, token].item() == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-6)


@given(batches(), averages, st.integers(0, 6))
def test_micro_batches_add_up_to_the_same_loss_and_gradient(batch: Batch, average: str, cut: int) -> None:
    x = batch.loss_input(average=average, use_kl_loss=True, kl_coef=0.1, clip_low=0.1)
    parts = [slice(None, cut), slice(cut, None)]
    torch.testing.assert_close(gradient(x, parts), gradient(x, [slice(None)]))
    losses = [PPO.compute(rows_of(x, rows)).loss for rows in parts]
    torch.testing.assert_close(torch.stack(losses).sum(), PPO.compute(x).loss)


@given(batches(), averages, st.integers(0, 6))
def test_metrics_add_up_over_micro_batches(batch: Batch, average: str, cut: int) -> None:
    x = batch.loss_input(average=average, use_kl_loss=True, kl_coef=0.1)
    whole = PPO.compute(x).metrics
    parts = [PPO.compute(rows_of(x, rows)).metrics for rows in (slice(None, cut), slice(cut, None))]
    for name, (total, weight) in whole.items():
        sums = [sum(part[name][i] for part in parts) for i in (0, 1)]
        assert sums[0] / sums[1] == pytest.approx(total / weight, rel=1e-9, abs=1e-12), name


@given(batches(), averages)
def test_pg_loss_is_the_loss_when_there_is_no_other_term(batch: Batch, average: str) -> None:
    output = PPO.compute(batch.loss_input(average=average))
    total, weight = output.metrics["actor/pg_loss"]
    assert output.loss.item() == pytest.approx(total / weight)


@given(batches(), averages)
def test_nothing_outside_the_mask_reaches_the_loss_or_gets_a_gradient(batch: Batch, average: str) -> None:
    x = batch.loss_input(average=average, use_kl_loss=True, kl_coef=0.1)  # nan outside
    grad = gradient(x, [slice(None)])
    assert PPO.compute(x).loss.isfinite()
    assert grad[~batch.mask].eq(0).all()


def single(logprob: float, old: float, advantage: float) -> tuple[float, float, dict[str, float]]:
    """Loss, gradient and metrics of one token."""
    logprobs = torch.tensor([[logprob]], dtype=torch.float64, requires_grad=True)
    batch = Batch(
        lengths=[1],
        group=torch.tensor([0]),
        rewards=torch.zeros(1, 1),
        logprobs=logprobs,
        old_logprobs=torch.tensor([[old]], dtype=torch.float64),
        ref_logprobs=torch.zeros(1, 1, dtype=torch.float64),
        advantages=torch.tensor([[advantage]], dtype=torch.float64),
    )
    output = PPO.compute(batch.loss_input(logprobs))
    (grad,) = torch.autograd.grad(output.loss, logprobs)
    return output.loss.item(), grad.item(), {k: v / w for k, (v, w) in output.metrics.items()}


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_flat", "higher", "lower"),
    [
        (1.0, 1.0, -1.0, False, 0, 0),
        (1.2, 1.0, -1.2, False, 0, 0),
        (1.5, 1.0, -1.3, True, 1, 0),
        (0.5, 1.0, -0.5, False, 0, 0),
        (0.5, -1.0, 0.8, True, 1, 0),
        (1.5, -1.0, 1.5, False, 0, 0),
        (5.0, -1.0, 3.0, True, 0, 1),
    ],
)
def test_each_region_of_the_clipped_loss(
    ratio: float, advantage: float, loss: float, is_flat: bool, higher: int, lower: int
) -> None:
    found, grad, metrics = single(float(torch.tensor(ratio, dtype=torch.float64).log()), 0.0, advantage)
    assert found == pytest.approx(loss)
    assert grad == pytest.approx(0.0 if is_flat else -advantage * ratio)
    assert metrics["actor/pg_clipfrac_higher"] == higher
    assert metrics["actor/pg_clipfrac_lower"] == lower


def test_a_hopeless_ratio_stays_finite() -> None:
    loss, grad, metrics = single(0.0, -1000.0, -1.0)
    assert (loss, grad) == (3.0, 0.0)
    assert metrics["actor/ppo_kl"] == -1000.0


def test_no_lower_bound_is_a_clip_low_of_one() -> None:
    _, grad, _ = single(-9.0, 0.0, -1.0)
    x = Batch([1], torch.tensor([0]), *[torch.full((1, 1), v) for v in (0.0, -9.0, 0.0, 0.0, -1.0)])
    logprobs = x.logprobs.clone().requires_grad_()
    PPO.compute(x.loss_input(logprobs, clip_low=1.0)).loss.backward()
    assert grad == 0.0
    assert logprobs.grad is not None and logprobs.grad.item() > 0
