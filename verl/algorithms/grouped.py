# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics over the siblings of one prompt, handed back to every sibling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStats:
    """Of the group that each row is in. float64."""

    mean: Float[Tensor, " B"]
    std: Float[Tensor, " B"]  # with one degree of freedom taken off; 0 for a group of one
    size: Float[Tensor, " B"]
    is_first: Bool[Tensor, " B"]  # one row per group, to count groups by

    @property
    def num_groups(self) -> float:
        """How many groups there are."""
        return float(self.is_first.sum())

    @property
    def num_singletons(self) -> float:
        """Groups of one row: nothing to compare it with."""
        return float((self.is_first & (self.size == 1)).sum())


def group_stats(scores: Float[Tensor, " B"], group: Int[Tensor, " B"]) -> GroupStats:
    """Mean, std and size per group, in any row order.

    Deviations are taken from the smallest score of the group, so that siblings with equal scores have
    a std of exactly 0 whatever the score: 0.7 has no exact mean, and a rounding error divided by another one
    is not small.
    """
    scores = scores.double()
    labels, of_row = torch.unique(group, return_inverse=True)
    zeros = scores.new_zeros(len(labels))
    size = zeros.index_add(0, of_row, torch.ones_like(scores))
    least = zeros.scatter_reduce(0, of_row, scores, "amin", include_self=False)
    above = scores - least[of_row]
    mean_above = zeros.index_add(0, of_row, above) / size
    squares = zeros.index_add(0, of_row, (above - mean_above[of_row]) ** 2)
    std = (squares / (size - 1).clamp(min=1)).sqrt()
    rows = torch.arange(len(scores), device=scores.device)
    first = torch.full_like(labels, len(scores)).scatter_reduce(0, of_row, rows.to(labels.dtype), "amin")
    return GroupStats(
        mean=(least + mean_above)[of_row],
        std=std[of_row],
        size=size[of_row],
        is_first=first[of_row] == rows,
    )
