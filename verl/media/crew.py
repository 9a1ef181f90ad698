# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that may crash or hang: each such accident costs one task, and never the work as a whole."""

from __future__ import annotations

import heapq
import itertools
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, Protocol, TypeVar

from verl.errors import WorkerError

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

OVERWEIGHT = 77  # exit code of a process that found itself too large
UNKNOWN = 255  # exit code when the server that forks the processes has been killed
FALSE_STARTS = 3  # processes in a row that die before their first task
START_SECONDS = 300.0
LOOK_SECONDS = 0.05  # between looks at a queue that was empty


class Cause(Enum):
    """Why there is no result."""

    RAISED = "the function raised"
    DIED = "its process ended by itself"
    KILLED = "its process was ended from outside"
    OVERWEIGHT = "its process took too much memory"
    TIMEOUT = "it took too long"


@dataclass(frozen=True, slots=True)
class Lost:
    """A task without a result, and why."""

    reason: str
    cause: Cause


class Queue(Generic[T]):
    """Tasks in order; those that were put off come back when their time has come. Any thread may use it."""

    def __init__(self, tasks: Iterable[T] = (), *, open_ended: bool = False) -> None:
        self._fresh = deque(tasks)
        self._later: list[tuple[float, int, T]] = []
        self._count = itertools.count()
        self._lock = threading.Lock()
        self._open = open_ended

    def __len__(self) -> int:
        return len(self._fresh) + len(self._later)

    @property
    def has_fresh(self) -> bool:
        """Whether a task is left that has not been put off."""
        return bool(self._fresh)

    @property
    def has_more(self) -> bool:
        """Whether `take` will give something, now or later."""
        return self._open or len(self) > 0

    def take(self) -> T | None:
        """The next task, or None if there is none at the moment."""
        with self._lock:
            if self._later and self._later[0][0] <= time.monotonic():
                return heapq.heappop(self._later)[2]
            return self._fresh.popleft() if self._fresh else None

    def add(self, task: T) -> None:
        """Put `task` at the end."""
        with self._lock:
            self._fresh.append(task)

    def put_off(self, task: T, seconds: float) -> None:
        """Hand out `task` when `seconds` have passed."""
        with self._lock:
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._count), task))

    def close(self) -> list[T]:
        """Hand out nothing more, and return what was left."""
        with self._lock:
            left = [*self._fresh, *(task for _, _, task in self._later)]
            self._fresh.clear()
            self._later.clear()
            self._open = False
            return left


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Generic[T, R]):
    """What processes are for. Functions must pickle by name, tasks and results by value."""

    function: Callable[[T], R]
    prepare: Callable[[], None]  # once in each process
    size: int  # processes, on each machine
    timeout_seconds: float  # a task is killed from outside: native code cannot be interrupted from within
    preload: Sequence[str] = ()  # modules that processes share
    tasks_per_process: int = 200  # then another takes its place


class Executor(Protocol[T, R_co]):
    """Does tasks until the queue has no more; the caller may put tasks off, add and close between two results."""

    def run(self, queue: Queue[T]) -> Iterator[tuple[T, R_co | Lost]]:
        """Every task taken with its result, in order of completion. Raises WorkerError if none can be done."""
        ...


