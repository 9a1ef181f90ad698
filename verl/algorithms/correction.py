# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Trainer and engine disagree a little about the probabilities of what was sampled: weights that make up for it.

rho = exp(logprobs - rollout_logprobs), the trainer at the start of a step over the engine that sampled. It stays as it
is in all updates of the step; what the policy does since is the loss's own ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from verl.algorithms.masked import row_means, zero_outside
from verl.algorithms.ratio import MAX_LOG_RATIO
from verl.errors import ConfigError
from verl.registry import nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """An interval for a ratio or a divergence."""

    low: float = 0.0
    high: float

    def holds(self, values: Tensor) -> Tensor:
        """Where `values` are inside, both ends included."""
        return (values >= self.low) & (values <= self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What a token or a sequence must keep to count: `reach` of `kind` within bounds.

    "k1" is rho itself (of a sequence: of the sum, or mean, of its log-ratios), "k2" half the squared log-ratio, "k3"
    rho - 1 - log rho.
    """

    reach: Literal["token", "seq_sum", "seq_mean", "seq_max"]
    kind: Literal["k1", "k2", "k3"]
    bounds: Bounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """How the loss is corrected; by default not at all."""

    level: Literal["token", "sequence"] | None = None  # of the weight rho; None: no weight
    bounds: Bounds = Bounds(high=2.0)
    cuts: bool = False  # outside the bounds a weight is 0 (arXiv 2510.18855); else it is cut down to the upper one
    normalize: bool = False  # by the mean weight of all rows of the step
    rejections: tuple[Rejection, ...] = ()  # all must be passed

    @property
    def is_active(self) -> bool:
        """Whether anything is corrected."""
        return self.level is not None or bool(self.rejections)


def log_rho(
    logprobs: Float[Tensor, "B R"], rollout_logprobs: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"]
) -> Float[Tensor, "B R"]:
    """The log of rho, kept in [-20, 20], 0 outside the mask. float64."""
    gap = zero_outside(logprobs.double() - rollout_logprobs.double(), mask)
    return gap.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)


def weights(gap: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], how: Correction) -> Float[Tensor, "B R"]:
    """What the loss of each token is multiplied by, from `log_rho` of all rows of a step; 0 rejects, 1 outside."""
    found = _importance(gap, mask, how) if how.level is not None else torch.ones_like(gap)
    return torch.where(mask, found * accepted(gap, mask, how), 1.0)


def _importance(gap: Tensor, mask: Tensor, how: Correction) -> Tensor:
    whole_rows = how.level == "sequence"
    rho = gap.sum(-1, keepdim=True).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() if whole_rows else gap.exp()
    kept = torch.where(how.bounds.holds(rho), rho, 0.0) if how.cuts else rho.clamp(max=how.bounds.high)
    if how.normalize:
        counted = mask.any(-1, keepdim=True) if whole_rows else mask
        mean = zero_outside(kept, counted).sum() / counted.sum().clamp(min=1)
        kept = kept / mean.clamp(min=1e-8)
    return kept.expand_as(gap)


_KINDS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "k1": lambda gap: gap,
    "k2": lambda gap: 0.5 * gap.square(),
    "k3": lambda gap: gap.exp() - 1 - gap,
}


def accepted(gap: Float[Tensor, "B R"], mask: Bool[Tensor, "B R"], how: Correction) -> Bool[Tensor, "B R"]:
    """Which tokens of the mask no rejection takes out."""
    kept = mask
    for rule in how.rejections:
        kept = kept & rule.bounds.holds(_statistic(gap, mask, rule))
    return kept


def _statistic(gap: Tensor, mask: Tensor, rule: Rejection) -> Tensor:
    values = zero_outside(_KINDS[rule.kind](gap), mask)
    if rule.reach == "seq_sum":
        values = values.sum(-1, keepdim=True)
    elif rule.reach == "seq_mean":
        values = row_means(values, mask).unsqueeze(-1)
    elif rule.reach == "seq_max":
        values = values.amax(-1, keepdim=True)
    return values.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() if rule.kind == "k1" else values


def parse_bounds(text: str) -> tuple[Bounds, bool]:
    """ "2.0" is the upper bound; "0.5_5.0" both, and the second answer True. Raises ConfigError."""
    parts = text.split("_")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < number < math.inf for number in numbers) or sorted(numbers) != numbers:
        raise ConfigError(f"{text!r} is no bound: write an upper one, as 2.0, or a lower and an upper one, as 0.5_5.0")
    return Bounds(low=numbers[0] if len(numbers) == 2 else 0.0, high=numbers[-1]), len(numbers) == 2


def parse_rejections(names: str | None, thresholds: str | None) -> tuple[Rejection, ...]:
    """Rules "token_k1,seq_mean_k3" with a threshold for each, "0.5_2.0,0.1". Raises ConfigError.

    A single number bounds a ratio (k1) from both sides, by itself and its inverse, and a divergence from above.
    """
    rules = [name.strip() for name in (names or "").split(",") if name.strip()]
    limits = [limit.strip() for limit in (thresholds or "").split(",") if limit.strip()]
    if len(rules) != len(limits):
        raise ConfigError(
            f"algorithm.rollout_correction: {len(rules)} rules in rollout_rs={names} and {len(limits)} bounds in"
            f" rollout_rs_threshold={thresholds}; give one for each"
        )
    return tuple(_parse_rule(rule, limit) for rule, limit in zip(rules, limits, strict=True))


_RULES = {
    f"{reach}_{kind}": (reach, kind)
    for reach in ("token", "seq_sum", "seq_mean", "seq_max")
    for kind in ("k1", "k2", "k3")
    if (reach, kind) != ("seq_max", "k1")
}


def _parse_rule(name: str, limit: str) -> Rejection:
    if name not in _RULES:
        known = ", ".join(_RULES)
        raise ConfigError(f"unknown rejection {name!r} in rollout_rs{nearest(name, _RULES)} (known: {known})")
    reach, kind = _RULES[name]
    bounds, has_both = parse_bounds(limit)
    if kind == "k1" and not has_both:
        if bounds.high < 1:
            raise ConfigError(f"rollout_rs_threshold={limit} for {name}: one bound of a ratio must be 1 or more")
        bounds = Bounds(low=1 / bounds.high, high=bounds.high)
    if kind != "k1" and has_both:
        raise ConfigError(f"rollout_rs_threshold={limit} for {name}: a divergence has an upper bound only")
    return Rejection(reach=reach, kind=kind, bounds=bounds)  # type: ignore[arg-type]
