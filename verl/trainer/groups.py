# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Pure decisions about groups of siblings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from verl.types import Score, Scored

T = TypeVar("T")

SIGNAL_EPSILON = 1e-8  # scores closer than this are the same score


def by_group(rows: Sequence[T], key: Callable[[T], tuple[int, int]]) -> list[list[T]]:
    """Rows in groups, groups and siblings in the order of their (group, index) keys."""
    groups: dict[int, list[T]] = {}
    for row in sorted(rows, key=key):
        groups.setdefault(key(row)[0], []).append(row)
    return list(groups.values())


def scores_of(group: Sequence[Scored]) -> list[float]:
    """Overall scores of the siblings that could be scored."""
    return [row.verdict.overall for row in group if isinstance(row.verdict, Score)]


def has_signal(group: Sequence[Scored]) -> bool:
    """Whether the siblings disagree, so that a relative advantage can teach something."""
    scores = scores_of(group)
    return len(scores) > 1 and max(scores) - min(scores) > SIGNAL_EPSILON


def signal_share(groups: Sequence[Sequence[Scored]]) -> float:
    """Share of groups with signal, 0..1."""
    return sum(map(has_signal, groups)) / max(len(groups), 1)
