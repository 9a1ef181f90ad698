# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The border to users' reward functions: dictionaries outside, types inside.

A file defines a function and may define REWARD_TYPE ("batch", the default, or "sequential") and REWARD_NAME.
The function gets one dictionary (sequential) or a list of them (batch) and returns as many dictionaries.
In: response, response_length, truncated, ground_truth, data_type, problem_type, problem, problem_id, options, and the
columns tests, partial, mask and rubric where a row has them.
Out: overall, and named parts if any. A part that is None is left out, an overall that is None masks the row.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeAlias

from verl.config.worker import RewardConfig
from verl.errors import ConfigError, ContractError
from verl.registry import load_attribute, nearest
from verl.rewards.contract import Reward, RewardItem
from verl.rewards.judge import open_judge
from verl.rewards.router import Router
from verl.tracking.metrics import Metrics
from verl.types import NotScorable, Record, Score, Verdict

Row: TypeAlias = Mapping[str, Any]

REWARD_TYPES = ("batch", "sequential")
TASK_FIELDS = ("tests", "partial", "mask", "rubric")  # columns of a row that tasks of this library read


def load_reward(config: RewardConfig) -> Reward:
    """The reward a configuration asks for: a user's function, or the Router when it names none; both get the kwargs.

    Raises ConfigError for a missing file or function, an unknown REWARD_TYPE or setting.
    """
    kwargs = dict(config.reward_function_kwargs)
    if config.reward_function is not None:
        return FunctionReward(config.reward_function, kwargs)
    weights = {"accuracy_weight": config.accuracy_weight, "format_weight": config.format_weight}
    return Router(judge=open_judge(config.judge), **{**weights, **kwargs})


class FunctionReward:
    """A user's function "path/to/file.py:name" as a Reward. `name` defaults to main."""

    def __init__(self, location: str, kwargs: Mapping[str, Any] | None = None) -> None:
        function = load_attribute(location, default="main")
        file = location.partition(".py:")[0].removesuffix(".py") + ".py"
        namespace: dict[str, Any] = load_attribute(f"{file}:__dict__")
        kind = str(namespace.get("REWARD_TYPE", "batch"))
        if kind not in REWARD_TYPES:
            raise ConfigError(f"{file}: REWARD_TYPE {kind!r} is none of {REWARD_TYPES}{nearest(kind, REWARD_TYPES)}")
        if not callable(function):
            raise ConfigError(f"{location} is not a function but {type(function).__name__}")
        self.name = str(namespace.get("REWARD_NAME", location))
        self.is_sequential = kind == "sequential"
        self._location = location
        self._function: Callable[[Any], Any] = functools.partial(function, **(kwargs or {}))

    def score(self, items: Sequence[RewardItem]) -> list[Verdict]:
        """Verdicts for `items`, in order. ContractError when the function raises or returns nonsense."""
        if not items:
            return []
        rows = [row_of(item) for item in items]
        where = [f"record {item.record.id!r} ({item.record.where})" for item in items]
        if self.is_sequential:
            outputs = [self._call(row, place) for row, place in zip(rows, where, strict=True)]
        else:
            outputs = self._batch(rows)
        return [self._verdict(output, place) for output, place in zip(outputs, where, strict=True)]

    def drain_metrics(self) -> Metrics:
        """Nothing: what the function costs is its own affair."""
        return {}

    def _call(self, argument: Any, place: str) -> Any:
        try:
            return self._function(argument)
        except Exception as error:
            message = f"{self._location} raised {type(error).__name__} on {place}: {error}"
            raise ContractError(f"reward function {message}") from error

    def _batch(self, rows: list[dict[str, Any]]) -> list[Any]:
        ids = ", ".join(repr(row["problem_id"]) for row in rows[:3])
        outputs = self._call(rows, f"a batch of {len(rows)} (records {ids}, ...)")
        if not isinstance(outputs, Sequence) or isinstance(outputs, str) or len(outputs) != len(rows):
            size = f" of {len(outputs)}" if isinstance(outputs, Sequence) else ""
            raise ContractError(
                f"reward function {self._location} returned {type(outputs).__name__}{size} for {len(rows)} "
                'items; with REWARD_TYPE "batch" it must return a list with one dictionary per item'
            )
        return list(outputs)

    def _verdict(self, output: Any, place: str) -> Verdict:
        if not isinstance(output, Mapping) or "overall" not in output:
            raise ContractError(
                f"reward function {self._location} returned {output!r:.200} for {place}; "
                'it must be a dictionary with the key "overall"'
            )
        values = {str(name): self._number(value, str(name), place) for name, value in output.items()}
        overall = values.pop("overall")
        if overall is None:
            return NotScorable(reason=f"reward function {self._location} returned overall None")
        return Score(overall=overall, parts={name: part for name, part in values.items() if part is not None})

    def _number(self, value: Any, name: str, place: str) -> float | None:
        if getattr(value, "shape", None) == ():
            value = value.item()  # a numpy or torch scalar
        if value is None:
            return None
        if not isinstance(value, Real) or not math.isfinite(value):
            raise ContractError(
                f"reward function {self._location} returned {name} = {value!r:.200} for {place}; "
                "it must be a finite number, or None"
            )
        return float(value)


def row_of(item: RewardItem) -> dict[str, Any]:
    """What a user's function sees of one response."""
    record = item.record
    return {
        "response": item.response,
        "response_length": item.response_length,
        "truncated": item.truncated,
        "ground_truth": record.answer,
        "data_type": record.data_type,
        "problem_type": record.problem_type,
        "problem": record.fields.get("problem_reserved_text") or record.problem,
        "problem_id": record.fields.get("problem_id", record.id),
        "options": list(record.options),
        **{name: record.fields[name] for name in TASK_FIELDS if name in record.fields},
    }


def item_of(row: Row) -> RewardItem:
    """The way back from `row_of`, for functions that hand rows on to this library. Needs response only."""
    identity = str(row.get("problem_id", ""))
    record = Record(
        id=identity,
        where=f"problem_id {identity}",
        problem=str(row.get("problem") or ""),
        answer=row.get("ground_truth"),
        problem_type=str(row.get("problem_type") or ""),
        data_type=str(row.get("data_type") or "video"),
        options=tuple(map(str, row.get("options") or ())),
        fields={name: row[name] for name in TASK_FIELDS if name in row},
    )
    return RewardItem(
        response=str(row["response"]),
        response_length=int(row.get("response_length", 0)),
        record=record,
        truncated=bool(row.get("truncated", False)),
    )
