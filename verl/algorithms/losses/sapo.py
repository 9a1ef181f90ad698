# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Soft adaptive policy optimisation: a sigmoid gate in place of a clip (arXiv 2511.20347)."""

from __future__ import annotations

import torch

from verl.algorithms.contract import LossInput, TokenLoss
from verl.algorithms.policy_loss import loss
from verl.algorithms.ratio import log_ratios


@loss("sapo")
def sapo(x: LossInput) -> TokenLoss:
    """-A (4 / tau) sigmoid(tau (r - 1)), with tau_positive where A > 0 and tau_negative elsewhere."""
    positive, negative = (torch.full_like(x.advantages, t) for t in (x.settings.tau_positive, x.settings.tau_negative))
    tau = torch.where(x.advantages > 0, positive, negative)
    gate = (tau * (log_ratios(x).exp() - 1)).sigmoid()
    return TokenLoss(values=-x.advantages * 4 / tau * gate)
