# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The built-in reward: each row is scored by the task its problem_type names."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from verl.errors import ConfigError, ContractError
from verl.registry import nearest
from verl.rewards.contract import (
    UNREADABLE,
    Grade,
    JudgedTask,
    RewardItem,
    Task,
    configure_task,
    find_task,
    spelling,
)
from verl.rewards.format import FormatPolicy, format_score
from verl.rewards.judge import Judge
from verl.rewards.judge_prompt import JudgeCase
from verl.rewards.penalties import OverlongPenalty, RepetitionPenalty
from verl.scoring.answers import Answer, read_answer
from verl.tracking.metrics import Metrics
from verl.types import NotScorable, Record, Score, Verdict

P = TypeVar("P", OverlongPenalty, RepetitionPenalty)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighing:
    """What a right answer and the right form are worth."""

    accuracy_weight: float = 0.9
    format_weight: float = 0.1
    format_policy: str = "answer"

    def __post_init__(self) -> None:
        weights = (self.accuracy_weight, self.format_weight)
        if not all(0 <= weight <= 1 for weight in weights) or sum(weights) > 1 + 1e-9:
            raise ConfigError(f"accuracy_weight, format_weight {weights}: each in [0, 1], together at most 1")
        policies = [policy.value for policy in FormatPolicy]
        if self.format_policy not in policies:
            hint = nearest(self.format_policy, policies)
            raise ConfigError(f"unknown format_policy {self.format_policy!r}{hint} (known: {policies})")


@dataclass(frozen=True, slots=True)
class _Lane:
    """A task as the configuration wants it."""

    task: Task[Any]
    weighing: Weighing


@dataclass(frozen=True, slots=True)
class _Draft:
    """A response that was read, and its grade or what a judge is to be asked about it."""

    item: RewardItem
    lane: _Lane
    answer: Answer
    outcome: Grade | JudgeCase


class Router:
    """Scores `accuracy_weight` * accuracy + `format_weight` * format, in [0, 1], plus the penalties asked for.

    `tasks` maps a problem_type to settings of its own: accuracy_weight, format_weight, format_policy, and those of the
    task. A `judge` decides on answers of its tasks that the rules are not sure of (part judged: whether it did). Parts:
    accuracy, format, readable (1 when the task could read an answer; its fall is an early alarm), the
    penalties, and what the task adds. A response cut off by the length limit gets no format score.
    """

    is_sequential = True

    def __init__(
        self,
        *,
        tasks: Mapping[str, Mapping[str, Any]] | None = None,
        overlong_penalty: Mapping[str, Any] | None = None,
        repetition_penalty: Mapping[str, Any] | None = None,
        judge: Judge | None = None,
        **weighing: Any,
    ) -> None:
        self._weighing = _weighing(Weighing(), weighing)
        self._lanes: dict[type[Task[Any]], _Lane] = {}
        for name, settings in (tasks or {}).items():
            self._furnish(name, dict(settings))
        self._recent: tuple[Record, Any] | None = None
        self._judge = judge
        self._judged = _judged_tasks(judge)
        self._overlong = _penalty(OverlongPenalty, "overlong_penalty", overlong_penalty)
        self._repetition = _penalty(RepetitionPenalty, "repetition_penalty", repetition_penalty)

    def score(self, items: Sequence[RewardItem]) -> list[Verdict]:
        """Verdicts for `items`, in order; a judge is asked about all of them at once.

        Raises ContractError when a scorer breaks.
        """
        started = time.monotonic()
        drafts = [self._read(item) for item in items]
        cases = [
            draft.outcome for draft in drafts if isinstance(draft, _Draft) and isinstance(draft.outcome, JudgeCase)
        ]
        judged = iter(self._ask(cases, started))
        verdicts: list[Verdict] = []
        for draft in drafts:
            if not isinstance(draft, _Draft):
                verdicts.append(draft)
                continue
            grade = draft.outcome if isinstance(draft.outcome, Grade) else _graded(next(judged), draft.outcome)
            verdicts.append(grade if isinstance(grade, NotScorable) else self._weigh(draft, grade))
        return verdicts

    def drain_metrics(self) -> Metrics:
        """What judging cost since the last call."""
        return {} if self._judge is None else self._judge.drain_metrics()

    def _ask(self, cases: Sequence[JudgeCase], started: float) -> list[Verdict]:
        if self._judge is None or not cases:
            return []
        return self._judge.judge(cases, seconds=self._judge.config.deadline_seconds + started - time.monotonic())

    def _read(self, item: RewardItem) -> _Draft | NotScorable:
        lane = self._find(item.record)
        if isinstance(lane, NotScorable):
            return lane
        truth = self._truth_of(item.record, lane.task)
        if isinstance(truth, NotScorable):
            return truth
        answer = read_answer(item.response, lane.task.bare_chars)
        is_worth_reading = 0 < len(answer.text) <= lane.task.max_chars
        is_judged = spelling(item.record.problem_type) in self._judged
        outcome: Grade | JudgeCase | NotScorable = UNREADABLE
        if is_worth_reading:
            outcome = (_case if is_judged else _grade)(lane.task, answer.text, truth, item.record)
        if isinstance(outcome, NotScorable):
            return outcome
        if is_judged and isinstance(outcome, Grade):
            outcome = replace(outcome, parts={**outcome.parts, "judged": 0.0})
        return _Draft(item, lane, answer, outcome)

    def _weigh(self, draft: _Draft, grade: Grade) -> Score:
        item, weighing = draft.item, draft.lane.weighing
        form = format_score(draft.answer, grade.is_typed, FormatPolicy(weighing.format_policy))
        form = 0.0 if item.truncated else form
        parts = {"accuracy": grade.accuracy, "format": form, "readable": float(grade.is_readable), **grade.parts}
        penalties = self._penalties(item)
        overall = weighing.accuracy_weight * grade.accuracy + weighing.format_weight * form + sum(penalties.values())
        return Score(overall=overall, parts=parts | penalties)

    def _find(self, record: Record) -> _Lane | NotScorable:
        task = find_task(record.problem_type)
        if isinstance(task, NotScorable):
            return task
        return self._lanes.get(type(task)) or _Lane(task, self._weighing)

    def _truth_of(self, record: Record, task: Task[Any]) -> Any:
        """The parsed ground truth; siblings, which share a record and follow each other, share the parsing."""
        recent = self._recent
        if recent is None or recent[0] is not record:
            recent = self._recent = (record, _truth(task, record))
        return recent[1]

    def _penalties(self, item: RewardItem) -> dict[str, float]:
        found = {}
        if self._overlong is not None:
            found["overlong"] = self._overlong.of(item.response_length)
        if self._repetition is not None:
            found["repetition"] = self._repetition.of(item.response)
        return found

    def _furnish(self, problem_type: str, settings: dict[str, Any]) -> None:
        """Raises ConfigError where another name of the same task has settings already."""
        own = {key: settings.pop(key) for key in [field.name for field in fields(Weighing)] if key in settings}
        task = configure_task(problem_type, settings)
        if type(task) in self._lanes:
            raise ConfigError(f"tasks: {problem_type!r} is the same task under a second name; use one of the two names")
        self._lanes[type(task)] = _Lane(task, _weighing(self._weighing, own))


