# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Group-relative advantages (arXiv 2402.03300)."""

from __future__ import annotations

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs


@advantage("grpo", "grpo_vectorized", needs=Needs.GROUP)
def grpo(x: AdvantageInput) -> AdvantageOutput:
    """A_i = (score_i - mean) / (std + 1e-6) over the siblings; 0 where they agree or there are none."""
    return AdvantageOutput.broadcast(x.relative(x.scores, by_std=True), x.mask)
