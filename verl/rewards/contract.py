# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the trainer asks of a reward, and what a reward asks of a task."""

from __future__ import annotations

import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from verl.errors import ConfigError
from verl.registry import Registry, nearest
from verl.rewards.judge_prompt import JudgeCase
from verl.scoring.confined.process import Failure
from verl.tracking.metrics import Metrics
from verl.types import NotScorable, Record, Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardItem:
    """One response to score, and the row it answers."""

    response: str
    response_length: int  # tokens
    record: Record
    truncated: bool = False  # cut off at the length limit


RewardFunction: TypeAlias = Callable[[Sequence[RewardItem]], list[Verdict]]


class Reward(Protocol):
    """Turns responses into verdicts, one each, in order."""

    @property
    def is_sequential(self) -> bool:
        """Whether items may be scored one by one as they stream in."""

    def score(self, items: Sequence[RewardItem]) -> list[Verdict]:
        """Verdicts for `items`, in order. ContractError when the scorer, not a response, is broken."""

    def drain_metrics(self) -> Metrics:
        """What scoring cost since the last call, under full names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """How right a candidate is, and whether it was written the way the prompt asks for."""

    accuracy: float  # [0, 1]
    is_readable: bool  # the task could read an answer out of it
    is_typed: bool  # it is of the exact form asked for; implies is_readable
    parts: Mapping[str, float] = field(default_factory=dict)  # more to log, not part of the score


UNREADABLE = Grade(accuracy=0.0, is_readable=False, is_typed=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What prompt templates say about an answer of one task."""

    form: str = "your final answer"  # completes "write ... inside <answer> </answer> tags"
    example: str = ""  # what may stand inside the tags; empty when the task is not known
    approach: str = "say briefly what you see or know that leads to your answer"  # completes "first ..."


class Task(ABC, Generic[T]):
    """One problem_type. T is the parsed ground truth. Keyword arguments of a subclass are settings with defaults."""

    max_chars: ClassVar[int]  # longer candidates are not read
    bare_chars: ClassVar[int] = 64  # longest untagged response that can be an answer
    words: ClassVar[Wording] = Wording()

    def wording(self, record: Record) -> Wording:
        """How to ask for an answer to this row: `words`, unless the task asks for more in some rows."""
        return self.words

    @abstractmethod
    def truth(self, record: Record) -> T | NotScorable:
        """The parsed ground truth, or why there is none. Checked when data is loaded."""

    @abstractmethod
    def grade(self, candidate: str, truth: T, record: Record) -> Grade | NotScorable:
        """Grade a candidate, neither empty nor too long. Raises only when the scorer itself is broken."""


class JudgedTask(Task[T]):
    """A task whose rules see only part of what is right, so that a judge can be asked."""

    @abstractmethod
    def case(self, candidate: str, truth: T, record: Record) -> JudgeCase | Grade:
        """What to ask about a candidate, or its grade where the rules are sure of it."""


TASKS: Registry[Task[Any]] = Registry("problem_type", "verl.rewards.tasks")


def task(*problem_types: str) -> Callable[[type[Task[Any]]], type[Task[Any]]]:
    """File a Task under its names. Case, "_" and "-" do not count in them."""

    def add(cls: type[Task[Any]]) -> type[Task[Any]]:
        TASKS.register(*{spelling(name) for name in problem_types})(cls())
        return cls

    return add


def spelling(problem_type: str) -> str:
    """The spelling by which a problem_type is looked up: "Multiple_Choice" is "multiple choice"."""
    return " ".join(re.sub(r"[_-]", " ", problem_type).casefold().split())


def find_task(problem_type: str) -> Task[Any] | NotScorable:
    """The task of a row, or why it has none."""
    name = spelling(problem_type)
    if name in TASKS:
        return TASKS[name]
    known = ", ".join(TASKS)
    return NotScorable(reason=f"unknown problem_type {problem_type!r}{nearest(name, TASKS)} (known: {known})")


def configure_task(problem_type: str, settings: Mapping[str, Any]) -> Task[Any]:
    """The task of that name with settings of its own. Raises ConfigError for an unknown name or setting."""
    default = find_task(problem_type)
    if isinstance(default, NotScorable):
        raise ConfigError(default.reason)
    known = [name for name in inspect.signature(type(default)).parameters]
    for name in settings:
        if name not in known:
            raise ConfigError(f"{problem_type!r} has no setting {name!r}{nearest(name, known)} (known: {known})")
    return type(default)(**settings)


def failure_parts(found: object) -> dict[str, float]:
    """Parts timeout and crash of what a scorer in another process came back with."""
    is_timeout = found is Failure.TIMEOUT
    return {"timeout": float(is_timeout), "crash": float(isinstance(found, Failure) and not is_timeout)}


def seconds_setting(seconds: float) -> float:
    """A time limit from a configuration. Raises ConfigError unless it is a number from 0.1 to 60."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.1 <= seconds <= 60:
        raise ConfigError(f"seconds {seconds!r}: a scorer's time limit is a number from 0.1 to 60")
    return float(seconds)