def validate_answer(record: Record) -> str | None:
    """Why no response to `record` can be scored (unknown problem_type, invalid ground truth), or None."""
    task = find_task(record.problem_type)
    found = task if isinstance(task, NotScorable) else _truth(task, record)
    return found.reason if isinstance(found, NotScorable) else None


def _judged_tasks(judge: Judge | None) -> frozenset[str]:
    """The problem types that the judge scores, as they are looked up."""
    names = [spelling(name) for name in judge.config.tasks] if judge is not None else []
    for name in names:
        task = find_task(name)
        if isinstance(task, NotScorable):
            raise ConfigError(f"worker.reward.judge.tasks: {task.reason}")
        if not isinstance(task, JudgedTask):
            raise ConfigError(
                f"worker.reward.judge.tasks: rules score {name!r} fully, a judge is not asked; take it out"
            )
    return frozenset(names)


def _weighing(default: Weighing, settings: Mapping[str, Any]) -> Weighing:
    known = {field.name: getattr(default, field.name) for field in fields(Weighing)}
    for name in settings:
        if name not in known:
            more = ("tasks", "overlong_penalty", "repetition_penalty")
            raise ConfigError(f"the built-in reward has no setting {name!r}{nearest(name, [*known, *more])}")
    return Weighing(**{**known, **settings})


def _penalty(kind: type[P], name: str, settings: Mapping[str, Any] | None) -> P | None:
    if settings is None:
        return None
    known = [field.name for field in fields(kind)]
    for key in settings:
        if key not in known:
            raise ConfigError(f"{name} has no setting {key!r}{nearest(str(key), known)} (known: {known})")
    try:
        return kind(**settings)
    except TypeError as error:
        raise ConfigError(f"{name} {dict(settings)}: {error}") from error


def _truth(task: Task[Any], record: Record) -> Any:
    try:
        return task.truth(record)
    except Exception as error:
        raise _broken(record, error) from error


def _graded(verdict: Verdict, case: JudgeCase) -> Grade | NotScorable:
    if isinstance(verdict, NotScorable):
        return verdict
    return Grade(accuracy=verdict.overall, is_readable=True, is_typed=case.is_typed, parts={"judged": 1.0})


def _case(task: Task[Any], candidate: str, truth: Any, record: Record) -> Grade | JudgeCase:
    assert isinstance(task, JudgedTask)
    try:
        return task.case(candidate, truth, record)
    except Exception as error:
        raise _broken(record, error) from error


def _grade(task: Task[Any], candidate: str, truth: Any, record: Record) -> Grade | NotScorable:
    try:
        grade = task.grade(candidate, truth, record)
    except Exception as error:
        raise _broken(record, error) from error
    if isinstance(grade, Grade) and not (math.isfinite(grade.accuracy) and 0 <= grade.accuracy <= 1):
        raise ContractError(
            f"the scorer of {record.problem_type!r} gave accuracy {grade.accuracy} for record {record.id!r} "
            f"({record.where}); it must be a finite number in [0, 1]"
        )
    return grade


def _broken(record: Record, error: Exception) -> ContractError:
    return ContractError(
        f"the scorer of {spelling(record.problem_type)!r} raised {type(error).__name__} on record {record.id!r} "
        f"({record.where}): {error}. Wrong answers must score 0; this is a defect of the scorer"
    )
