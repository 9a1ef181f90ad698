# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Advantage estimators by name, with what they promise checked."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor

from verl.algorithms.contract import AdvantageInput, AdvantageOutput, Memory, MetricSum, Needs
from verl.algorithms.masked import zero_outside
from verl.errors import ConfigError, ContractError, VerlError
from verl.registry import Registry

log = logging.getLogger(__name__)

AdvantageFunction: TypeAlias = Callable[[AdvantageInput], AdvantageOutput]


@dataclass(frozen=True, slots=True)
class Advantage:
    """A named estimator and what it needs."""

    name: str
    function: AdvantageFunction
    needs: Needs = Needs.NONE

    def compute(self, x: AdvantageInput) -> AdvantageOutput:
        """The function's advantages and returns, 0 outside the mask, in the dtype of the rewards.

        Raises ContractError when a need was not supplied, or the function raises or returns another type, shape, a
        number that is not finite, or a memory that a checkpoint cannot keep.
        """
        self._check_supplied(x)
        y = self._call(x)
        if not isinstance(y, AdvantageOutput):
            raise ContractError(f"advantage {self.name!r} returned {type(y).__name__}, not an AdvantageOutput")
        return AdvantageOutput(
            advantages=self._checked(y.advantages, x, "advantages"),
            returns=self._checked(y.returns, x, "returns"),
            metrics={**self._group_metrics(x), **y.metrics},
            memory=self._remembered(y.memory),
        )

    def _call(self, x: AdvantageInput) -> object:
        try:
            return self.function(x)
        except VerlError:
            raise
        except Exception as error:
            raise ContractError(f"advantage {self.name!r} raised {type(error).__name__}: {error}") from error

    def _check_supplied(self, x: AdvantageInput) -> None:
        parts = [f"score part {name!r}" for name in x.settings.components if name not in x.parts]
        absent = [
            *(["values"] if Needs.CRITIC in self.needs and x.values is None else []),
            *(["baselines"] if Needs.GREEDY_BASELINE in self.needs and x.baselines is None else []),
            *(_absent(x, "old_logprobs", "sum_pi_squared") if Needs.SUM_PI_SQUARED in self.needs else []),
            *(["tasks"] if Needs.TASK in self.needs and x.tasks is None else []),
            *(parts if Needs.COMPONENTS in self.needs else []),
        ]
        if absent:
            raise ContractError(f"advantage {self.name!r} needs {', '.join(absent)}: not supplied")

    def _checked(self, tensor: Tensor, x: AdvantageInput, what: str) -> Tensor:
        if tensor.shape != x.mask.shape:
            shapes = f"{tuple(tensor.shape)}, expected {tuple(x.mask.shape)} [rows, tokens]"
            raise ContractError(f"advantage {self.name!r} returned {what} of shape {shapes}")
        kept = zero_outside(tensor, x.mask).to(x.rewards.dtype)
        if not kept.isfinite().all():
            row, token = kept.isfinite().logical_not().nonzero()[0].tolist()
            where = f"{float(kept[row, token])} in row {row}, token {token}"
            raise ContractError(f"advantage {self.name!r} returned {what} that are not finite: {where}")
        return kept

    def _remembered(self, memory: Memory) -> Memory:
        """The memory as it will be after a resume."""
        try:
            kept: Memory = json.loads(json.dumps(memory, allow_nan=False))
        except (TypeError, ValueError) as error:
            message = (
                f"advantage {self.name!r} returned a memory that is not JSON, so no checkpoint can keep it: {error}"
            )
            raise ContractError(message) from error
        return kept

    def _group_metrics(self, x: AdvantageInput) -> dict[str, MetricSum]:
        if Needs.GROUP not in self.needs:
            return {}
        stats = x.siblings(x.scores)
        if stats.num_singletons:
            advantage = {"zero": "0", "score": "its score"}[x.settings.conventions.singleton]
            log.warning("%d prompts have one response only, and its advantage is %s", stats.num_singletons, advantage)
        return {"groups/singleton": (stats.num_singletons, stats.num_groups)}


def _absent(x: AdvantageInput, *names: str) -> list[str]:
    return [name for name in names if getattr(x, name) is None]


ADVANTAGES: Registry[Advantage] = Registry("advantage estimator", "verl.algorithms.advantages")


def advantage(*names: str, needs: Needs = Needs.NONE) -> Callable[[AdvantageFunction], Advantage]:
    """Decorator that makes a function an advantage, filed under `names`. A user's file needs no name."""

    def wrap(function: AdvantageFunction) -> Advantage:
        return ADVANTAGES.register(*names)(Advantage((*names, function.__name__)[0], function, needs))

    return wrap


def find_advantage(name: str) -> Advantage:
    """By registered name, or "file.py:function" with or without the decorator. Raises ConfigError."""
    found: object = ADVANTAGES.resolve(name)
    if isinstance(found, Advantage):
        return found
    if not callable(found):
        raise ConfigError(f"{name!r} is a {type(found).__name__}; a function is needed")
    return Advantage(name, found)