class Crew(Generic[T, R]):
    """Processes on this machine."""

    def __init__(self, work: Work[T, R]) -> None:
        self._work = work
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload([work.function.__module__, *work.preload])
        self._members: list[_Member[T]] = []
        self._false_starts = 0

    def run(self, queue: Queue[T]) -> Iterator[tuple[T, R | Lost]]:
        """As in Executor."""
        try:
            while queue.has_more or any(member.is_busy for member in self._members):
                for member in self._members:
                    if member.is_idle and (task := queue.take()) is not None:
                        member.assign(task, self._work.timeout_seconds)
                wanted = sum(not member.is_busy for member in self._members)
                for _ in range(min(self._work.size - len(self._members), len(queue) - wanted)):
                    self._members.append(self._hire())
                yield from self._collect(queue.has_more)
        finally:
            for member in self._members:
                member.dismiss()
            self._members.clear()

    def _hire(self) -> _Member[T]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self._work.function, self._work.prepare), daemon=True
        )
        with _without_main(self._work.function):
            process.start()
        theirs.close()
        return _Member(process=process, pipe=ours, deadline=time.monotonic() + START_SECONDS)

    def _collect(self, look_again: bool) -> Iterator[tuple[T, R | Lost]]:
        """Wait for something to happen, or for a moment if the queue may have more by then, and deal with it."""
        ready = self._wait(LOOK_SECONDS if look_again else float("inf"))
        for member in list(self._members):
            task = member.task
            if member.pipe in ready:
                outcome = self._receive(member)
            elif member.deadline <= time.monotonic():
                outcome = self._give_up(member)
            else:
                continue
            if task is not None and outcome is not None:
                yield task, outcome

    def _wait(self, seconds: float) -> list[object]:
        """Pipes with something in them, or none at the first deadline; `seconds` at most if anyone could do more."""
        members = self._members
        could_do_more = len(members) < self._work.size or any(member.is_idle for member in members)
        soonest = min((member.deadline for member in members), default=float("inf"))
        patience = max(min(soonest - time.monotonic(), seconds if could_do_more else float("inf")), 0.0)
        if not members:
            time.sleep(patience)
        return list(connection.wait([member.pipe for member in members], patience))

    def _give_up(self, member: _Member[T]) -> Lost:
        """End a member whose time is up."""
        lost = Lost(f"not finished after {self._work.timeout_seconds:g} seconds", Cause.TIMEOUT)
        self._dismiss(member)
        if member.task is None:
            self._note_false_start(Lost(f"not started after {START_SECONDS:g} seconds", Cause.TIMEOUT))
        return lost

    def _receive(self, member: _Member[T]) -> R | Lost | None:
        """What the member reports; None when it has just started, or has gone before its first task."""
        try:
            outcome: R | Lost | None = member.pipe.recv()
        except (EOFError, ConnectionError):
            self._dismiss(member)
            lost = _death(member.process.exitcode)
            if member.task is None:
                self._note_false_start(lost)
            return lost
        self._false_starts = 0
        member.finish()
        if member.tasks_done >= self._work.tasks_per_process:
            self._dismiss(member)
        return outcome

    def _note_false_start(self, lost: Lost) -> None:
        self._false_starts += 1
        if self._false_starts >= FALSE_STARTS:
            raise WorkerError(f"processes of the crew cannot start: {lost.reason}")

    def _dismiss(self, member: _Member[T]) -> None:
        member.dismiss()
        self._members.remove(member)


@dataclass(slots=True, kw_only=True, eq=False)
class _Member(Generic[T]):
    process: BaseProcess
    pipe: Connection
    deadline: float  # on the monotonic clock
    has_started: bool = False
    tasks_done: int = 0
    task: T | None = None

    @property
    def is_busy(self) -> bool:
        return self.task is not None

    @property
    def is_idle(self) -> bool:
        return self.has_started and self.task is None

    def assign(self, task: T, timeout: float) -> None:
        """Have it begin `task`, which it must finish within `timeout` seconds."""
        self.task, self.deadline = task, time.monotonic() + timeout
        try:
            self.pipe.send(task)
        except ConnectionError:  # it has just died: its end of the pipe will say so
            return

    def finish(self) -> None:
        """It has reported: that it has started, or the outcome of its task."""
        self.tasks_done += self.has_started
        self.has_started, self.task, self.deadline = True, None, float("inf")

    def dismiss(self) -> None:
        """End it, whatever it is doing."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _death(exitcode: int | None) -> Lost:
    if exitcode == OVERWEIGHT:
        return Lost("its process took more memory than it may", Cause.OVERWEIGHT)
    if exitcode == UNKNOWN:
        return Lost("its process died together with its parent", Cause.KILLED)
    if exitcode is None or exitcode >= 0:
        return Lost(f"its process died (exit code {exitcode})", Cause.DIED)
    name = signal.Signals(-exitcode).name
    outside = -exitcode in (signal.SIGKILL, signal.SIGTERM)
    return Lost(f"its process died ({name})", Cause.KILLED if outside else Cause.DIED)


_hiding = threading.Lock()


@contextmanager
def _without_main(function: Callable[..., object]) -> Iterator[None]:
    """Processes started inside do not import the program's main module again, which would take each some seconds."""
    main = sys.modules["__main__"]
    if function.__module__ == "__main__":  # they need it
        yield
        return
    with _hiding:
        kept = {name: vars(main)[name] for name in ("__spec__", "__file__") if name in vars(main)}
        main.__spec__ = main.__file__ = None
        try:
            yield
        finally:
            del main.__spec__, main.__file__
            for name, value in kept.items():
                setattr(main, name, value)


def _serve(pipe: Connection, function: Callable[[T], R], prepare: Callable[[], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    prepare()
    try:
        pipe.send(None)
        while True:
            pipe.send(_attempt(function, pipe.recv()))
    except (EOFError, ConnectionError):  # the parent has gone
        return


def _attempt(function: Callable[[T], R], task: T) -> R | Lost:
    try:
        return function(task)
    except Exception as error:  # noqa: BLE001  (process boundary: reported to the parent)
        return Lost(f"{type(error).__name__}: {error}", Cause.RAISED)
