# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every policy loss against its definition, its gradient by differences, and what no split of a batch may change."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.numerics import naive_losses
from tests.numerics.batches import Batch, batches
from verl.algorithms.contract import Denominators, LossInput, OffPolicySettings
from verl.algorithms.policy_loss import LOSSES, find_loss

CONSTANT = 7.0
OPTIONS = {"dro_beta": 0.5}
STREAMS = ("logprobs", "old_logprobs", "ref_logprobs", "advantages", "mask", "off_policy", "weights", "chosen")
names = st.sampled_from(sorted(naive_losses.LOSSES))
averages = st.sampled_from(["token", "seq", "seq_sum", "seq_norm", "sum"])


def loss_input(batch: Batch, average: str, **changes: object) -> LossInput:
    x = batch.loss_input(average=average, options=OPTIONS, **changes)
    counts = replace(Denominators.of(batch.mask), response_length=CONSTANT)
    return replace(x, denominators=counts, chosen=some(batch))


def some(batch: Batch) -> Tensor:
    """Tokens that a loss is told were chosen."""
    return batch.advantages > 0.3


def expected(name: str, batch: Batch, logprobs: Tensor, average: str) -> float:
    rows = []
    for row, length in enumerate(batch.lengths):
        streams = (logprobs, batch.old_logprobs, batch.advantages, batch.logprobs, some(batch))
        cut = [t[row, :length].tolist() for t in streams]
        rows.append(naive_losses.LOSSES[name](naive_losses.Response(*cut)) if length else [])
    return naive_losses.mean_seq(rows) if name == "gmpo" else naive_losses.average(rows, average, CONSTANT)


def gradient(name: str, x: LossInput, parts: list[Tensor]) -> tuple[float, Tensor]:
    """Sum of the losses of the parts, and the gradient they add up to."""
    logprobs = x.logprobs.clone().requires_grad_()
    total = 0.0
    for rows in parts:
        streams = {n: getattr(x, n) for n in STREAMS if getattr(x, n) is not None} | {"logprobs": logprobs}
        part = replace(x, **{n: t[rows] for n, t in streams.items()})
        loss = find_loss(name).compute(part).loss
        loss.backward()
        total += loss.item()
    assert logprobs.grad is not None
    return total, logprobs.grad


def everything(batch: Batch) -> Tensor:
    return torch.arange(len(batch.lengths))


def probable(batch: Batch) -> Batch:
    """With log-probs below 0 on both sides, as probabilities have."""
    return replace(batch, old_logprobs=-batch.old_logprobs.abs() - 0.01, logprobs=-batch.logprobs.abs() - 0.01)


def test_every_loss_has_a_naive_twin() -> None:
    assert {LOSSES[name].function for name in LOSSES} == {LOSSES[name].function for name in naive_losses.LOSSES}


@settings(max_examples=150)
@given(batches(), names, averages)
def test_a_loss_equals_its_definition(batch: Batch, name: str, average: str) -> None:
    batch = probable(batch)
    found, _ = gradient(name, loss_input(batch, average), [everything(batch)])
    assert found == pytest.approx(expected(name, batch, batch.logprobs, average), rel=1e-8, abs=1e-10)


@settings(max_examples=60)
@given(batches(), names, averages)
def test_a_gradient_is_that_of_the_definition(batch: Batch, name: str, average: str) -> None:
    batch, step = probable(batch), 1e-6
    _, found = gradient(name, loss_input(batch, average), [everything(batch)])
    for row, length in enumerate(batch.lengths):
        for token in range(length):
            nudge = torch.zeros_like(batch.logprobs)
            nudge[row, token] = step
            above, below = (expected(name, batch, batch.logprobs + d, average) for d in (nudge, -nudge))
            assert found[row, token].item() == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-5)


