# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The built-in reward: each row is scored by the task its problem_type names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from verl.errors import ConfigError, ContractError
from verl.registry import nearest
from verl.rewards.contract import UNREADABLE, Grade, RewardItem, Task, find_task
from verl.rewards.format import FormatPolicy, format_score
from verl.scoring.answers import read_answer
from verl.types import NotScorable, Record, Score, Verdict


class Router:
    """Scores `accuracy_weight` * accuracy + `format_weight` * format, in [0, 1].

    Parts: accuracy, format, and readable (1 when the task could read an answer; its fall is an early alarm).
    A response cut off by the length limit gets no format score.
    """

    is_sequential = True

    def __init__(
        self, *, accuracy_weight: float = 0.9, format_weight: float = 0.1, format_policy: str = "answer"
    ) -> None:
        weights = (accuracy_weight, format_weight)
        if not all(0 <= weight <= 1 for weight in weights) or sum(weights) > 1 + 1e-9:
            raise ConfigError(f"accuracy_weight, format_weight {weights}: each in [0, 1], together at most 1")
        policies = [policy.value for policy in FormatPolicy]
        if format_policy not in policies:
            hint = nearest(format_policy, policies)
            raise ConfigError(f"unknown format_policy {format_policy!r}{hint} (known: {policies})")
        self._accuracy_weight, self._format_weight = weights
        self._policy = FormatPolicy(format_policy)

    def score(self, items: Sequence[RewardItem]) -> list[Verdict]:
        """Verdicts for `items`, in order. Raises ContractError when a scorer breaks."""
        return [self._score(item) for item in items]

    def _score(self, item: RewardItem) -> Verdict:
        found = _task_and_truth(item.record)
        if isinstance(found, NotScorable):
            return found
        task, truth = found
        answer = read_answer(item.response, task.bare_chars)
        is_worth_reading = 0 < len(answer.text) <= task.max_chars
        grade = _grade(task, answer.text, truth, item.record) if is_worth_reading else UNREADABLE
        if isinstance(grade, NotScorable):
            return grade
        form = 0.0 if item.truncated else format_score(answer, grade.is_typed, self._policy)
        return Score(
            overall=self._accuracy_weight * grade.accuracy + self._format_weight * form,
            parts={"accuracy": grade.accuracy, "format": form, "readable": float(grade.is_readable)},
        )


def validate_answer(record: Record) -> str | None:
    """Why no response to `record` can be scored (unknown problem_type, invalid ground truth), or None."""
    found = _task_and_truth(record)
    return found.reason if isinstance(found, NotScorable) else None


def _task_and_truth(record: Record) -> tuple[Task[Any], Any] | NotScorable:
    task = find_task(record.problem_type)
    if isinstance(task, NotScorable):
        return task
    try:
        truth = task.truth(record)
    except Exception as error:
        raise _broken(record, error) from error
    return truth if isinstance(truth, NotScorable) else (task, truth)


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
        f"the scorer of {record.problem_type!r} raised {type(error).__name__} on record {record.id!r} "
        f"({record.where}): {error}. Wrong answers must score 0; this is a defect of the scorer"
    )
