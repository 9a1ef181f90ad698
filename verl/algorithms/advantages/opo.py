# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""On-policy RL with the optimal reward baseline (arXiv 2505.23585)."""

from __future__ import annotations

import torch

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.grouped import over_siblings


@advantage("opo", needs=Needs.GROUP)
def opo(x: AdvantageInput) -> AdvantageOutput:
    """A_i = score_i - mean over the siblings, each weighing as much as its response has tokens."""
    scores, lengths = x.scores, x.mask.sum(-1).double()
    above = scores - over_siblings(scores, x.group, "amin")  # so that equal scores give exactly 0
    weighted, weight = (over_siblings(values, x.group, "sum") for values in (lengths * above, lengths))
    baselined = above - weighted / weight.clamp(min=1)
    if x.settings.conventions.singleton == "score":
        baselined = torch.where(x.siblings(scores).size == 1, scores, baselined)
    return AdvantageOutput.broadcast(baselined, x.mask)
