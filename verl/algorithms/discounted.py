# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Sums over the rest of a response, with a discount per token."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl.algorithms.masked import zero_outside


def discounted_sums(values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], factor: float) -> Float[Tensor, "B R"]:
    """S_t = values_t + factor * S_next, where next is the next True entry of the mask; float64.

    Positions outside the mask neither count nor discount: they hold the sum of the next True entry, or 0.
    With factor 0 this is the value at, or next after, each position.
    """
    columns, inside = zero_outside(values, mask).double().T.contiguous(), mask.T.contiguous()
    sums, running = torch.empty_like(columns), columns.new_zeros(len(values))
    for t in reversed(range(len(columns))):
        running = torch.where(inside[t], columns[t] + factor * running, running)
        sums[t] = running
    return sums.T
