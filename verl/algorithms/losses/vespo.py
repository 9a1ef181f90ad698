# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Variational sequence-level soft policy optimisation (arXiv 2602.10693)."""

from __future__ import annotations

import torch

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.masked import zero_outside
from verl.algorithms.policy_loss import loss

_MIN_LOG_WEIGHT, _MAX_LOG_WEIGHT = -18.42, 20.0  # 1e-8


@loss("vespo")
def vespo(x: LossInput) -> TokenLoss:
    """-sg(phi) A logprob, phi = W^k exp(lam (1 - W)) with W the ratio of the response, the product of its tokens'.

    k and lam are 2 and 3 where A >= 0, and 3 and 2 elsewhere.
    """
    log_weight = zero_outside(x.logprobs - x.old_logprobs, x.mask).sum(-1, keepdim=True).detach()
    log_weight = log_weight.clamp(_MIN_LOG_WEIGHT, _MAX_LOG_WEIGHT)
    is_positive = x.advantages >= 0
    power, rate = torch.where(is_positive, 2.0, 3.0), torch.where(is_positive, 3.0, 2.0)
    phi = (rate + power * log_weight - rate * log_weight.exp()).exp()
    return TokenLoss(values=-phi * x.advantages * x.logprobs)
