# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Clipped importance weights that never stop a gradient (arXiv 2506.13585)."""

from __future__ import annotations

import torch

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.policy_loss import loss
from verl.algorithms.ratio import clip, log_ratios, shares


@loss("cispo")
def cispo(x: LossInput) -> TokenLoss:
    """-sg(clip(r)) A logprob. There is no lower bound unless clip_low is given: it would raise weights."""
    low = 1.0 if x.settings.clip_low is None else x.settings.clip_low
    log_ratio = log_ratios(x).detach()
    bounded = clip(log_ratio, low, x.settings.clip_high)
    is_bounded = bounded != log_ratio
    metrics = shares(x, higher=is_bounded, lower=torch.zeros_like(is_bounded))
    return TokenLoss(values=-bounded.exp() * x.advantages * x.logprobs, metrics=metrics)
