# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""From a loss per token to the loss of an optimiser step."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from verl.algorithms.contract import Average, Denominators
from verl.algorithms.masked import row_means, zero_outside


def total(values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], average: Average) -> Float[Tensor, ""]:
    """For "token" the sum of all tokens; for "seq" the sum, over the rows, of each row's mean."""
    return zero_outside(values, mask).sum() if average == "token" else row_means(values, mask).sum()


def aggregate(
    values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], average: Average, denominators: Denominators
) -> Float[Tensor, ""]:
    """This micro-batch's share of the mean over all tokens, or all sequences, of the optimiser step."""
    return total(values, mask, average) / max(denominators.count(average), 1.0)
