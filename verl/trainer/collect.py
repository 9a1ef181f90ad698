# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts -> scored groups, drawn until the step is full. Scorers start on a response the moment it streams in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any, Protocol

from verl.errors import NoSignal
from verl.rollout.engine import Ask, SamplingPlan
from verl.tracking.metrics import Last, Metrics
from verl.trainer import surplus
from verl.trainer.clock import Clock
from verl.trainer.drawn import Drawn, Mixed, engine_metrics
from verl.trainer.filtering import GroupFilter
from verl.trainer.groups import Group, baseline_of, by_group, numbered, of_source
from verl.trainer.handles import Rewards, Rollout
from verl.trainer.offline import Mixing, replaced
from verl.types import MediaRef, Prompt, Source, Trajectory


class Prompts(Protocol):
    """A loader: endless batches."""

    def next(self) -> list[Prompt]:
        """The next batch."""

    def row_of(self, prompt: Prompt) -> int:
        """Which row of the data a prompt was drawn from."""

    def prompt_of(self, row: int) -> Prompt:
        """The prompt of that row."""


@dataclass(slots=True, kw_only=True)
class Collector:
    """Draws prompts, generates, scores, and keeps what is worth training on."""

    prompts: Prompts
    rollout: Rollout
    rewards: Rewards
    plan: SamplingPlan
    num_prompts: int
    clock: Clock
    filter: GroupFilter | None = None  # None: everything that was drawn is trained on
    max_rounds: int = 0  # of drawing, for one step; below 1: until it is full
    mixing: Mixing | None = None  # responses from the data
    with_baseline: bool = False  # a greedy response to every prompt, last in its group
    surplus: list[Group] = field(default_factory=list)  # for the steps to come, oldest first
    announce: Callable[[Sequence[MediaRef]], None] = lambda refs: None  # told of the media of prompts when drawn

    def collect(self, step: int) -> tuple[list[Group], Metrics]:
        """`num_prompts` groups of scored responses, in the order drawn, and what drawing them showed.

        Fewer only where nothing is filtered and greedy baselines could not be scored. Raises NoSignal when
        `max_rounds` do not give enough groups; the groups found so far stay in the surplus.
        """
        self.rollout.drain_stats()
        drawn = Drawn(filter=self.filter, version=step - 1)
        for attempt in count():
            missing = self.num_prompts - len(self.surplus)
            if missing <= 0 or (attempt and self.filter is None):
                break
            if attempt == self.max_rounds > 0:
                raise NoSignal(drawn.no_signal(missing, self.num_prompts))
            groups, mixed = self._round(self._draw(1 if attempt else missing), step, attempt)
            kept = [group for group in groups if self._is_complete(group)]
            kept = kept if self.filter is None else [group for group in kept if self.filter.keeps(group)]
            drawn = drawn.after(groups, kept, mixed)
            self.surplus += kept
        batch, self.surplus = numbered(self.surplus[: self.num_prompts]), self.surplus[self.num_prompts :]
        metrics = drawn.metrics(batch) | engine_metrics(self.rollout.drain_stats()) | self.rewards.drain_metrics()
        if self.filter is not None or self.surplus:
            metrics["groups/surplus"] = Last(len(self.surplus))
        return batch, metrics

    def state(self) -> list[dict[str, Any]]:
        """The surplus, as JSON values."""
        return surplus.to_json(self.surplus, self.prompts.row_of)

    def restore(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Go on with this surplus; the loader must have been restored.

        Groups without the baseline that the estimator needs, which another one left, are dropped.
        """
        groups = surplus.from_json(state, self.prompts.prompt_of)
        self.surplus = [group for group in groups if self._is_complete(group)]

    def _draw(self, least: int) -> list[Prompt]:
        """At least so many prompts, in whole batches of the loader."""
        prompts: list[Prompt] = []
        while len(prompts) < least:
            prompts += self.prompts.next()
        return prompts

    def _is_complete(self, group: Group) -> bool:
        return not self.with_baseline or baseline_of(group) is not None

    def _round(self, prompts: Sequence[Prompt], step: int, attempt: int) -> tuple[list[Group], Mixed]:
        self.announce([ref for prompt in prompts for ref in prompt.media])
        plan = replace(self.plan, seed=step_seed(self.plan.seed or 0, step, attempt))
        if self.mixing is None:
            asks = [Ask(n=plan.n, greedy=self.with_baseline)] * len(prompts)
            return self._score(self.rollout.generate(prompts, plan, asks)), Mixed()
        offline = self.mixing.candidates(prompts, step)
        asks = [Ask(n=n, greedy=self.with_baseline) for n in self.mixing.num_generated(offline)]
        generated = self.rollout.generate(prompts, plan, asks)
        mixed = Mixed(candidates=sum(map(bool, offline)), overlong=self.mixing.num_overlong(prompts))
        if self.mixing.threshold is None:
            return self._score(chain(*offline, generated)), replace(mixed, groups=mixed.candidates)
        groups = self._score(generated)
        wanting = [number for number, group in enumerate(groups) if offline[number] and self.mixing.wants(group)]
        for late in self._score(row for number in wanting for row in offline[number]):
            groups[late[0].trajectory.group] = replaced(groups[late[0].trajectory.group], late)
        taken = of_source(list(chain(*groups)), Source.OFFLINE)
        return groups, replace(mixed, groups=len(wanting), discarded=len(taken))

    def _score(self, rows: Iterable[Trajectory]) -> list[Group]:
        return score(rows, self.rewards, self.clock)


def generate_and_score(
    prompts: Sequence[Prompt], plan: SamplingPlan, rollout: Rollout, rewards: Rewards, clock: Clock
) -> list[Group]:
    """Groups in prompt order, siblings in index order."""
    return score(rollout.generate(prompts, plan), rewards, clock)


def score(rows: Iterable[Trajectory] | Iterator[Trajectory], rewards: Rewards, clock: Clock) -> list[Group]:
    """Rows in scored groups, in group and index order; each is sent for scoring as soon as it comes."""
    with clock("gen"):
        for trajectory in rows:
            rewards.submit(trajectory)
    with clock("reward"):
        scored = rewards.collect()
    return by_group(scored, key=lambda row: (row.trajectory.group, row.trajectory.index))


def step_seed(seed: int, step: int, attempt: int = 0) -> int:
    """A sampling seed that no other draw of the run shares, and that a resumed run finds again."""
    return (seed * 1_000_003 + step) + (attempt << 64)
