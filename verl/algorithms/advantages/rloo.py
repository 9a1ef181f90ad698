# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Leave-one-out advantages (arXiv 2402.14740)."""

from __future__ import annotations

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs


@advantage("rloo", "rloo_vectorized", needs=Needs.GROUP)
def rloo(x: AdvantageInput) -> AdvantageOutput:
    """A_i = score_i - mean score of the other siblings, which is G / (G - 1) * (score_i - mean)."""
    stats = x.siblings(x.scores)
    others = (stats.size - 1).clamp(min=1)
    return AdvantageOutput.broadcast((x.scores - stats.mean) * stats.size / others, x.mask)
