# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A process that scores. It needs neither torch nor a model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from verl.config.worker import RewardConfig
from verl.rewards.contract import RewardItem
from verl.rewards.custom import load_reward
from verl.tracking.metrics import Metrics
from verl.types import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Verdicts, the seconds that they took the process that reached them, and what else they cost, by full name."""

    verdicts: list[Verdict]
    seconds: float
    metrics: Metrics = field(default_factory=dict)


class RewardWorker:
    """Ray actor around one reward."""

    def __init__(self, config: RewardConfig) -> None:
        self._reward = load_reward(config)

    def score(self, items: Sequence[RewardItem]) -> Timed:
        """One verdict per item, in order. What a scorer raises ends the run and names the scorer."""
        start = time.perf_counter()
        verdicts = self._reward.score(items)
        seconds = time.perf_counter() - start
        return Timed(verdicts=verdicts, seconds=seconds, metrics=self._reward.drain_metrics())
