# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring processes behind a queue. One that hangs or dies costs its own case, not the run."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from verl.cluster.group import Call, WorkerGroup, first_done, value_or_death
from verl.errors import ContractError
from verl.rewards.contract import RewardItem
from verl.tracking.metrics import Metrics
from verl.trainer.ledger import ScoringLedger
from verl.types import NotScorable, Scored, Trajectory, Verdict

log = logging.getLogger(__name__)

SHOWN = 4  # records that a message names
START_SECONDS = 60.0  # for a process to start and import what it scores with


def reward_item(row: Trajectory) -> RewardItem:
    """What a reward function is told of a response."""
    return RewardItem(
        response=row.text,
        response_length=len(row.response_ids),
        record=row.prompt.record,
        truncated=row.truncated,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStyle:
    """How scorers of one kind are called."""

    prefix: str = "reward"  # of their metrics
    item: Callable[[Trajectory], Any] = reward_item
    max_rows: int = 1  # cases that wait are handed over together up to so many responses
    start_seconds: float = START_SECONDS


@dataclass(slots=True)
class _Case:
    """Responses that are scored together, and what became of them."""

    rows: list[Trajectory]
    arrivals: list[float]  # of the rows
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Running:
    cases: list[_Case]
    call: Call
    deadline: float

    @property
    def rows(self) -> list[Trajectory]:
        return [row for case in self.cases for row in case.rows]


class RewardHandle:
    """Rows go out one by one as they come, or, for whoever wants them together, in groups of siblings.

    A scorer that raises ends the run. One that gives no answer within `timeout_seconds`, or whose process dies, is
    replaced, and its case is not scorable: left out and counted.
    """

    def __init__(
        self, workers: WorkerGroup, *, batch_size: int, timeout_seconds: float, style: CallStyle | None = None
    ) -> None:
        self._workers = workers
        self._batch_size = batch_size  # 1, or n for a scorer that wants siblings together
        self._timeout_seconds = timeout_seconds
        self._style = style or CallStyle()
        self._waiting: dict[int, list[tuple[Trajectory, float]]] = {}  # groups that are not complete
        self._cases: list[_Case] = []
        self._queue: deque[_Case] = deque()
        self._running: dict[int, _Running] = {}  # by worker
        self._fresh = set(range(len(workers)))  # not answered yet: they may still be starting
        self._ledger = ScoringLedger(prefix=self._style.prefix, num_workers=len(workers))

    def submit(self, trajectory: Trajectory) -> None:
        """See Rewards."""
        now = time.monotonic()
        self._ledger.arrived(now)
        rows = self._waiting.setdefault(trajectory.group, [])
        rows.append((trajectory, now))
        if len(rows) >= self._batch_size:
            self._enqueue(self._waiting.pop(trajectory.group))
        self.advance(timeout=0.0)

    def collect(self) -> list[Scored]:
        """See Rewards."""
        self.close()
        while self.refs:
            self.advance(timeout=self.patience())
        cases, self._cases = self._cases, []
        self._ledger.settled(sum(len(case.rows) for case in cases))
        return [
            Scored(trajectory=row, verdict=verdict)
            for case in cases
            for row, verdict in zip(case.rows, case.verdicts, strict=True)
        ]

    def drain_metrics(self) -> Metrics:
        """See Rewards."""
        return self._ledger.drain()

    def close(self) -> None:
        """No more siblings come: what waits for them is scored without."""
        for group in list(self._waiting):
            self._enqueue(self._waiting.pop(group))

    @property
    def refs(self) -> list[Any]:
        """References of the calls under way; none when all that was submitted and closed is scored."""
        return [running.call.ref for running in self._running.values()]

    def patience(self) -> float:
        """Seconds until the next call is overdue."""
        deadlines = [running.deadline for running in self._running.values()]
        return max(min(deadlines, default=0.0) - time.monotonic(), 0.0)

    def advance(self, timeout: float) -> None:
        """Take what is done within `timeout` seconds, give up on what is overdue, and hand out more."""
        by_ref = {running.call.ref: worker for worker, running in self._running.items()}
        for ref in first_done(list(by_ref), timeout):
            self._finish(by_ref[ref], self._running.pop(by_ref[ref]))
        for worker, running in list(self._running.items()):
            if time.monotonic() >= running.deadline:
                del self._running[worker]
                self._give_up(worker, running, f"no answer within {self._timeout_seconds:g} s")
        self._dispatch()

    def _enqueue(self, rows: Sequence[tuple[Trajectory, float]]) -> None:
        ordered = sorted(rows, key=lambda row: row[0].index)
        case = _Case(rows=[row for row, _ in ordered], arrivals=[arrival for _, arrival in ordered])
        self._cases.append(case)
        self._queue.append(case)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give every idle worker as much as it takes."""
        for worker in range(len(self._workers)):
            if self._queue and worker not in self._running:
                cases = self._next_cases()
                now = time.monotonic()
                self._ledger.began([arrival for case in cases for arrival in case.arrivals], now)
                call = self._workers.start(
                    worker, "score", [self._style.item(row) for case in cases for row in case.rows]
                )
                call = Call(call.ref, f"{call.what} of {_records(cases)}")
                patience = self._timeout_seconds + (self._style.start_seconds if worker in self._fresh else 0.0)
                self._running[worker] = _Running(cases, call, now + patience)

    def _next_cases(self) -> list[_Case]:
        """The first of the queue, and as many behind it as fit into one call."""
        cases = [self._queue.popleft()]
        room = self._style.max_rows - len(cases[0].rows)
        while self._queue and len(self._queue[0].rows) <= room:
            cases.append(self._queue.popleft())
            room -= len(cases[-1].rows)
        return cases

    def _finish(self, worker: int, running: _Running) -> None:
        timed, death = value_or_death(running.call)
        self._fresh.discard(worker)
        if death is not None:
            self._give_up(worker, running, "its process died")
            return
        rows = running.rows
        if len(timed.verdicts) != len(rows):
            raise ContractError(f"{running.call.what}: {len(timed.verdicts)} verdicts for {len(rows)} responses")
        self._ledger.finished([row.prompt.record.problem_type for row in rows], timed.seconds, time.monotonic())
        self._ledger.reported(timed.metrics)
        self._settle(running, timed.verdicts)

    def _give_up(self, worker: int, running: _Running, why: str) -> None:
        log.warning("%s: %s; left out, and the scorer is started anew", running.call.what, why)
        self._settle(running, [NotScorable(reason=f"scorer: {why}")] * len(running.rows))
        self._ledger.lost(time.monotonic())
        self._workers.replace(worker)
        self._fresh.add(worker)

    @staticmethod
    def _settle(running: _Running, verdicts: Sequence[Verdict]) -> None:
        left = iter(verdicts)
        for case in running.cases:
            case.verdicts = [next(left) for _ in case.rows]


def _records(cases: Sequence[_Case]) -> str:
    ids = list(dict.fromkeys(row.prompt.record.id for case in cases for row in case.rows))
    return f"record {', '.join(ids[:SHOWN])}" + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")
