# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""PPO that takes some tokens of high covariance out of the gradient, which keeps the entropy up (arXiv 2505.22617)."""

from __future__ import annotations

import torch
from torch import Tensor

from verl.algorithms.contract import ChoiceInput, LossInput, TokenLoss
from verl.algorithms.covariance import covariances, take
from verl.algorithms.masked import token_means
from verl.algorithms.policy_loss import loss, option
from verl.algorithms.ratio import clip, log_ratios, shares
from verl.errors import ConfigError

NUMBERS = {"clip_cov_ratio": 2e-4, "clip_cov_lb": 1.0, "clip_cov_ub": 5.0}


def choose(x: ChoiceInput) -> Tensor:
    """By lot among the tokens with a covariance between the bounds, at most `clip_cov_ratio` of all tokens."""
    low, high = option(x, "clip_cov_lb"), option(x, "clip_cov_ub")
    if low >= high:
        raise ConfigError(
            f"worker.actor.loss_options.clip_cov_lb={low}: must be below clip_cov_ub={high}, or no token is chosen"
        )
    by_lot = x.lots[x.mask].argsort(stable=True)
    values = covariances(x)[by_lot]
    return take(x, by_lot[(values > low) & (values < high)], "clip_cov_ratio")


@loss("clip_cov", defaults=NUMBERS, choice=choose)
def clip_cov(x: LossInput) -> TokenLoss:
    """max(-r A, -clip(r) A), and 0 for the chosen tokens that the clip does not hold already. There is no dual clip."""
    assert x.chosen is not None
    low = 0.2 if x.settings.clip_low is None else x.settings.clip_low
    log_ratio = log_ratios(x)
    plain = -x.advantages * log_ratio.exp()
    clipped = -x.advantages * clip(log_ratio, low, x.settings.clip_high).exp()
    is_held = clipped > plain
    is_cut = x.chosen & ~is_held
    metrics = {
        **shares(x, higher=is_held, lower=torch.zeros_like(is_held)),
        **token_means(x.mask, chosen_share=is_cut.to(plain.dtype)),
    }
    return TokenLoss(values=torch.where(is_cut, 0.0, torch.maximum(plain, clipped)), metrics=metrics)
