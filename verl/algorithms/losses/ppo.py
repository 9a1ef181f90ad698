# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The clipped surrogate of PPO, with separate bounds and the dual clip."""

from __future__ import annotations

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.policy_loss import loss
from verl.algorithms.ratio import log_ratios, surrogate


@loss("default", "ppo")
def ppo(x: LossInput) -> TokenLoss:
    """The surrogate of each token's ratio. DAPO's is this with clip_high 0.28 and the average "token"."""
    return surrogate(x, log_ratios(x))
