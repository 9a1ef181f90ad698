# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Direct reward optimisation: a quadratic bound on how far a token may move (arXiv 2405.19107)."""

from __future__ import annotations

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.policy_loss import loss, option


@loss("dro", options=("dro_beta",))
def dro(x: LossInput) -> TokenLoss:
    """-(A logprob - (beta / 2) (logprob - old)^2). `dro_beta` must be given."""
    distance = (x.logprobs - x.old_logprobs).square()
    return TokenLoss(values=0.5 * option(x, "dro_beta") * distance - x.advantages * x.logprobs)
