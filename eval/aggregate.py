# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Grades to figures. Every item counts, failed ones as wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from eval.item import EvalItem, Graded, Number


def micro(rows: Sequence[Graded]) -> Number:
    """Mean score of all items, in percent."""
    return Number(value=100 * fmean(row.grade.score or 0.0 for row in rows) if rows else 0.0, n=len(rows))


def by_label(rows: Sequence[Graded], label: str) -> dict[str, list[Graded]]:
    """Items by category, in the order in which categories first come; an item may be in several."""
    found: dict[str, list[Graded]] = {}
    for row in rows:
        for category in row.item.labels.get(label, ()):
            found.setdefault(category, []).append(row)
    return found


def breakdown(rows: Sequence[Graded], *labels: str) -> dict[str, Number]:
    """`micro` of every category, named "label/category"."""
    return {
        f"{label}/{category}": micro(members) for label in labels for category, members in by_label(rows, label).items()
    }


def macro(parts: Mapping[str, Number]) -> Number:
    """Mean of figures; `n` says of how many."""
    return Number(value=fmean(part.value for part in parts.values()) if parts else 0.0, n=len(parts))


def groups(rows: Sequence[Graded], name: Callable[[EvalItem], str]) -> list[list[Graded]]:
    """Rows that are scored together. A group that was drawn twice, for a confidence interval, is two groups."""
    drawn: Counter[str] = Counter()
    found: dict[tuple[str, int], list[Graded]] = {}
    for row in rows:
        found.setdefault((name(row.item), drawn[row.item.id]), []).append(row)
        drawn[row.item.id] += 1
    return list(found.values())


def accuracy(rows: Sequence[Graded]) -> dict[str, Number]:
    """The one figure of a plain benchmark."""
    return {"accuracy": micro(rows)}


def macro_accuracy(name: str, label: str) -> Callable[[Sequence[Graded]], dict[str, Number]]:
    """The mean over the categories of a label as the headline, when every item has one; and plain accuracy."""

    def figures(rows: Sequence[Graded]) -> dict[str, Number]:
        is_known = all(row.item.labels.get(label) for row in rows)
        headline = {name: macro(breakdown(rows, label))} if is_known else {}
        return {**headline, **accuracy(rows)}

    return figures
