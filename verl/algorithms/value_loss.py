# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The loss of a critic."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl.algorithms.aggregate import aggregate
from verl.algorithms.contract import Average, Denominators, LossOutput
from verl.algorithms.masked import token_means, zero_outside


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueInput:
    """One micro-batch of a critic. Only `values` carries a gradient."""

    values: Float[Tensor, "B R"]
    old_values: Float[Tensor, "B R"]  # by the critic at the start of the step
    returns: Float[Tensor, "B R"]
    mask: Bool[Tensor, "B R"]
    denominators: Denominators
    clip: float = 0.5  # values are clipped to this distance from the old ones
    average: Average = "token"


def value_loss(x: ValueInput) -> LossOutput:
    """The mean of max((v - R)^2, (clip(v) - R)^2) / 2 (arXiv 1707.06347), as a share of the optimiser step's."""
    values, old, returns = (zero_outside(t, x.mask) for t in (x.values, x.old_values, x.returns))
    clipped = torch.minimum(torch.maximum(values, old - x.clip), old + x.clip)
    plain, bounded = (values - returns).square(), (clipped - returns).square()
    squares = 0.5 * torch.maximum(plain, bounded)
    metrics = token_means(x.mask, vf_loss=squares, vf_clipfrac=(bounded > plain).to(squares.dtype), vpred_mean=values)
    return LossOutput(
        loss=aggregate(squares, x.mask, x.average, x.denominators),
        metrics={f"critic/{name}": value for name, value in metrics.items()},
    )
