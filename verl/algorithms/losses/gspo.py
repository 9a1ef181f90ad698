# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Group sequence policy optimisation: one ratio per response (arXiv 2507.18071)."""

from __future__ import annotations

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.policy_loss import loss
from verl.algorithms.ratio import log_ratios, row_log_ratios, surrogate


@loss("gspo")
def gspo(x: LossInput) -> TokenLoss:
    """The surrogate of s, the geometric mean of a response's ratios, for each of its tokens.

    The paper averages over sequences ("seq"); with "seq_sum" it is LUSPO (arXiv 2602.05261).
    """
    return surrogate(x, row_log_ratios(x).expand_as(x.logprobs))


@loss("gspo_token")
def gspo_token(x: LossInput) -> TokenLoss:
    """The value of s for every token, the gradient that of the token's own ratio: s_t = sg(s) p / sg(p)."""
    own = log_ratios(x)
    return surrogate(x, row_log_ratios(x).detach() + own - own.detach())
