# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The optimal token baseline (arXiv 2602.07078)."""

from __future__ import annotations

import torch
from torch import Tensor

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.discounted import discounted_sums
from verl.algorithms.grouped import over_siblings
from verl.algorithms.masked import zero_outside

_TINY = torch.finfo(torch.float64).tiny


@advantage("optimal_token_baseline", "tir_optimal_token_baseline", needs=Needs.GROUP | Needs.SUM_PI_SQUARED)
def optimal_token_baseline(x: AdvantageInput) -> AdvantageOutput:
    """A_t = rewards from t on less their mean over the siblings that have a token at t, each weighing W_t.

    W_t, how much the gradient of a response up to t scatters, is the sum of |onehot - p|^2 = 1 - 2 p_token + sum p^2,
    times its squared importance weight, over its tokens up to t. Where no sibling is left, nothing is subtracted.
    """
    returns = discounted_sums(x.rewards, x.mask, 1.0)
    least = over_siblings(torch.where(x.mask, returns, torch.inf), x.group, "amin")
    above = zero_outside(returns - least, x.mask)  # so that equal returns give exactly 0
    weights, eps = zero_outside(_energy(x).cumsum(-1), x.mask), x.settings.conventions.weight_eps
    weighted, weight, count = (over_siblings(one, x.group, "sum") for one in (weights * above, weights, x.mask.long()))
    baseline_above = (weighted - eps * zero_outside(least, x.mask)) / (weight + eps).clamp(min=_TINY)
    baselined = torch.where(count > 1, above - baseline_above, returns)
    if x.settings.conventions.singleton == "zero":
        baselined = torch.where(x.siblings(x.scores).size.unsqueeze(-1) > 1, baselined, 0.0)
    return AdvantageOutput(advantages=baselined, returns=returns)


def _energy(x: AdvantageInput) -> Tensor:
    """[B, R] the squared length of what a token adds to the gradient of its logits; 0 outside the mask. float64."""
    assert x.old_logprobs is not None and x.sum_pi_squared is not None
    energy = 1 - 2 * x.old_logprobs.double().exp() + x.sum_pi_squared.double()
    if x.importance_weights is not None:
        energy = energy * x.importance_weights.double().square()
    return zero_outside(energy.clamp(min=0), x.mask)  # where a token is certain, rounding may leave it below 0
