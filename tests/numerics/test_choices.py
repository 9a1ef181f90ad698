# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Losses that choose tokens of a whole update: their choice against its definition, and what may not change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.numerics import naive_losses
from tests.numerics.batches import Batch, batches
from tests.numerics.published import Case, cases, each, loss_input
from verl.algorithms.contract import ChoiceInput, LossInput, LossSettings
from verl.algorithms.policy_loss import find_loss

NUMBERS = {
    "clip_cov": {"clip_cov_ratio": 0.3, "clip_cov_lb": 0.0, "clip_cov_ub": 0.8},
    "kl_cov": {"kl_cov_ratio": 0.3, "ppo_kl_coef": 0.7},
}
losses = st.sampled_from(sorted(NUMBERS))


def choice_input(batch: Batch, options: Mapping[str, float]) -> ChoiceInput:
    lots = torch.rand(batch.mask.shape, generator=torch.Generator().manual_seed(len(batch.lengths)))
    return ChoiceInput(
        logprobs=batch.old_logprobs,
        advantages=batch.advantages,
        lots=lots.double().masked_fill(~batch.mask, torch.nan),
        mask=batch.mask,
        settings=LossSettings(options=options),
    )


def rows_of(x: ChoiceInput, rows: Tensor) -> ChoiceInput:
    return replace(x, **{name: getattr(x, name)[rows] for name in ("logprobs", "advantages", "lots", "mask")})


def gradient(name: str, x: LossInput, parts: list[Tensor]) -> Tensor:
    """What the losses of micro-batches add up to."""
    logprobs = x.logprobs.clone().requires_grad_()
    streams = ("old_logprobs", "advantages", "mask", "chosen")
    for rows in parts:
        part = replace(x, logprobs=logprobs[rows], **{stream: getattr(x, stream)[rows] for stream in streams})
        find_loss(name).compute(part).loss.backward()
    assert logprobs.grad is not None
    return logprobs.grad


# Public numbers -------------------------------------------------------------------------------------------


@each(cases("losses", "clip_cov/") | cases("losses", "kl_cov/"))
def test_a_choice_by_the_current_policy_gives_verls_loss_and_gradient(case: Case) -> None:
    name, params = case.params["loss_mode"], case.params
    x = loss_input(case, case["log_probs"].requires_grad_(), options={n: params[n] for n in NUMBERS[name]})
    chosen = find_loss(name).choose(
        ChoiceInput(
            logprobs=case["log_probs"],
            advantages=x.advantages,
            lots=torch.rand(x.mask.shape),
            mask=x.mask,
            settings=x.settings,
        )
    )
    output = find_loss(name).compute(replace(x, chosen=chosen))
    (grad,) = torch.autograd.grad(output.loss, x.logprobs)
    case.check("loss", output.loss.item())
    case.check("grad", grad)
    metrics = {metric: total / weight for metric, (total, weight) in output.metrics.items()}
    if name == "clip_cov":
        case.check("clipfrac", metrics["actor/chosen_share"])
        case.check("ppo_kl", metrics["actor/ppo_kl"])
    else:  # verl's ppo_kl is the mean of absolute values here
        assert metrics["actor/chosen_share"] == params["kl_cov_ratio"]


# Definition and invariance --------------------------------------------------------------------------------


@given(batches(), losses)
def test_a_choice_equals_its_definition(batch: Batch, name: str) -> None:
    x = choice_input(batch, NUMBERS[name])
    p, a, lots = (values[x.mask].tolist() for values in (x.logprobs, x.advantages, x.lots))
    if name == "clip_cov":
        expected = naive_losses.choose_clip_cov(p, a, lots, 0.3, (0.0, 0.8))
    else:
        expected = naive_losses.choose_kl_cov(p, a, lots, 0.3)
    chosen = find_loss(name).choose(x)
    assert set(chosen[x.mask].nonzero().flatten().tolist()) == expected
    assert not chosen[~x.mask].any()


@given(batches(), losses, st.integers(0, 4), st.integers(0, 6), st.randoms())
def test_neither_order_nor_padding_nor_micro_batches_change_the_gradient(
    batch: Batch, name: str, extra: int, cut: int, random: object
) -> None:
    """The choice is made over the whole, by rows in any order, before they are split."""
    given_, loss = choice_input(batch, NUMBERS[name]), find_loss(name)
    order = list(range(len(batch.lengths)))
    random.shuffle(order)  # type: ignore[attr-defined]
    places = torch.tensor(order)
    whole, shuffled = loss.choose(given_), loss.choose(widened(rows_of(given_, places), extra))
    assert torch.equal(shuffled[:, : whole.shape[1]], whole[places])
    x = replace(batch.loss_input(options=NUMBERS[name]), ref_logprobs=None)
    found = [
        gradient(name, replace(x, chosen=whole), [torch.arange(len(order))]),
        gradient(name, replace(x, chosen=whole), [places[:cut], places[cut:]]),
    ]
    torch.testing.assert_close(found[1], found[0])


def widened(x: ChoiceInput, extra: int) -> ChoiceInput:
    filler = torch.full((len(x.mask), extra), torch.nan, dtype=torch.float64)
    streams = {name: torch.cat([getattr(x, name), filler], -1) for name in ("logprobs", "advantages", "lots")}
    return replace(x, **streams, mask=torch.cat([x.mask, filler == 0], -1))


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_one_token_at_least_and_of_equal_ones_by_lot(name: str) -> None:
    """Identical tokens: both orders of rows choose the same one."""
    options = {"clip_cov_lb": -1.0} if name == "clip_cov" else {}
    lots = torch.tensor([[0.9, 0.4], [0.1, 0.8]])
    same = torch.ones(2, 2)
    x = ChoiceInput(logprobs=same, advantages=same, lots=lots, mask=same.bool(), settings=LossSettings(options=options))
    chosen = find_loss(name).choose(x)
    assert chosen.tolist() == [[False, False], [True, False]]
    assert torch.equal(find_loss(name).choose(rows_of(x, torch.tensor([1, 0]))), chosen.flip(0))
