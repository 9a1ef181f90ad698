# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""REINFORCE++ (arXiv 2501.03262), without and with a baseline per prompt."""

from __future__ import annotations

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.discounted import discounted_sums


@advantage("reinforce_plus_plus")
def reinforce_plus_plus(x: AdvantageInput) -> AdvantageOutput:
    """Discounted sums of the rewards that follow each token, KL penalties included, whitened over all tokens."""
    returns = discounted_sums(x.rewards, x.mask, x.settings.gamma)
    return AdvantageOutput(advantages=x.whitened(returns), returns=returns)


@advantage("reinforce_plus_plus_baseline", needs=Needs.GROUP)
def reinforce_plus_plus_baseline(x: AdvantageInput) -> AdvantageOutput:
    """score_i - mean over the siblings, whitened over all tokens, so that long responses weigh more."""
    above = x.scores - x.siblings(x.scores).mean
    rows = x.whitened(above.unsqueeze(-1).expand(x.mask.shape))
    return AdvantageOutput(advantages=rows, returns=rows)
