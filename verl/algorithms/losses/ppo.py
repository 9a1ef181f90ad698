# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The clipped surrogate of PPO, with separate bounds and the dual clip."""

from __future__ import annotations

import math

import torch

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.masked import token_means
from verl.algorithms.policy_loss import loss

_MAX_LOG_RATIO = 20.0


@loss("default", "ppo")
def ppo(x: LossInput) -> TokenLoss:
    """max(-r A, -clip(r) A), and at most -clip_dual A where A < 0 (arXiv 1707.06347, 1912.09729, 2503.14476).

    r = exp(logprobs - old_logprobs), clipped in log space.
    """
    clip = x.settings
    log_ratio = (x.logprobs - x.old_logprobs).clamp(-_MAX_LOG_RATIO, _MAX_LOG_RATIO)
    lowest = math.log1p(-clip.clip_low) if clip.clip_low < 1 else -math.inf
    clipped_ratio = log_ratio.clamp(lowest, math.log1p(clip.clip_high)).exp()

    plain = -x.advantages * log_ratio.exp()
    clipped = -x.advantages * clipped_ratio
    surrogate = torch.maximum(plain, clipped)
    ceiling = -x.advantages * clip.clip_dual
    is_negative = x.advantages < 0
    values = torch.where(is_negative, torch.minimum(surrogate, ceiling), surrogate)
    fractions = token_means(
        x.mask,
        pg_clipfrac_higher=(plain < clipped).to(values.dtype),
        pg_clipfrac_lower=(is_negative & (surrogate > ceiling)).to(values.dtype),
    )
    return TokenLoss(values=values, metrics=fractions)
