# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The policy gradient with a KL penalty on the tokens of highest covariance only (arXiv 2505.22617)."""

from __future__ import annotations

import torch
from torch import Tensor

from verl.algorithms.contract import ChoiceInput, LossInput, TokenLoss
from verl.algorithms.covariance import covariances, take
from verl.algorithms.masked import token_means
from verl.algorithms.policy_loss import loss, option
from verl.algorithms.ratio import log_ratios

NUMBERS = {"kl_cov_ratio": 2e-4, "ppo_kl_coef": 0.1}


def choose(x: ChoiceInput) -> Tensor:
    """`kl_cov_ratio` of all tokens, those with the highest covariances; of equal ones, by lot."""
    values, by_lot = covariances(x), x.lots[x.mask].argsort(stable=True)
    order = by_lot[values[by_lot].argsort(descending=True, stable=True)]
    return take(x, order, "kl_cov_ratio")


@loss("kl_cov", defaults=NUMBERS, choice=choose)
def kl_cov(x: LossInput) -> TokenLoss:
    """-r A, plus `ppo_kl_coef` |log r| for the chosen tokens. There is no clip."""
    assert x.chosen is not None
    log_ratio = log_ratios(x)
    penalty = torch.where(x.chosen, option(x, "ppo_kl_coef") * log_ratio.abs(), 0.0)
    metrics = token_means(x.mask, chosen_share=x.chosen.to(log_ratio.dtype))
    return TokenLoss(values=-x.advantages * log_ratio.exp() + penalty, metrics=metrics)
