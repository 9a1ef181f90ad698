# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Ray actors as groups: call all of them, notice the first that fails, and say which one it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

from verl.errors import VerlError, WorkerError

CULPRIT_GRACE_SECONDS = 10.0  # a dead process may be noticed after the errors it causes in others


@dataclass(frozen=True, slots=True)
class Call:
    """A remote call under way. `what` names process and method in messages."""

    ref: Any
    what: str


class Watch:
    """The sentinels of a run: calls that return only when their process is in trouble."""

    def __init__(self) -> None:
        self._calls: dict[Any, Call] = {}

    @property
    def refs(self) -> list[Any]:
        """References to wait on beside one's own."""
        return list(self._calls)

    def add(self, calls: Iterable[Call]) -> None:
        """Watch these too."""
        self._calls.update({call.ref: call for call in calls})

    def alarm(self, ref: Any) -> WorkerError:
        """The error that a sentinel's return means."""
        try:
            _value(self._calls[ref])
        except WorkerError as error:
            return error
        return WorkerError(f"{self._calls[ref].what}: the process ended without being asked to")

    def culprit(self, symptom: WorkerError) -> WorkerError:
        """The death behind a failure, when there is one; else the failure itself."""
        if not self._calls:
            return symptom
        ready, _ = ray.wait(self.refs, num_returns=1, timeout=CULPRIT_GRACE_SECONDS)
        if not ready:
            return symptom
        alarm = self.alarm(ready[0])
        alarm.__cause__ = symptom
        return alarm


class WorkerGroup:
    """Actors of one kind, in rank order."""

    def __init__(
        self, name: str, actors: Sequence[Any], watch: Watch, renew: Callable[[int], Any] | None = None
    ) -> None:
        self.name = name
        self.actors = list(actors)
        self._renew = renew  # makes an actor in the place of one that is lost
        self.watch = watch

    def __len__(self) -> int:
        return len(self.actors)

    def guard(self) -> None:
        """Start a sentinel on every actor, so that its death is noticed whatever the driver waits for."""
        self.watch.add(self.start_all("watch"))

    def start(self, rank: int, method: str, *args: Any) -> Call:
        """Begin one call."""
        ref = getattr(self.actors[rank], method).remote(*args)
        return Call(ref, f"{self.name} {rank}: {method}")

    def start_all(self, method: str, *args: Any) -> list[Call]:
        """Begin the same call on every rank."""
        shared = [ray.put(arg) for arg in args] if len(self.actors) > 1 else args
        return [self.start(rank, method, *shared) for rank in range(len(self.actors))]

    def start_each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Call]:
        """Begin a call with its own arguments on every rank."""
        if len(arguments) != len(self.actors):
            raise ValueError(f"{self.name}: {len(arguments)} arguments for {len(self.actors)} ranks")
        return [self.start(rank, method, *args) for rank, args in enumerate(arguments)]

    def all(self, method: str, *args: Any) -> list[Any]:
        """Call every rank and wait. The first failure is raised, under the name of the process behind it."""
        return results(self.start_all(method, *args), self.watch)

    def each(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Call every rank with its own arguments and wait."""
        return results(self.start_each(method, arguments), self.watch)

    def replace(self, rank: int) -> None:
        """End one process, if it has not ended, and start another in its place."""
        if self._renew is None:
            raise WorkerError(f"{self.name} {rank} is lost and cannot be replaced")
        ray.kill(self.actors[rank], no_restart=True)
        self.actors[rank] = self._renew(rank)


def results(calls: Sequence[Call], watch: Watch) -> list[Any]:
    """Wait for all calls; values in call order."""
    pending = {call.ref: call for call in calls}
    values: dict[Any, Any] = {}
    while pending:
        ready, _ = ray.wait([*pending, *watch.refs], num_returns=1)
        call = pending.pop(ready[0], None)
        if call is None:
            raise watch.alarm(ready[0])
        values[call.ref] = _checked(call, watch)
    return [values[call.ref] for call in calls]


def first_done(refs: list[Any], timeout: float) -> list[Any]:
    """Those that are done, once one of them is or `timeout` seconds are over."""
    if not refs:
        return []
    ray.wait(refs, num_returns=1, timeout=timeout)
    return list(ray.wait(refs, num_returns=len(refs), timeout=0)[0])


def value_or_death(call: Call) -> tuple[Any, WorkerError | None]:
    """The value of a finished call, or the error that says its process died. What it raised is raised."""
    try:
        return ray.get(call.ref), None
    except RayActorError as error:
        return None, WorkerError(f"{call.what}: the process died ({_gist(error)})")
    except RayTaskError as error:
        raise _named(call, error) from error


def stream(calls: Sequence[Call], watch: Watch) -> Iterator[Any]:
    """Values of streaming calls, from whichever call has one ready."""
    running = {call.ref: call for call in calls}
    while running:
        ready, _ = ray.wait([*running, *watch.refs], num_returns=1)
        call = running.get(ready[0])
        if call is None:
            raise watch.alarm(ready[0])
        try:
            item = next(call.ref)
        except StopIteration:
            del running[call.ref]
            continue
        yield _checked(Call(item, call.what), watch)


def _checked(call: Call, watch: Watch) -> Any:
    try:
        return _value(call)
    except WorkerError as error:
        raise watch.culprit(error) from error.__cause__


def _value(call: Call) -> Any:
    try:
        return ray.get(call.ref)
    except RayTaskError as error:
        raise _named(call, error) from error
    except RayActorError as error:
        raise WorkerError(f"{call.what}: the process died ({_gist(error)})") from error


def _named(call: Call, error: RayTaskError) -> VerlError:
    """What a process raised, under its name. An error of ours keeps its kind: bad data stays bad data."""
    cause = error.cause if isinstance(error.cause, BaseException) else error
    if isinstance(cause, VerlError) and not isinstance(cause, WorkerError):
        return type(cause)(f"{call.what}: {cause}")
    return WorkerError(f"{call.what} failed: {type(cause).__name__}: {cause}")


def _gist(error: BaseException) -> str:
    """First and last line of what Ray says: that it died, and of what."""
    lines = str(error).strip().splitlines()
    return " ... ".join(dict.fromkeys([lines[0], lines[-1].strip()]))
