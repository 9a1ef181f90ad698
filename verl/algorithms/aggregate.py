# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""From a loss per token to the loss of an optimiser step."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from verl.algorithms.contract import Average, Denominators
from verl.algorithms.masked import row_means, zero_outside


def total(values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], average: Average) -> Float[Tensor, ""]:
    """For "seq" the sum, over the rows, of each row's mean; otherwise the sum of all tokens."""
    return row_means(values, mask).sum() if average == "seq" else zero_outside(values, mask).sum()


def aggregate(
    values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], average: Average, denominators: Denominators
) -> Float[Tensor, ""]:
    """This micro-batch's share of the loss of the optimiser step.

    "token" is the mean over all tokens (arXiv 2503.14476), "seq" over all sequences of each one's mean (2402.03300),
    "seq_sum" over all sequences of each one's sum, "seq_norm" that divided by a constant (2503.20783), "sum" no mean.
    """
    return total(values, mask, average) / max(denominators.count(average), 1.0)
