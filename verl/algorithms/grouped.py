# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Statistics over the siblings of one prompt, handed back to every sibling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

Reduction: TypeAlias = Literal["sum", "amax", "amin"]
Singleton: TypeAlias = Literal["zero", "score"]  # advantage of a response without siblings


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStats:
    """Of the group that each row is in. float64."""

    mean: Float[Tensor, " B"]
    std: Float[Tensor, " B"]  # with one degree of freedom taken off unless told; 0 for a group of one
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


def over_siblings(values: Shaped[Tensor, " B *R"], group: Int[Tensor, " B"], how: Reduction) -> Shaped[Tensor, " B *R"]:
    """Sum, largest or smallest of the `values` of every row's group; token by token if rows have some."""
    labels, of_row = torch.unique(group, return_inverse=True)
    index = of_row.view(-1, *[1] * (values.ndim - 1)).expand(values.shape)
    found = values.new_zeros(len(labels), *values.shape[1:]).scatter_reduce(0, index, values, how, include_self=False)
    return found[of_row]


def group_stats(
    scores: Float[Tensor, " B"], group: Int[Tensor, " B"], *, ddof: int = 1, singleton: Singleton = "zero"
) -> GroupStats:
    """Mean, std and size per group, in any row order.

    Deviations are taken from the smallest score of the group, so that siblings with equal scores have
    a std of exactly 0 whatever the score: 0.7 has no exact mean, and a rounding error divided by another one
    is not small. With `singleton` "score" the mean of a group of one is 0 and its std 1, as in verl.
    """
    scores = scores.double()
    size = over_siblings(torch.ones_like(scores), group, "sum")
    least = over_siblings(scores, group, "amin")
    above = scores - least
    mean_above = over_siblings(above, group, "sum") / size
    squares = over_siblings((above - mean_above) ** 2, group, "sum")
    mean, std = least + mean_above, (squares / (size - ddof).clamp(min=1)).sqrt()
    if singleton == "score":
        mean, std = mean.masked_fill(size == 1, 0), std.masked_fill(size == 1, 1)
    rows = torch.arange(len(scores), device=scores.device)
    return GroupStats(mean=mean, std=std, size=size, is_first=over_siblings(rows, group, "amin") == rows)
