# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts -> scored groups. Scorers start on a response the moment it streams in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from verl.rollout.engine import EngineStats, SamplingPlan
from verl.tracking.metrics import Max, Mean, Metrics, Sum
from verl.trainer.clock import Clock
from verl.trainer.groups import by_group, signal_share
from verl.trainer.handles import Rewards, Rollout
from verl.types import NotScorable, Prompt, Scored, Trajectory

Group = list[Scored]


class Prompts(Protocol):
    """A loader: endless batches."""

    def next(self) -> list[Prompt]:
        """The next batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """Draws prompts, generates, scores."""

    prompts: Prompts
    rollout: Rollout
    rewards: Rewards
    plan: SamplingPlan
    num_prompts: int
    clock: Clock

    def collect(self, step: int) -> tuple[list[Group], Metrics]:
        """`num_prompts` groups of `plan.n` scored responses, in prompt order, and what drawing them showed."""
        prompts: list[Prompt] = []
        while len(prompts) < self.num_prompts:
            prompts += self.prompts.next()
        plan = replace(self.plan, seed=step_seed(self.plan.seed or 0, step))
        self.rollout.drain_stats()
        groups = generate_and_score(prompts, plan, self.rollout, self.rewards, self.clock)
        return groups, _metrics(groups) | _engine_metrics(self.rollout.drain_stats())


def generate_and_score(
    prompts: Sequence[Prompt], plan: SamplingPlan, rollout: Rollout, rewards: Rewards, clock: Clock
) -> list[Group]:
    """Groups in prompt order, siblings in index order."""
    with clock("gen"):
        for trajectory in rollout.generate(prompts, plan):
            rewards.submit(trajectory)
    with clock("reward"):
        scored = rewards.collect()
    return by_group(scored, key=lambda row: (row.trajectory.group, row.trajectory.index))


def step_seed(seed: int, step: int) -> int:
    """A sampling seed that no other step of the run shares, and that a resumed run finds again."""
    return seed * 1_000_003 + step


def _metrics(groups: Sequence[Group]) -> Metrics:
    rows = [row for group in groups for row in group]
    unscored = sum(isinstance(row.verdict, NotScorable) for row in rows)
    return {
        "groups/no_signal_share": Mean((1 - signal_share(groups)) * len(groups), len(groups)),
        "reward/not_scorable": Sum(unscored),
        "rollout/truncated_share": Mean(sum(row.trajectory.truncated for row in rows), len(rows)),
        "rollout/weight_lag": Max(_weight_lag([row.trajectory for row in rows])),
    }


def _engine_metrics(stats: EngineStats) -> Metrics:
    return {
        "rollout/media_loads_per_clip": Mean(stats.media_loads, stats.distinct_media),
        "rollout/cached_prompt_share": Mean(stats.cached_prompt_tokens, stats.prompt_tokens),
    }


def _weight_lag(rows: Sequence[Trajectory]) -> int:
    """Versions between the newest and the oldest weights that wrote a response of this step."""
    versions = [row.weight_version for row in rows]
    return max(versions) - min(versions)
