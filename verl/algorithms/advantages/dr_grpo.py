# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Group-relative advantages without the bias towards easy and hard prompts (arXiv 2503.20783)."""

from __future__ import annotations

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs


@advantage("dr_grpo", needs=Needs.GROUP)
def dr_grpo(x: AdvantageInput) -> AdvantageOutput:
    """A_i = score_i - mean over the siblings. The paper's other half is a loss divided by a constant length."""
    return AdvantageOutput.broadcast(x.relative(x.scores, by_std=False), x.mask)
