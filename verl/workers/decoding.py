# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The builder's processes on every machine of a Ray cluster: an actor on each, with the same crew as without Ray."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from verl.cluster import placement
from verl.errors import WorkerError
from verl.media.crew import Cause, Crew, Lost, Queue, Work

T = TypeVar("T")
R = TypeVar("R")

LOOK_SECONDS = 0.2  # between looks at tasks that have been put off
CLOSE_SECONDS = 10.0


def connect() -> None:
    """Join the cluster named by RAY_ADDRESS, or start one on this machine that ends with this process."""
    placement.connect(placement.Machines(device="cpu", nodes=1, devices_per_node=0), {})


class CrewOffice(Generic[T, R]):
    """An actor: the crew of one machine."""

    def __init__(self, work: Work[T, R]) -> None:
        self._queue: Queue[T] = Queue(open_ended=True)
        self._numbers: dict[int, int] = {}  # of tasks, by identity
        self._outcomes: SimpleQueue[tuple[int, R | Lost] | Exception] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(Crew(work),), daemon=True)
        self._thread.start()

    def _run(self, crew: Crew[T, R]) -> None:
        try:
            for task, outcome in crew.run(self._queue):
                self._outcomes.put((self._numbers.pop(id(task)), outcome))
        except Exception as error:  # noqa: BLE001  (process boundary: `next` raises it for the driver)
            self._outcomes.put(error)

    def ready(self) -> None:
        """Returns when the actor runs."""

    def add(self, number: int, task: T) -> None:
        """Take on a task."""
        self._numbers[id(task)] = number
        self._queue.add(task)

    def next(self) -> tuple[int, R | Lost]:
        """The next task to be finished, and its outcome."""
        outcome = self._outcomes.get()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        """End the processes."""
        self._queue.close()
        self._thread.join()


@dataclass(slots=True, kw_only=True, eq=False)
class _Machine(Generic[T]):
    """The driver's view of an office."""

    address: str
    office: Any
    size: int
    is_ready: bool = False
    tasks: dict[int, T] = field(default_factory=dict)  # under way, by number

    @property
    def has_room(self) -> bool:
        """One task more than processes, so that none waits for the next."""
        return self.is_ready and len(self.tasks) <= self.size

    def give(self, number: int, task: T) -> None:
        """Begin a task."""
        self.tasks[number] = task
        self.office.add.remote(number, task)


class RayCrew(Generic[T, R]):
    """Processes on all machines of the cluster that this process has joined."""

    def __init__(self, work: Work[T, R]) -> None:
        self._work = work
        self._machines = [self._open(node) for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]

    def run(self, queue: Queue[T]) -> Iterator[tuple[T, R | Lost]]:
        """As in `verl.media.crew.Executor`. A lost machine loses its tasks, and no others."""
        numbers = itertools.count()
        waiting = {machine.office.ready.remote(): machine for machine in self._machines}
        try:
            while queue.has_more or any(machine.tasks for machine in self._machines):
                for machine in self._machines:
                    while machine.has_room and (task := queue.take()) is not None:
                        machine.give(next(numbers), task)
                patience = LOOK_SECONDS if queue.has_more else None
                for ref in ray.wait(list(waiting), num_returns=1, timeout=patience)[0]:
                    machine = waiting.pop(ref)
                    yield from self._collect(machine, ref)
                    if machine in self._machines:
                        waiting[machine.office.next.remote()] = machine
            closing = [machine.office.close.remote() for machine in self._machines if machine.is_ready]
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
        finally:
            for machine in self._machines:
                ray.kill(machine.office)

    def _open(self, node: dict[str, Any]) -> _Machine[T]:
        size = min(self._work.size, int(node["Resources"]["CPU"]))
        seat = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        actor = ray.remote(CrewOffice).options(num_cpus=size, max_concurrency=4, scheduling_strategy=seat)
        return _Machine(
            address=node["NodeManagerAddress"], office=actor.remote(replace(self._work, size=size)), size=size
        )

    def _collect(self, machine: _Machine[T], ref: Any) -> Iterator[tuple[T, R | Lost]]:
        try:
            said = ray.get(ref)
        except RayActorError as error:
            self._machines.remove(machine)
            if not self._machines:
                raise WorkerError(f"the last machine of the build is lost: {machine.address}") from error
            lost = Lost(f"its machine {machine.address} was lost", Cause.KILLED)
            yield from [(task, lost) for task in machine.tasks.values()]
            return
        except RayTaskError as error:
            raise WorkerError(f"{machine.address}: {error.cause}") from error
        machine.is_ready = True
        if said is not None:
            number, outcome = said
            yield machine.tasks.pop(number), outcome
