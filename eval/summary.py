# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A finished run in figures: each with its n and its interval, by the benchmark's rules and by ours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from eval.aggregate import breakdown, micro
from eval.finished import FinishedRun
from eval.item import WRONG, Grade, Graded, Number
from eval.statistics import Interval, blind_baselines, intervals, mean_interval
from eval.store import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number of a report, in percent."""

    value: float
    n: int
    low: float | None = None  # of its 95% interval; None where one video is all there is
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the items."""

    items: int
    failed: int  # no response: the video or the engine
    truncated: int
    unparsed: int  # a response in which the official script reads no answer
    unjudged: int  # a response that only a judge could grade, and none did


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run. The first figure of `official` is its headline; every denominator holds failed items too."""

    benchmark: str
    title: str
    run: str
    official: Mapping[str, Figure]
    robust: Mapping[str, Figure]  # the same aggregate over our own grades, of items that we can grade
    micro: Figure
    counts: Counts
    blind: Mapping[str, float]
    seen: str  # of each video
    judges: Mapping[str, int]  # by name, how many official scores are theirs
    manifest: Mapping[str, Any]

    @property
    def headline(self) -> tuple[str, Figure]:
        """Name and value of the official score."""
        return next(iter(self.official.items()))

    def as_json(self) -> dict[str, Any]:
        """As one JSON object."""
        return asdict(self)


def summarise(run: FinishedRun) -> Summary:
    """All figures of a run."""
    official = graded(run, [outcome.official for outcome in run.outcomes])
    robust = ours(run)
    return Summary(
        benchmark=run.benchmark.name,
        title=run.benchmark.title,
        run=run.name,
        official=_figures(run, official),
        robust=_figures(run, robust) if robust else {},
        micro=_figure(micro(official), _micro_interval(official)),
        counts=_counts(run.outcomes),
        blind=blind_baselines(run.items),
        seen=_seen(run),
        judges=dict(Counter(outcome.judge or "unnamed" for outcome in run.outcomes if outcome.judged)),
        manifest=run.manifest,
    )


def ours(run: FinishedRun) -> list[Graded]:
    """Items with our own grades. A failed one is wrong; a response that our tasks cannot grade is left out."""
    gradable = [outcome.robust is not None for outcome in run.outcomes]
    rows = graded(run, [outcome.robust for outcome in run.outcomes])
    kinds = {row.item.problem_type for row, can in zip(rows, gradable, strict=True) if can}
    return [
        row
        for row, can, outcome in zip(rows, gradable, run.outcomes, strict=True)
        if can or (outcome.failure is not None and row.item.problem_type in kinds)
    ]


def _seen(run: FinishedRun) -> str:
    """The frame budget, which decides scores."""
    if run.manifest["blind"]:
        return "nothing"
    spec = run.sight.spec
    total = "" if spec.total_pixels is None else f", {spec.total_pixels} px in all"
    return f"{spec.fps:g} fps, {spec.max_frames} frames of {spec.max_pixels} px{total}"


def graded(run: FinishedRun, grades: Sequence[Grade | None]) -> list[Graded]:
    """Items with their grades; what has none counts as wrong."""
    return [
        Graded(item=item, grade=grade if grade is not None and grade.score is not None else WRONG)
        for item, grade in zip(run.items, grades, strict=True)
    ]


def _figures(run: FinishedRun, rows: Sequence[Graded]) -> dict[str, Figure]:
    def figures(rows: Sequence[Graded]) -> dict[str, Number]:
        return {**run.benchmark.aggregate(rows), **breakdown(rows, *run.benchmark.breakdowns)}

    bounds = intervals(rows, figures)
    return {name: _figure(number, bounds.get(name)) for name, number in figures(rows).items()}


def _micro_interval(rows: Sequence[Graded]) -> Interval | None:
    return mean_interval([row.item.video for row in rows], [row.grade.score or 0.0 for row in rows])


def _figure(number: Number, interval: Interval | None) -> Figure:
    bounds = {"low": interval.low, "high": interval.high} if interval is not None else {}
    return Figure(value=number.value, n=number.n, **bounds)


def _counts(outcomes: Sequence[Outcome]) -> Counts:
    grades = [outcome.official for outcome in outcomes if outcome.official is not None]
    return Counts(
        items=len(outcomes),
        failed=sum(outcome.failure is not None for outcome in outcomes),
        truncated=sum(outcome.truncated for outcome in outcomes),
        unparsed=sum(grade.parsed is None for grade in grades),
        unjudged=sum(grade.score is None for grade in grades),
    )
