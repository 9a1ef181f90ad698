# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The plain policy gradient, as in GPG (arXiv 2504.02546)."""

from __future__ import annotations

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.policy_loss import loss


@loss("gpg")
def gpg(x: LossInput) -> TokenLoss:
    """-A logprob: no ratio, no clip."""
    return TokenLoss(values=-x.advantages * x.logprobs)
