# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Geometric-mean policy optimisation (arXiv 2507.20673)."""

from __future__ import annotations

import torch

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.masked import row_means
from verl.algorithms.policy_loss import loss
from verl.algorithms.ratio import log_ratios, shares


@loss("gmpo", "geo_mean")
def gmpo(x: LossInput) -> TokenLoss:
    """-A times the geometric mean of a response's ratios, each clipped where the advantage would gain from more.

    Log-ratios are clipped to [-clip_low, clip_high]; the paper has 0.4 for both. A mean over sequences, by definition.
    """
    low = 0.2 if x.settings.clip_low is None else x.settings.clip_low
    plain = log_ratios(x)
    sign = x.advantages.sign()
    clipped = torch.minimum(sign * plain, sign * plain.clamp(-low, x.settings.clip_high)) * sign
    log_ratio = torch.where(sign == 0, plain, clipped)
    ratio = row_means(log_ratio, x.mask).exp()
    values = -(ratio * row_means(x.advantages, x.mask)).unsqueeze(-1).expand_as(x.logprobs)
    is_clipped = log_ratio != plain
    metrics = shares(x, higher=is_clipped & (sign > 0), lower=is_clipped & (sign < 0))
    return TokenLoss(values=values, metrics=metrics, average="seq")
