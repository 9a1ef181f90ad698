# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Two runs of one benchmark, item by item."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.finished import FinishedRun
from eval.item import Graded
from eval.options import deciding
from eval.statistics import Interval, mean_interval
from eval.summary import graded
from verl.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An item that two runs grade differently."""

    id: str
    before: float
    after: float
    before_response: str
    after_response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed, and whether it is more than chance."""

    before: str
    after: str
    items: int
    difference: float  # of the micro score, in points
    interval: Interval | None  # 95%, paired, by video
    changes: tuple[Change, ...]
    settings: tuple[str, ...]  # that differ


def compare(before: FinishedRun, after: FinishedRun) -> Comparison:
    """Raises DataError for runs of other items."""
    if [item.id for item in before.items] != [item.id for item in after.items]:
        raise DataError(f"{before.folder} and {after.folder} did not ask the same items; compare runs of one benchmark")
    first, second = (graded(run, [outcome.official for outcome in run.outcomes]) for run in (before, after))
    gains = [_score(late) - _score(early) for early, late in zip(first, second, strict=True)]
    return Comparison(
        before=before.name,
        after=after.name,
        items=len(gains),
        difference=100 * float(np.mean(gains)),
        interval=mean_interval([row.item.video for row in first], gains),
        changes=tuple(_changes(before, after, first, second)),
        settings=tuple(sorted(_differing(before, after))),
    )


def text(comparison: Comparison) -> str:
    """For a terminal."""
    bounds = comparison.interval
    spelled = f" [{bounds.low:+.1f}, {bounds.high:+.1f}]" if bounds else ""
    better = sum(change.after > change.before for change in comparison.changes)
    lines = [
        f"{comparison.before} -> {comparison.after}: {comparison.difference:+.2f} points{spelled} of the"
        f" plain mean over {comparison.items} items",
        f"{better} better, {len(comparison.changes) - better} worse; settings that differ: "
        + (", ".join(comparison.settings) or "none"),
    ]
    for change in comparison.changes:
        lines.append(f"{change.id}: {change.before:.2f} -> {change.after:.2f}")
        lines.append(f"    before: {_short(change.before_response)}")
        lines.append(f"    after:  {_short(change.after_response)}")
    return "\n".join(lines) + "\n"


def _score(row: Graded) -> float:
    return row.grade.score or 0.0


def _changes(
    before: FinishedRun, after: FinishedRun, first: Sequence[Graded], second: Sequence[Graded]
) -> list[Change]:
    found = []
    for early, late, old, new in zip(first, second, before.outcomes, after.outcomes, strict=True):
        if _score(early) != _score(late):
            found.append(
                Change(
                    id=early.item.id,
                    before=_score(early),
                    after=_score(late),
                    before_response=old.response or old.failure or "",
                    after_response=new.response or new.failure or "",
                )
            )
    return found


def _differing(before: FinishedRun, after: FinishedRun) -> set[str]:
    first, second = deciding(before.manifest), deciding(after.manifest)
    return {name for name in first.keys() | second.keys() if first.get(name) != second.get(name)}


def _short(response: str) -> str:
    one_line = " ".join(response.split())
    return one_line if len(one_line) <= 100 else "..." + one_line[-97:]
