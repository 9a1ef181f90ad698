# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Probability ratios between the policy and the one that the step began with, and how they are clipped."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from verl.algorithms.contract import LossInput, MetricSum, TokenLoss
from verl.algorithms.masked import row_means, token_means

MAX_LOG_RATIO = 20.0  # beyond it the exponential overflows half precision and says nothing


def log_ratios(x: LossInput) -> Float[Tensor, "B R"]:
    """logprobs - old_logprobs, kept in [-20, 20]."""
    return (x.logprobs - x.old_logprobs).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def row_log_ratios(x: LossInput) -> Float[Tensor, "B 1"]:
    """The mean log-ratio of each row's tokens, kept in [-20, 20]: the log of the geometric mean of their ratios."""
    return row_means(x.logprobs - x.old_logprobs, x.mask).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).unsqueeze(-1)


def clip(log_ratio: Tensor, low: float, high: float) -> Tensor:
    """The log of the ratio clipped to [1 - low, 1 + high]; a `low` of 1 or more is no bound."""
    return log_ratio.clamp(math.log1p(-low) if low < 1 else -math.inf, math.log1p(high))


def surrogate(x: LossInput, log_ratio: Float[Tensor, "B R"]) -> TokenLoss:
    """max(-r A, -clip(r) A), and at most -clip_dual A where A < 0 (arXiv 1707.06347, 1912.09729, 2503.14476).

    Clipped in log space, to [1 - clip_low, 1 + clip_high].
    """
    low = 0.2 if x.settings.clip_low is None else x.settings.clip_low
    plain = -x.advantages * log_ratio.exp()
    clipped = -x.advantages * clip(log_ratio, low, x.settings.clip_high).exp()
    bounded = torch.maximum(plain, clipped)
    ceiling = -x.advantages * x.settings.clip_dual
    is_negative = x.advantages < 0
    values = torch.where(is_negative, torch.minimum(bounded, ceiling), bounded)
    return TokenLoss(values=values, metrics=shares(x, higher=plain < clipped, lower=is_negative & (bounded > ceiling)))


def shares(x: LossInput, *, higher: Tensor, lower: Tensor) -> Mapping[str, MetricSum]:
    """Upstream's two clip fractions, from bool [B, R]: held by the bounds, and by what lies beyond them."""
    kind = x.logprobs.dtype
    return token_means(x.mask, pg_clipfrac_higher=higher.to(kind), pg_clipfrac_lower=lower.to(kind))
