# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Metrics that can be merged: a number together with how it adds up.

Micro-batches, ranks and attempts each report what they saw; `merge` gives what one process would have
reported for all of it. A mean carries its weight, so a mean of means cannot be written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from verl.errors import ContractError


@dataclass(frozen=True, slots=True)
class Mean:
    """`total / weight`. Without weight nothing was measured, and nothing is logged."""

    total: float
    weight: float = 1.0

    @property
    def value(self) -> float:
        """The mean, nan when the weight is zero."""
        return self.total / self.weight if self.weight else math.nan

    def merge(self, other: Mean) -> Mean:
        """The mean over both."""
        return Mean(self.total + other.total, self.weight + other.weight)


@dataclass(frozen=True, slots=True)
class Sum:
    """A count or an amount."""

    value: float

    def merge(self, other: Sum) -> Sum:
        """Both together."""
        return Sum(self.value + other.value)


@dataclass(frozen=True, slots=True)
class Max:
    """The largest value seen."""

    value: float

    def merge(self, other: Max) -> Max:
        """The larger of both."""
        return Max(max(self.value, other.value))


@dataclass(frozen=True, slots=True)
class Min:
    """The smallest value seen."""

    value: float

    def merge(self, other: Min) -> Min:
        """The smaller of both."""
        return Min(min(self.value, other.value))


@dataclass(frozen=True, slots=True)
class Last:
    """A state rather than a measurement, such as a learning rate: the later one counts."""

    value: float

    def merge(self, other: Last) -> Last:
        """The other, which is the later one."""
        return other


Metric: TypeAlias = Mean | Sum | Max | Min | Last
Metrics: TypeAlias = dict[str, Metric]


def merge(parts: Iterable[Mapping[str, Metric]]) -> Metrics:
    """Metrics of the whole, from those of its parts in order. Raises ContractError when kinds differ."""
    merged: Metrics = {}
    for part in parts:
        for name, metric in part.items():
            merged[name] = _merge_pair(name, merged[name], metric) if name in merged else metric
    return merged


def _merge_pair(name: str, first: Metric, second: Metric) -> Metric:
    if type(first) is not type(second):
        kinds = f"{type(first).__name__} in one place and {type(second).__name__} in another"
        raise ContractError(f"metric {name!r} is {kinds}; report it as one kind everywhere")
    return first.merge(second)  # type: ignore[arg-type]


def values(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Plain numbers to log; means without weight are left out."""
    return {
        name: metric.value for name, metric in metrics.items() if not (isinstance(metric, Mean) and metric.weight == 0)
    }


def means(sums: Mapping[str, tuple[float, float]], prefix: str = "") -> Metrics:
    """Means from (total, weight) pairs, the form in which `verl.algorithms` reports."""
    return {prefix + name: Mean(total, weight) for name, (total, weight) in sums.items()}


def spread(name: str, numbers: Sequence[float]) -> Metrics:
    """`name/mean`, `name/max` and `name/min`; nothing for no numbers."""
    if not numbers:
        return {}
    mean = Mean(math.fsum(numbers), len(numbers))
    return {f"{name}/mean": mean, f"{name}/max": Max(max(numbers)), f"{name}/min": Min(min(numbers))}
