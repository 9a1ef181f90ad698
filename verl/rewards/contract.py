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


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """How right a candidate is, and whether it was written the way the prompt asks for."""

    accuracy: float  # [0, 1]
    is_readable: bool  # the task could read an answer out of it
    is_typed: bool  # it is of the exact form asked for; implies is_readable
    parts: Mapping[str, float] = field(default_factory=dict)  # more to log, not part of the score


UNREADABLE = Grade(accuracy=0.0, is_readable=False, is_typed=False)


class Task(ABC, Generic[T]):
    """One problem_type. T is the parsed ground truth. Keyword arguments of a subclass are settings with defaults."""

    max_chars: ClassVar[int]  # longer candidates are not read
    bare_chars: ClassVar[int] = 64  # longest untagged response that can be an answer

    @abstractmethod
    def truth(self, record: Record) -> T | NotScorable:
        """The parsed ground truth, or why there is none. Checked when data is loaded."""

    @abstractmethod
    def grade(self, candidate: str, truth: T, record: Record) -> Grade | NotScorable:
        """Grade a candidate, neither empty nor too long. Raises only when the scorer itself is broken."""


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


def seconds_setting(seconds: float) -> float:
    """A time limit from a configuration. Raises ConfigError unless it is a number from 0.1 to 60."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0.1 <= seconds <= 60:
        raise ConfigError(f"seconds {seconds!r}: a scorer's time limit is a number from 0.1 to 60")
    return float(seconds)
