# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A process that scores. It needs neither torch nor a model."""

from __future__ import annotations

from collections.abc import Sequence

from verl.config.worker import RewardConfig
from verl.rewards.contract import RewardItem
from verl.rewards.custom import load_reward
from verl.types import Verdict


class RewardWorker:
    """Ray actor around one reward."""

    def __init__(self, config: RewardConfig) -> None:
        self._reward = load_reward(config)

    def score(self, items: Sequence[RewardItem]) -> list[Verdict]:
        """One verdict per item, in order. What a scorer raises ends the run and names the scorer."""
        return self._reward.score(items)