@settings(max_examples=100)
@given(batches(), names, averages, st.integers(0, 6), st.randoms())
def test_any_split_and_order_gives_the_same_loss_and_gradient(
    batch: Batch, name: str, average: str, cut: int, random: object
) -> None:
    x = loss_input(batch, average, use_kl_loss=True, kl_coef=0.1, kl_bias_correction=True)
    order = list(range(len(batch.lengths)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = torch.tensor(order)
    whole, parts = gradient(name, x, [everything(batch)]), gradient(name, x, [shuffled[:cut], shuffled[cut:]])
    assert parts[0] == pytest.approx(whole[0], rel=1e-9, abs=1e-12)
    torch.testing.assert_close(parts[1], whole[1])


@given(batches(), names, averages, st.integers(1, 4))
def test_padding_changes_nothing_and_learns_nothing(batch: Batch, name: str, average: str, extra: int) -> None:
    x = loss_input(batch, average)

    def widened(values: Tensor) -> Tensor:
        filler = torch.full((len(values), extra), False if values.dtype == torch.bool else float("nan"))
        return torch.cat([values, filler.to(values.dtype)], -1)

    streams = ("logprobs", "old_logprobs", "ref_logprobs", "advantages", "mask", "chosen")
    wide = replace(x, **{n: widened(getattr(x, n)) for n in streams})
    narrow, padded = (gradient(name, one, [everything(batch)]) for one in (x, wide))
    assert padded[0] == pytest.approx(narrow[0], rel=1e-12)
    torch.testing.assert_close(padded[1][:, :-extra], narrow[1])
    assert padded[1][~wide.mask].eq(0).all()


ALIKE = ("default", "gspo", "gspo_token", "cispo", "sapo", "gmpo", "gpg", "dppo_tv", "kl_cov")


@given(batches(), st.sampled_from(ALIKE))
def test_on_policy_every_loss_is_the_policy_gradient(batch: Batch, name: str) -> None:
    """With a ratio of 1 and one advantage per response, all agree to first order."""
    first = batch.advantages[:, :1].nan_to_num() + 0.5
    batch = replace(batch, old_logprobs=batch.logprobs, advantages=first.expand_as(batch.logprobs))
    x = loss_input(batch, "seq")
    _, found = gradient(name, x, [everything(batch)])
    _, plain = gradient("gpg", x, [everything(batch)])
    torch.testing.assert_close(found, plain)


# Weights, masks, other authors ----------------------------------------------------------------------------


@given(batches(), names, st.sampled_from(["token", "seq"]))
def test_weights_scale_each_tokens_loss_and_leave_the_denominators(batch: Batch, name: str, average: str) -> None:
    x = loss_input(batch, average)
    ones = torch.ones_like(x.old_logprobs)
    plain, weighed = (gradient(name, one, [everything(batch)]) for one in (x, replace(x, weights=ones)))
    assert weighed[0] == pytest.approx(plain[0], rel=1e-12)
    half = gradient(name, replace(x, weights=0.5 * ones), [everything(batch)])
    assert half[0] == pytest.approx(0.5 * plain[0], rel=1e-12)
    torch.testing.assert_close(half[1], 0.5 * plain[1])
    none = gradient(name, replace(x, weights=0 * ones), [everything(batch)])
    assert none[0] == 0 and none[1].eq(0).all()


@given(batches(), st.floats(0.05, 0.5), st.data())
def test_luffy_is_its_definition_on_rows_of_another_author(batch: Batch, gamma: float, data: st.DataObject) -> None:
    theirs = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(batch.lengths), max_size=len(batch.lengths))))
    x = loss_input(batch, "token", off_policy=OffPolicySettings(loss="luffy", gamma=gamma))
    found, grad = gradient("default", replace(x, off_policy=theirs), [everything(batch)])
    total = 0.0
    for row, length in enumerate(batch.lengths):
        p, q, a = (t[row, :length].tolist() for t in (batch.logprobs, batch.old_logprobs, batch.advantages))
        if theirs[row]:
            total += sum(-y * naive_losses.luffy(x_, gamma) for x_, y in zip(p, a, strict=True))
            slope = [-y * gamma * 2.718281828459045**z / (2.718281828459045**z + gamma) ** 2 for z, y in zip(p, a)]  # noqa: B905
            mean = torch.tensor(slope, dtype=torch.float64) / sum(batch.lengths)
            torch.testing.assert_close(grad[row, :length], mean)
        elif length:
            total += sum(naive_losses.ppo(naive_losses.Response(p, q, a, p)))
    assert found == pytest.approx(total / sum(batch.lengths), rel=1e-9, abs=1e-12)


@given(batches())
def test_importance_weights_are_ratios_to_the_author(batch: Batch) -> None:
    author = batch.logprobs - 0.3
    rows = torch.ones(len(batch.lengths), dtype=torch.bool)
    x = loss_input(batch, "token", off_policy=OffPolicySettings(loss="importance", max_ratio=1.2))
    x = replace(x, off_policy=rows, rollout_logprobs=author)
    found, grad = gradient("default", x, [everything(batch)])
    mean = batch.advantages[batch.mask].mean()
    assert found == pytest.approx(-1.2 * mean.item(), rel=1e-9, abs=1e-12)  # exp(0.3) is cut off
    assert grad.eq(0).all()
    uncut = replace(x, settings=replace(x.settings, off_policy=OffPolicySettings(loss="importance")))
    found, _ = gradient("default", uncut, [everything(batch)])
    assert found == pytest.approx(-(2.718281828459045**0.3) * mean.item(), rel=1e-9, abs=1e-12)
