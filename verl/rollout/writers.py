# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Who writes responses for the data tools: an engine of our own. `verl.rollout.endpoint` has the other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from verl.rollout.engine import RolloutEngine, SamplingPlan
from verl.types import Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A response, or why there is none."""

    text: str = ""
    num_tokens: int = 0
    truncated: bool = False
    error: str | None = None


class Writer(Protocol):
    """Answers prompts."""

    async def write(self, prompt: Prompt, row: int, plan: SamplingPlan) -> Sequence[Written]:
        """`plan.n` responses; which ones depends on the plan and on the number of the row alone.

        Raises DataError for a prompt that cannot be answered, another VerlError when going on is of no use.
        """


@dataclass(frozen=True, slots=True)
class EngineWriter:
    """An engine of our own, as it samples in training."""

    engine: RolloutEngine

    async def write(self, prompt: Prompt, row: int, plan: SamplingPlan) -> Sequence[Written]:
        """See Writer."""
        rows = [answer async for answer in self.engine.generate_group(prompt, row, plan)]
        return [
            Written(text=answer.text, num_tokens=len(answer.response_ids), truncated=answer.truncated)
            for answer in sorted(rows, key=lambda answer: answer.index)
        ]
