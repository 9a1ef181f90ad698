# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.numerics import naive
from tests.numerics.batches import Batch, batches
from verl.algorithms.kl import AdaptiveKl, FixedKl, apply_kl_penalty, estimate_kl

kinds = st.sampled_from(["kl", "abs", "mse", "low_var_kl"])


@given(st.floats(-30, 30), st.floats(-30, 30), kinds)
def test_estimators_equal_their_definitions(logprob: float, ref: float, kind: str) -> None:
    found = estimate_kl(torch.tensor([[logprob]]).double(), torch.tensor([[ref]]).double(), kind)  # type: ignore[arg-type]
    expected = naive.kl_token(torch.tensor(logprob).item(), torch.tensor(ref).item(), kind)
    assert found.item() == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.lists(st.floats(-1, 1), min_size=3, max_size=3))
def test_kl_and_low_var_kl_estimate_the_same_divergence(a: list[float], b: list[float]) -> None:
    """Expectation under the policy, by summing over all three tokens; near enough that nothing is clamped."""
    policy, reference = (torch.tensor([x]).double().log_softmax(-1) for x in (a, b))
    exact = (policy.exp() * (policy - reference)).sum().item()
    for kind in ("kl", "low_var_kl"):
        expectation = (policy.exp() * estimate_kl(policy, reference, kind)).sum().item()  # type: ignore[arg-type]
        assert expectation == pytest.approx(exact, abs=1e-9)


@given(st.floats(-30, 30), st.floats(-30, 30), kinds)
def test_a_plus_keeps_the_value_and_has_the_gradient_of_the_squared_estimator(p: float, r: float, kind: str) -> None:
    logprob = torch.tensor([[p]]).double().requires_grad_()
    plain, plus = (estimate_kl(logprob, torch.tensor([[r]]).double(), name) for name in (kind, kind + "+"))
    (grad,) = torch.autograd.grad(plus.sum(), logprob)
    assert plus.item() == pytest.approx(plain.item(), rel=1e-12, abs=1e-12)
    assert grad.item() == pytest.approx(torch.tensor(p).item() - torch.tensor(r).item())


@pytest.mark.parametrize(("theirs", "ours"), [("k1", "kl"), ("k2", "mse"), ("k3", "low_var_kl")])
def test_the_names_of_verl_are_the_same_estimators(theirs: str, ours: str) -> None:
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(estimate_kl(a, b, theirs), estimate_kl(a, b, ours), rtol=0, atol=0)


@given(batches(), kinds, st.floats(0, 1))
def test_the_penalty_in_the_reward_equals_the_definition(batch: Batch, kind: str, coef: float) -> None:
    penalised = apply_kl_penalty(
        batch.rewards,
        batch.logprobs,
        batch.ref_logprobs,
        batch.mask,
        FixedKl(kind, coef),  # type: ignore[arg-type]
    )
    row_means = []
    for row, length in enumerate(batch.lengths):
        kl = [
            naive.kl_token(batch.logprobs[row, t].item(), batch.ref_logprobs[row, t].item(), kind)
            for t in range(length)
        ]
        expected = [batch.rewards[row, t].item() - coef * kl[t] for t in range(length)]
        assert penalised.rewards[row, :length].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-12)
        row_means += [sum(kl) / length] if length else []
    total, weight = penalised.metrics["actor/kl_penalty"]
    assert (total / weight, weight) == pytest.approx((sum(row_means) / len(row_means), len(row_means)))
    assert penalised.metrics["actor/kl_coef"] == (coef, 1.0)


@given(st.floats(0, 5), st.integers(1, 512))
def test_the_adaptive_coefficient_moves_towards_the_target(kl: float, num_rows: int) -> None:
    controller = AdaptiveKl("kl", 0.5, target=1.0, horizon=1000)
    controller.update(kl, num_rows)
    change = controller.coef / 0.5 - 1
    assert change == pytest.approx(max(-0.2, min(0.2, kl - 1)) * num_rows / 1000, abs=1e-12)


def test_a_restored_controller_goes_on_where_the_other_stopped() -> None:
    first, second = (AdaptiveKl("kl", 0.5, target=0.1, horizon=100) for _ in range(2))
    first.update(0.3, 64)
    second.restore(first.state())
    for controller in (first, second):
        controller.update(0.05, 64)
    assert first.coef == second.coef != 0.5
