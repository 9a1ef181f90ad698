# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Divergence PPO: tokens are left out by how far their probability moved, not by its ratio (arXiv 2602.04879)."""

from __future__ import annotations

import torch
from torch import Tensor

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.policy_loss import loss
from verl.algorithms.ratio import log_ratios, shares


@loss("dppo_tv")
def dppo_tv(x: LossInput) -> TokenLoss:
    """The divergence is the change of the token's probability."""
    return _dppo(x, (x.logprobs.exp() - x.old_logprobs.exp()).detach().abs())


@loss("dppo_kl")
def dppo_kl(x: LossInput) -> TokenLoss:
    """The divergence is the KL, old to new, of drawing this token or another."""
    new, old = x.logprobs.detach(), x.old_logprobs
    others, others_before = (1 - new.exp()).clamp(min=1e-8), (1 - old.exp()).clamp(min=1e-8)
    return _dppo(x, old.exp() * (old - new) + others_before * (others_before / others).log())


def _dppo(x: LossInput, divergence: Tensor) -> TokenLoss:
    """-sg(min(r, clip_dual)) A logprob, of tokens not further away than clip_low or clip_high in A's direction."""
    low = 0.2 if x.settings.clip_low is None else x.settings.clip_low
    log_ratio = log_ratios(x).detach()
    rises = (x.advantages > 0) & (log_ratio > 0) & (divergence > x.settings.clip_high)
    falls = (x.advantages < 0) & (log_ratio < 0) & (divergence > low)
    weight = log_ratio.exp().clamp(max=x.settings.clip_dual)
    values = torch.where(rises | falls, 0.0, -weight * x.advantages * x.logprobs)
    return TokenLoss(values=values, metrics=shares(x, higher=rises, lower=falls))
