# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring processes behind a queue. One that hangs or dies costs its own case, not the run."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from verl.cluster.group import Call, WorkerGroup, first_done, value_or_death
from verl.errors import ContractError
from verl.rewards.contract import RewardItem
from verl.types import NotScorable, Scored, Trajectory, Verdict

START_SECONDS = 60.0  # for a process to start and import what it scores with

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Case:
    """Responses that are scored together, and what became of them."""

    rows: list[Trajectory]
    verdicts: list[Verdict] | None = None


@dataclass(frozen=True, slots=True)
class _Running:
    case: _Case
    call: Call
    deadline: float


class RewardHandle:
    """Rows go out one by one as they come, or, for a batch function, in groups of siblings.

    A scorer that raises ends the run. One that gives no answer within `timeout_seconds`, or whose process dies, is
    replaced, and its case is not scorable: left out and counted.
    """

    def __init__(self, workers: WorkerGroup, *, batch_size: int, timeout_seconds: float) -> None:
        self._workers = workers
        self._batch_size = batch_size  # 1, or n for a scorer that wants siblings together
        self._timeout_seconds = timeout_seconds
        self._waiting: dict[int, list[Trajectory]] = {}  # groups that are not complete
        self._cases: list[_Case] = []
        self._queue: deque[_Case] = deque()
        self._running: dict[int, _Running] = {}  # by worker
        self._fresh = set(range(len(workers)))  # not answered yet: they may still be starting

    def submit(self, trajectory: Trajectory) -> None:
        """See Rewards."""
        rows = self._waiting.setdefault(trajectory.group, [])
        rows.append(trajectory)
        if len(rows) >= self._batch_size:
            self._enqueue(self._waiting.pop(trajectory.group))
        self._take(timeout=0.0)

    def collect(self) -> list[Scored]:
        """See Rewards."""
        for group in list(self._waiting):
            self._enqueue(self._waiting.pop(group))
        while self._queue or self._running:
            self._take(timeout=max(self._nearest_deadline() - time.monotonic(), 0.0))
        cases, self._cases = self._cases, []
        return [
            Scored(trajectory=row, verdict=verdict)
            for case in cases
            for row, verdict in zip(case.rows, case.verdicts or [], strict=True)
        ]

    def _enqueue(self, rows: Sequence[Trajectory]) -> None:
        case = _Case(sorted(rows, key=lambda row: row.index))
        self._cases.append(case)
        self._queue.append(case)
        self._dispatch()

    def _dispatch(self) -> None:
        """Give every idle worker a case."""
        for worker in range(len(self._workers)):
            if self._queue and worker not in self._running:
                case = self._queue.popleft()
                call = self._workers.start(worker, "score", [_item(row) for row in case.rows])
                call = Call(call.ref, f"{call.what} of {_records(case)}")
                patience = self._timeout_seconds + (START_SECONDS if worker in self._fresh else 0.0)
                self._running[worker] = _Running(case, call, time.monotonic() + patience)

    def _take(self, timeout: float) -> None:
        """Take what is done within `timeout` seconds, give up on what is overdue, and hand out more."""
        by_ref = {running.call.ref: worker for worker, running in self._running.items()}
        for ref in first_done(list(by_ref), timeout):
            self._finish(by_ref[ref], self._running.pop(by_ref[ref]))
        for worker, running in list(self._running.items()):
            if time.monotonic() > running.deadline:
                del self._running[worker]
                self._give_up(worker, running, f"no answer within {self._timeout_seconds:g} s")
        self._dispatch()

    def _finish(self, worker: int, running: _Running) -> None:
        verdicts, death = value_or_death(running.call)
        self._fresh.discard(worker)
        if death is not None:
            self._give_up(worker, running, "its process died")
        elif len(verdicts) != len(running.case.rows):
            raise ContractError(f"{running.call.what}: {len(verdicts)} verdicts for {len(running.case.rows)} responses")
        else:
            running.case.verdicts = verdicts

    def _give_up(self, worker: int, running: _Running, why: str) -> None:
        log.warning("%s: %s; left out, and the scorer is started anew", running.call.what, why)
        running.case.verdicts = [NotScorable(reason=f"scorer: {why}")] * len(running.case.rows)
        self._workers.replace(worker)
        self._fresh.add(worker)

    def _nearest_deadline(self) -> float:
        return min((running.deadline for running in self._running.values()), default=time.monotonic())


def _records(case: _Case) -> str:
    ids = dict.fromkeys(row.prompt.record.id for row in case.rows)
    return f"record {', '.join(ids)}"


def _item(row: Trajectory) -> RewardItem:
    return RewardItem(
        response=row.text,
        response_length=len(row.response_ids),
        record=row.prompt.record,
        truncated=row.truncated,
    )
