# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that may crash or hang: each such accident costs one task, and never the work as a whole."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from verl.errors import WorkerError

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Lost:
    """A task without a result, and why."""

    reason: str
    raised: bool = False  # the function raised; else its process died or took too long


class Crew(Generic[T, R]):
    """Runs `function` on tasks in `size` processes that share the modules of `preload` and first run `prepare`.

    Both must be module-level functions; tasks and results must pickle. A task that takes longer than
    `timeout_seconds` is killed from outside, because native code cannot be interrupted from within.
    """

    def __init__(
        self,
        function: Callable[[T], R],
        size: int,
        timeout_seconds: float,
        *,
        prepare: Callable[[], None],
        preload: Sequence[str] = (),
    ) -> None:
        self._function = function
        self._prepare = prepare
        self._size = max(size, 1)
        self._timeout = timeout_seconds
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([function.__module__, *preload])
        self._members: list[_Member[T]] = []

    def run(self, tasks: Sequence[T]) -> Iterator[tuple[T, R | Lost]]:
        """Every task once with its result, in order of completion. Raises WorkerError if no process can start."""
        waiting = deque(tasks)
        try:
            while waiting or any(member.task is not None for member in self._members):
                starting = sum(member.task is None for member in self._members)
                for _ in range(min(self._size - len(self._members), len(waiting) - starting)):
                    self._members.append(self._hire())
                yield from self._collect(waiting)
        finally:
            for member in self._members:
                member.dismiss()
            self._members.clear()

    def _hire(self) -> _Member[T]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._function, self._prepare), daemon=True)
        process.start()
        theirs.close()
        return _Member(process=process, pipe=ours)

    def _collect(self, waiting: deque[T]) -> Iterator[tuple[T, R | Lost]]:
        """Wait for something to happen, and deal with it."""
        soonest = min(member.deadline for member in self._members)
        patience = None if soonest == float("inf") else max(soonest - time.monotonic(), 0)
        ready = connection.wait([member.pipe for member in self._members], patience)
        for member in list(self._members):
            finished = member.task
            if member.pipe in ready:
                outcome = self._receive(member)
            elif member.deadline <= time.monotonic():
                outcome = Lost(f"not finished after {self._timeout:g} seconds")
                self._dismiss(member)
            else:
                continue
            if member in self._members and waiting:
                member.assign(waiting.popleft(), self._timeout)
            elif member in self._members:
                self._dismiss(member)
            if finished is not None and outcome is not None:
                yield finished, outcome

    def _receive(self, member: _Member[T]) -> R | Lost | None:
        """What the member reports; None when it has just started."""
        try:
            return member.pipe.recv()
        except (EOFError, ConnectionError):
            self._dismiss(member)
            death = f"its process died ({_cause(member.process.exitcode)})"
            if member.task is None:
                raise WorkerError(f"a process of the crew cannot start: {death}") from None
            return Lost(death)

    def _dismiss(self, member: _Member[T]) -> None:
        member.dismiss()
        self._members.remove(member)


@dataclass(slots=True, kw_only=True, eq=False)
class _Member(Generic[T]):
    process: BaseProcess
    pipe: Connection
    task: T | None = None  # None while it starts
    deadline: float = float("inf")

    def assign(self, task: T, timeout: float) -> None:
        """Have it begin `task`, which it must finish within `timeout` seconds."""
        self.task, self.deadline = task, time.monotonic() + timeout
        self.pipe.send(task)

    def dismiss(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"


def _serve(pipe: Connection, function: Callable[[T], R], prepare: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    prepare()
    pipe.send(None)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            outcome: R | Lost = function(task)
        except Exception as error:  # noqa: BLE001  (process boundary: reported to the parent)
            outcome = Lost(f"{type(error).__name__}: {error}", raised=True)
        pipe.send(outcome)
