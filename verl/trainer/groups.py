# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Pure decisions about groups of siblings. A greedy baseline is the last of its group, and no sibling to train on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

from verl.errors import ContractError
from verl.registry import nearest
from verl.types import Score, Scored, Source

T = TypeVar("T")
Group: TypeAlias = list[Scored]

OVERALL = "overall"
SIGNAL_EPSILON = 1e-8  # scores closer than this are the same score


def by_group(rows: Sequence[T], key: Callable[[T], tuple[int, int]]) -> list[list[T]]:
    """Rows in groups, groups and siblings in the order of their (group, index) keys."""
    groups: dict[int, list[T]] = {}
    for row in sorted(rows, key=key):
        groups.setdefault(key(row)[0], []).append(row)
    return list(groups.values())


def numbered(groups: Sequence[Sequence[Scored]]) -> list[Group]:
    """The same groups, called 0, 1, 2 ...: they may come from several draws, which count alike."""
    return [
        [replace(row, trajectory=replace(row.trajectory, group=number)) for row in group]
        for number, group in enumerate(groups)
    ]


def value_of(score: Score, key: str) -> float:
    """The overall score, or a part of it. Raises ContractError when there is no such part."""
    if key == OVERALL:
        return score.overall
    if key not in score.parts:
        raise ContractError(
            f"the score has no part {key!r}{nearest(key, score.parts)} (parts: {', '.join(score.parts) or 'none'});"
            " have the reward function return it, or set algorithm.filter_key to one of them or to overall"
            " (worker.rollout.mix_policy_accuracy_threshold needs 'accuracy')"
        )
    return score.parts[key]


def values_of(group: Sequence[Scored], key: str = OVERALL) -> list[float]:
    """A part of the scores of the rows that could be scored."""
    return [value_of(row.verdict, key) for row in group if isinstance(row.verdict, Score)]


def has_signal(group: Sequence[Scored], key: str = OVERALL) -> bool:
    """Whether the rows disagree, so that a relative advantage can teach something.

    A greedy baseline counts as a row: what is compared with it alone teaches as soon as it differs.
    """
    values = values_of(group, key)
    return len(values) > 1 and max(values) - min(values) > SIGNAL_EPSILON


def signal_share(groups: Sequence[Sequence[Scored]]) -> float:
    """Share of groups with signal, 0..1."""
    return sum(map(has_signal, groups)) / max(len(groups), 1)


def of_source(rows: Sequence[Scored], source: Source) -> list[Scored]:
    """The rows of one author."""
    return [row for row in rows if row.trajectory.source is source]


def of_policy(rows: Sequence[Scored]) -> list[Scored]:
    """The rows that the policy sampled."""
    return of_source(rows, Source.POLICY)


def baseline_of(group: Sequence[Scored]) -> float | None:
    """The score of the greedy response, None when there is none or it could not be scored."""
    return next(iter(values_of(of_source(group, Source.GREEDY))), None)
