# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from verl.algorithms.kl import KlController
from verl.cluster.deal import Deal
from verl.errors import ContractError, DataError, NoSignal
from verl.tracking.metrics import Metrics, merge, values
from verl.tracking.tracker import Trackers
from verl.trainer import summary
from verl.trainer.checkpoints import Checkpoints
from verl.trainer.clock import Clock
from verl.trainer.collect import Collector
from verl.trainer.critic import CriticTraining
from verl.trainer.experience import Assembler
from verl.trainer.groups import Group
from verl.trainer.handles import Policy, Rollout
from verl.trainer.progress import Progress
from verl.trainer.state import TrainState
from verl.trainer.validate import Validator
from verl.types import Experience


class Loader(Protocol):
    """What the loop needs of the data loader: a position."""

    def state(self) -> dict[str, Any]:
        """Where it stands, as JSON values."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When things happen. Frequencies are in steps; below 1 means not while training."""

    total_steps: int
    val_freq: int
    save_freq: int
    val_before_train: bool
    val_only: bool
    critic_warmup: int = 0  # steps in which only the critic learns

    def teaches_policy(self, step: int) -> bool:
        """Steps count from 1: after a warm-up of N, the first is N + 1."""
        return step > self.critic_warmup

    def validates(self, step: int) -> bool:
        """Also after the last step."""
        return step == self.total_steps or (self.val_freq > 0 and step % self.val_freq == 0)

    def saves(self, step: int) -> bool:
        """Also after the last step."""
        return step == self.total_steps or (self.save_freq > 0 and step % self.save_freq == 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Lengths and sizes that metrics are measured against."""

    max_prompt_length: int
    max_response_length: int
    num_devices: int


@dataclass(slots=True, kw_only=True)
class Trainer:
    """Generate, score, weigh, update, publish; now and then validate and save."""

    loader: Loader
    collector: Collector
    assembler: Assembler
    policy: Policy
    rollout: Rollout
    validator: Validator | None
    checkpoints: Checkpoints
    trackers: Trackers
    kl: KlController | None
    progress: Progress
    schedule: Schedule
    limits: Limits
    clock: Clock
    critic: CriticTraining | None = None

    def fit(self) -> TrainState:
        """Train until the schedule ends."""
        state = self._begin()
        if self.schedule.val_before_train or self.schedule.val_only:
            self._log_validation(state.step)
        if self.schedule.val_only:
            return state
        self.progress.start(state.step)
        while state.step < self.schedule.total_steps:
            state = replace(state, step=state.step + 1)
            state = self._step(state)
        return state

    def _begin(self) -> TrainState:
        self.rollout.sleep()
        state = self.checkpoints.resume()
        if state is None:
            state = TrainState()
        else:
            self._restore(state)
        self._publish(state.step)
        return state

    def _restore(self, state: TrainState) -> None:
        self.loader.restore(dict(state.loader))
        self.collector.restore(state.surplus)
        if self.kl is not None:
            self.kl.restore(state.kl)
        self.assembler.memory.update(state.advantage)
        self.trackers.resume(state.step)

    def _step(self, state: TrainState) -> TrainState:
        score: float | None = None
        with self.clock("step"):
            kl = self.kl.state() if self.kl is not None else {}
            kl_coef = self.kl.coef if self.kl is not None else 0.0  # of this step; assembling teaches the controller
            groups, deals, gathered = self._gather(state)
            if self.kl is not None and not self.schedule.teaches_policy(state.step):
                self.kl.restore(kl)  # a policy that stands still says nothing about its weight
            metrics = merge([gathered, self._update(state.step, deals, kl_coef)])
            self._publish(state.step)
            if self.validator is not None and self.schedule.validates(state.step):
                score, validated = self.validator.validate(state.step)
                metrics = merge([metrics, validated])
            if self.schedule.saves(state.step):
                state = self._save(state.scored(score))
        self._log(state.step, groups, _rows(deals), metrics)
        return state

    def _gather(self, state: TrainState) -> tuple[list[Group], list[Deal[Experience]], Metrics]:
        """What the step trains on. Bad data, a broken plug-in or a step without anything to learn from ends the run,
        but not before what earlier steps learned is saved.
        """
        go_back = self._bookmark()
        try:
            groups, drawn = self.collector.collect(state.step)
            slept = self.rollout.sleep()
            deals, weighed = self.assembler.assemble(groups)
        except (DataError, ContractError, NoSignal):
            learned = replace(state, step=state.step - 1)
            if learned.step > 0 and not self.schedule.saves(learned.step):
                go_back()
                self._save(learned)
            raise
        return groups, deals, merge([drawn, slept, weighed])

    def _bookmark(self) -> Callable[[], None]:
        """What brings everything back to where it is now that gathering a step's rows moves."""
        place, surplus, memory = self.loader.state(), list(self.collector.surplus), dict(self.assembler.memory)
        kl = self.kl.state() if self.kl is not None else {}

        def go_back() -> None:
            self.loader.restore(place)
            self.collector.surplus = surplus
            self.assembler.memory.clear()
            self.assembler.memory.update(memory)
            if self.kl is not None:
                self.kl.restore(kl)

        return go_back

    def _update(self, step: int, deals: Sequence[Deal[Experience]], kl_coef: float) -> Metrics:
        parts: list[Metrics] = []
        if self.critic is not None:
            with self.clock("update_critic"):
                parts.append(self.critic.update(deals))
        if self.schedule.teaches_policy(step):
            with self.clock("update_actor"):
                parts.append(self.policy.update(deals, kl_coef))
        return merge([*parts, self.policy.end_step()])

    def _publish(self, version: int) -> None:
        """Engines must never answer with older weights than these."""
        with self.clock("sync"):
            self.rollout.wake_weights()
            self.policy.publish(version)
            self.rollout.wake_cache()

    def _save(self, state: TrainState) -> TrainState:
        kl = self.kl.state() if self.kl is not None else {}
        state = replace(state, kl=kl, advantage=dict(self.assembler.memory))
        state = replace(state, loader=self.loader.state(), surplus=self.collector.state())
        with self.clock("save_checkpoint"):
            self.checkpoints.save(state)
        return state

    def _log_validation(self, step: int) -> None:
        if self.validator is None:
            return
        _, metrics = self.validator.validate(step)
        self.clock.collect()
        self.trackers.log(values(metrics), step)
        self.progress.note(step, values(metrics))

    def _log(self, step: int, groups: Sequence[Group], rows: list[Experience], metrics: Metrics) -> None:
        timing, trained_on = self.clock.collect(), summary.trained_on(groups)
        numbers = values(
            merge(
                [
                    metrics,
                    summary.reward_metrics(groups),
                    summary.length_metrics(trained_on, self.limits.max_prompt_length, self.limits.max_response_length),
                    summary.advantage_metrics(rows),
                    summary.value_metrics(rows),
                    summary.throughput(trained_on, timing, self.limits.num_devices),
                ]
            )
        )
        self.trackers.log(numbers | timing, step)
        self.progress.note(step, numbers | timing)


def _rows(deals: Sequence[Deal[Experience]]) -> list[Experience]:
    return [row for one in deals for hand in one.hands for row in hand]
