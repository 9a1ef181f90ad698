# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Group policy gradient (arXiv 2504.02546)."""

from __future__ import annotations

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs


@advantage("gpg", needs=Needs.GROUP)
def gpg(x: AdvantageInput) -> AdvantageOutput:
    """A_i = alpha (score_i - mean over the siblings), alpha = rows / rows whose score is not 0.

    alpha counts as verl does; the paper counts rows in groups that say something.
    """
    scores = x.scores
    alpha = len(scores) / scores.count_nonzero().clamp(min=1)
    return AdvantageOutput.broadcast(alpha * (scores - x.siblings(scores).mean), x.mask)
