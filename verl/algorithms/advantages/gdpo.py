# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Group reward-decoupled normalisation (arXiv 2601.05242)."""

from __future__ import annotations

import torch
from torch import Tensor

from verl.algorithms.advantage import advantage
from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Needs
from verl.algorithms.grouped import group_stats


@advantage("gdpo", needs=Needs.GROUP | Needs.COMPONENTS)
def gdpo(x: AdvantageInput) -> AdvantageOutput:
    """Every part of the score relative to the siblings', weighted, summed, then whitened over the step.

    Whitening "sample" counts every response once (Eq. 6), "token" counts it once per token (verl, EasyVideoR1).
    The parts are read as they were scored: a KL penalty in the rewards does not reach them.
    """
    names = x.settings.components
    weights = x.settings.weights or (1.0,) * len(names)
    parts = [weight * x.relative(x.parts[name], by_std=True) for name, weight in zip(names, weights, strict=True)]
    total = torch.stack(parts).sum(0)
    if x.settings.whitening == "sample":
        return AdvantageOutput.broadcast(_whitened_rows(total, x), x.mask)
    rows = x.whitened(total.unsqueeze(-1).expand(x.mask.shape))
    return AdvantageOutput(advantages=rows, returns=rows)


def _whitened_rows(values: Tensor, x: AdvantageInput) -> Tensor:
    conventions = x.settings.conventions
    step = group_stats(values, torch.zeros_like(x.group), ddof=conventions.whiten_ddof)
    return (values - step.mean) / (step.std + conventions.eps)
