# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Generalised advantage estimation (arXiv 1506.02438), for PPO (arXiv 1707.06347)."""

from __future__ import annotations

from torch.nn.functional import pad

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.discounted import discounted_sums


@advantage("gae", needs=Needs.CRITIC)
def gae(x: AdvantageInput) -> AdvantageOutput:
    """delta_t = r_t + gamma V_next - V_t; A_t = delta_t + gamma lam A_next; then A is whitened over all tokens.

    The next token is the next one of the response, past any that are masked out; after the last V is 0.
    Returns are A + V before the whitening.
    """
    assert x.values is not None
    gamma, values = x.settings.gamma, x.values.double()
    upcoming = pad(discounted_sums(values, x.mask, 0.0)[:, 1:], (0, 1))
    advantages = discounted_sums(x.rewards + gamma * upcoming - values, x.mask, gamma * x.settings.lam)
    return AdvantageOutput(advantages=x.whitened(advantages), returns=advantages + values)
