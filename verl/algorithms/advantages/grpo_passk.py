# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Advantages for the best of k responses (arXiv 2503.19595)."""

from __future__ import annotations

import torch

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.grouped import over_siblings


@advantage("grpo_passk", needs=Needs.GROUP)
def grpo_passk(x: AdvantageInput) -> AdvantageOutput:
    """A = best score - second best for the best response, 0 for all others and where two share the first place.

    With `norm_by_std` this is divided by (std + 1e-6) of the siblings, as verl and EasyR1 do.
    """
    scores, stats = x.scores, x.siblings(x.scores)
    is_best = scores == over_siblings(scores, x.group, "amax")
    second = over_siblings(scores.masked_fill(is_best, -torch.inf), x.group, "amax")
    is_shared = over_siblings(is_best.long(), x.group, "sum") > 1
    wins = is_best & ~is_shared & (stats.size > 1)
    lead = torch.where(wins, scores - second, torch.zeros_like(scores))
    if x.settings.norm_by_std:
        lead = lead / (stats.std + x.settings.conventions.eps)
    return AdvantageOutput.broadcast(lead, x.mask)
