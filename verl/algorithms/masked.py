# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Reductions over the True entries of a mask. What lies outside, even nan, never reaches a result."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def zero_outside(values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"]) -> Float[Tensor, "B R"]:
    """`values`, with 0 where the mask is False; no gradient flows back from there."""
    return torch.where(mask, values, torch.zeros_like(values))


def row_means(values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"]) -> Float[Tensor, " B"]:
    """Mean of each row over its mask; 0 for a row without any."""
    return zero_outside(values, mask).sum(-1) / mask.sum(-1).clamp(min=1)


def token_means(mask: Bool[Tensor, "B R"], **values: Tensor) -> dict[str, tuple[float, float]]:
    """(total, weight) of every named [B, R] tensor over the mask, read back from the device in one go."""
    totals = [torch.where(mask, v, torch.zeros_like(v)).sum().double() for v in values.values()]
    numbers = torch.stack([*totals, mask.sum().double()]).detach().tolist()
    return {name: (total, numbers[-1]) for name, total in zip(values, numbers[:-1], strict=True)}
