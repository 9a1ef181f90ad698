# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""ReMax (arXiv 2310.10505)."""

from __future__ import annotations

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.discounted import discounted_sums


@advantage("remax", needs=Needs.GREEDY_BASELINE)
def remax(x: AdvantageInput) -> AdvantageOutput:
    """Rewards that follow each token less the score of the greedy response; with a terminal reward, R - R_greedy."""
    assert x.baselines is not None
    returns = discounted_sums(x.rewards, x.mask, 1.0)
    return AdvantageOutput(advantages=returns - x.baselines.double().unsqueeze(-1), returns=returns)
