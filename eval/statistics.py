# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How sure a figure is, and what it is worth without the video."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np

from eval.benchmark import Aggregate
from eval.item import EvalItem, Graded

RESAMPLES = 1000
MAX_DRAWN = 1_000_000  # items in all resamples of an aggregate, which is Python; fewer resamples beyond it
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Bounds of a figure, in percent."""

    low: float
    high: float


def intervals(rows: Sequence[Graded], aggregate: Aggregate, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """95% bootstrap intervals of every figure of `aggregate`, whole videos being drawn; same rows, same intervals.

    Questions about one video rise and fall together: drawing questions would give intervals that are too narrow. A
    figure that some draw does not have (a category with one video) is measured over the draws that have it.
    """
    clusters: dict[str, list[Graded]] = {}
    for row in rows:
        clusters.setdefault(row.item.video, []).append(row)
    videos = list(clusters.values())
    resamples = min(resamples, max(MAX_DRAWN // max(len(rows), 1), 100))
    generator = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples if len(videos) > 1 else 0):
        picked = generator.integers(len(videos), size=len(videos))
        sample = [row for video in picked for row in videos[video]]
        for name, number in aggregate(sample).items():
            drawn.setdefault(name, []).append(number.value)
    tail = (1 - LEVEL) / 2
    return {name: Interval(**_bounds(values, tail)) for name, values in drawn.items()}


def _bounds(values: Sequence[float], tail: float) -> dict[str, float]:
    low, high = np.quantile(np.asarray(values), [tail, 1 - tail])
    return {"low": float(low), "high": float(high)}


def blind_baselines(items: Sequence[EvalItem]) -> Mapping[str, float]:
    """Accuracies, in percent, that take no look at a video: chance, the most frequent letter, the longest option.

    Over the items that have options and a letter for an answer; empty without any.
    """
    asked = [item for item in items if item.options and _place(item) is not None]
    if not asked:
        return {}
    places = Counter(_place(item) for item in asked)
    lengths = [[len(option) for option in item.options] for item in asked]
    longest = [each.index(max(each)) for each in lengths]
    return {
        "chance": 100 * sum(1 / len(item.options) for item in asked) / len(asked),
        "most frequent letter": 100 * max(places.values()) / len(asked),
        "longest option": 100 * sum(_place(item) == at for item, at in zip(asked, longest, strict=True)) / len(asked),
    }


def _place(item: EvalItem) -> int | None:
    """Which option is right."""
    answer = str(item.answer).strip().upper()
    place = ascii_uppercase.find(answer) if len(answer) == 1 else -1
    return place if 0 <= place < len(item.options) else None


def mean_interval(videos: Sequence[str], scores: Sequence[float], resamples: int = RESAMPLES) -> Interval | None:
    """95% bootstrap interval, in percent, of the mean of `scores`, whole videos being drawn; None for one video."""
    names, place = np.unique(np.asarray(videos), return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.bincount(place, weights=np.asarray(scores, np.float64))
    counts = np.bincount(place)
    picked = np.random.default_rng(0).integers(len(names), size=(resamples, len(names)))
    means = 100 * sums[picked].sum(axis=1) / counts[picked].sum(axis=1)
    return Interval(**_bounds(means.tolist(), (1 - LEVEL) / 2))
