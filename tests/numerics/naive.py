# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Every formula again, as slowly and plainly as possible: Python floats, loops, nothing shared with the package."""

from __future__ import annotations

import math

Rows = list[list[float]]


def ppo_token(logprob: float, old: float, advantage: float, bounds: tuple[float, float, float]) -> float:
    low, high, dual = bounds
    ratio = math.exp(max(-20.0, min(20.0, logprob - old)))
    clipped = min(max(ratio, 1 - low), 1 + high)
    loss = max(-ratio * advantage, -clipped * advantage)
    return min(loss, -dual * advantage) if advantage < 0 else loss


def kl_token(logprob: float, ref: float, kind: str) -> float:
    gap = logprob - ref
    if kind == "kl":
        return gap
    if kind == "abs":
        return abs(gap)
    if kind == "mse":
        return gap * gap / 2
    gap = max(-20.0, min(20.0, gap))
    return min(math.exp(-gap) + gap - 1, 10.0)


def average(values: Rows, lengths: list[int], mode: str) -> float:
    """Mean over all tokens, or over the means of the rows that have any."""
    kept = [row[:length] for row, length in zip(values, lengths, strict=True) if length]
    if mode == "token":
        return sum(sum(row) for row in kept) / sum(len(row) for row in kept)
    return sum(sum(row) / len(row) for row in kept) / len(kept)
