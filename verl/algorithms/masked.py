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


def mean(values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"]) -> Float[Tensor, ""]:
    """Mean over the mask, in float64; 0 for an empty one."""
    return values[mask].double().sum() / mask.sum().clamp(min=1)


def variance(values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], *, ddof: int = 1) -> Float[Tensor, ""]:
    """Variance over the mask with `ddof` degrees of freedom taken off, in float64; 0 where nothing varies."""
    return _deviations(values, mask).square().sum() / (mask.sum() - ddof).clamp(min=1)


def whiten(
    values: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], *, ddof: int = 1, eps: float = 1e-8
) -> Float[Tensor, "B R"]:
    """`values` less their mean over the root of (variance + eps), in float64; 0 outside the mask."""
    whitened = values.new_zeros(values.shape, dtype=torch.float64)
    whitened[mask] = _deviations(values, mask) * (variance(values, mask, ddof=ddof) + eps).rsqrt()
    return whitened


def _deviations(values: Tensor, mask: Tensor) -> Tensor:
    """From the mean, of the values inside [N]; by way of the smallest, so that equal values give exactly 0."""
    kept = values[mask].double()
    above = kept - kept.amin() if len(kept) else kept
    return above - above.sum() / max(len(above), 1)


def token_means(mask: Bool[Tensor, "B R"], **values: Tensor) -> dict[str, tuple[float, float]]:
    """(total, weight) of every named [B, R] tensor over the mask, read back from the device in one go."""
    totals = [torch.where(mask, v, torch.zeros_like(v)).sum().double() for v in values.values()]
    numbers = torch.stack([*totals, mask.sum().double()]).detach().tolist()
    return {name: (total, numbers[-1]) for name, total in zip(values, numbers[:-1], strict=True)}
