# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Fill a cache with many processes, on one machine or several, beside other builders of the same cache."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias

from verl.errors import ConfigError, MediaError
from verl.media import codec as codecs
from verl.media.cache import RETRY, ClipCache
from verl.media.crew import Cause, Crew, Executor, Lost, Queue, Work
from verl.media.progress import Progress
from verl.media.spec import check, source_id
from verl.media.worker import (
    FULL,
    PRELOAD,
    Built,
    Failed,
    Found,
    NoRoom,
    Outcome,
    Task,
    is_sound,
    make,
    settle,
    without_path,
)
from verl.media.writers import sweep
from verl.types import VideoSpec

TIMEOUT_SECONDS = 600.0
KEEP_FREE_BYTES = 1 << 30
MEMORY_LIMIT_BYTES = 4 << 30
ATTEMPTS = 3  # at a clip whose process was ended for reasons that may not lie in the clip
BUSY_SECONDS = 0.5  # until asking again for a clip that another builder is making, when there is nothing else to do
BUSY_ELSEWHERE_SECONDS = 5.0  # and when there is

Told: TypeAlias = Callable[[str], None]  # of a key: it is in the cache now, or has failed
Hire: TypeAlias = Callable[[Work[Task, Outcome]], Executor[Task, Outcome]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How to go about it. None of this changes a pixel."""

    num_workers: int = 8  # processes, on each machine
    progress: bool = True
    timeout_seconds: float = TIMEOUT_SECONDS  # for one clip
    retry_failed: bool = False
    codec: str = codecs.RAW
    keep_free_bytes: int = KEEP_FREE_BYTES  # of the disk
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES  # of one process


class Failure(NamedTuple):
    """A video that is not in the cache; `path` as given, `reason` without it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortage:
    """A disk with no room for the rest."""

    path: Path
    free_bytes: int
    keep_free_bytes: int
    clips_left: int
    needed_bytes: int  # estimate for the clips left; the largest come first, so it is more likely too high

    def __str__(self) -> str:
        return (
            f"{self.path} has {_size(self.free_bytes)} free, of which {_size(self.keep_free_bytes)} are to stay free; "
            f"the {self.clips_left} clips left need about {_size(self.needed_bytes)}. What is built is whole and is "
            "kept: make room, or lower what is to stay free, and build again"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What became of every distinct video."""

    built: int
    reused: int  # there before, or made by another builder meanwhile
    failed: tuple[Failure, ...]
    bytes: int  # written
    seconds: float
    keys: Mapping[str, str]  # of the clips in the cache, by path as given
    shortage: Shortage | None = None  # why the build ended early

    def reasons(self) -> list[tuple[int, str, str]]:
        """(number of videos, reason, path of the first) of the failures, most frequent first; numbers read N."""
        groups: dict[str, list[str]] = {}
        for path, reason in self.failed:
            groups.setdefault(re.sub(r"\d+(\.\d+)?", "N", reason), []).append(path)
        ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
        return [(len(paths), reason, paths[0]) for reason, paths in ordered]


@dataclass(slots=True)
class _Plan:
    tasks: dict[str, Task] = field(default_factory=dict)  # by key
    given: dict[str, list[str]] = field(default_factory=dict)  # paths as given, by key
    done: set[str] = field(default_factory=set)  # keys of clips in the cache
    failed: dict[str, str] = field(default_factory=dict)  # reason by path as given


def build(
    jobs: Sequence[tuple[str, VideoSpec]],
    cache_dir: str | Path,
    options: BuildOptions | None = None,
    hire: Hire = Crew,
    told: Told | None = None,
) -> BuildReport:
    """Make `cache_dir` hold every (path, spec) of `jobs`; a video that fails is reported, and stops nothing else.

    Entries that exist are reused, damaged ones replaced, videos that these tools have failed on before are reported
    again without an attempt unless `retry_failed`. Any number of builders may work on one cache, and any may be
    killed. `told` hears the key of each clip that was not there when it is settled. Raises ConfigError for a spec that
    can never work or a directory that cannot be written to.
    """
    options = options or BuildOptions()
    started = time.monotonic()
    root = _usable(Path(cache_dir).expanduser().absolute())
    sweep(_folders(root))
    try:
        run = _Run(root, _plan(jobs, root, options), options, told or (lambda key: None))
        run.work(hire)
    finally:
        sweep(_folders(root))
    return run.report(time.monotonic() - started)


def _usable(root: Path) -> Path:
    """`root`, made if need be. A full disk is found later, when it is known how much is needed."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError as error:
        if error.errno in FULL and root.is_dir():
            return root
        raise ConfigError(f"cannot write to the cache {root} ({error.strerror}); name another directory") from error


def _folders(root: Path) -> Iterator[Path]:
    with os.scandir(root) as found:
        yield from [Path(one.path) for one in found if re.fullmatch("[0-9a-f]{2}", one.name)]


def _plan(jobs: Iterable[tuple[str, VideoSpec]], root: Path, options: BuildOptions) -> _Plan:
    cache, plan = ClipCache(root), _Plan()
    specs: set[VideoSpec] = set()
    for path, spec in dict.fromkeys(jobs):
        if spec not in specs:
            check(spec)
            codecs.check_storage(options.codec, spec.lossy)
            specs.add(spec)
        try:
            source = source_id(path)
        except MediaError as error:
            plan.failed[path] = without_path(str(error), path)
            continue
        key = spec.cache_key(source)
        plan.given.setdefault(key, []).append(path)
        reason = None if options.retry_failed else cache.failure(key)
        if is_sound(cache, key):
            plan.done.add(key)
        elif reason is not None:
            plan.failed[path] = f"{without_path(reason, source.path)} (failed before; {RETRY})"
        else:
            plan.tasks[key] = Task(
                root=root,
                key=key,
                source=source,
                spec=spec,
                codec=options.codec,
                keep_free_bytes=options.keep_free_bytes,
                retry_failed=options.retry_failed,
            )
    return plan


class _Run:
    """The work of one builder, from its plan to its report."""

    def __init__(self, root: Path, plan: _Plan, options: BuildOptions, told: Told) -> None:
        self._root = root
        self._told = told
        self._cache = ClipCache(root, options.codec)
        self._plan = plan
        self._options = options
        self._written: list[int] = []
        self._found = len(plan.done)
        self._attempts: Counter[str] = Counter()
        self._unfinished: set[str] = set(plan.tasks)
        self._is_short = False
        self._largest = 0  # clip that found no room

    def work(self, hire: Hire) -> None:
        """Make all clips of the plan."""
        tasks = sorted(self._plan.tasks.values(), key=_cost, reverse=True)  # no long task at the end
        if not tasks:
            return
        work = Work(
            function=make,
            prepare=partial(settle, self._options.memory_limit_bytes),
            size=self._options.num_workers,
            timeout_seconds=self._options.timeout_seconds,
            preload=PRELOAD,
        )
        queue = Queue(tasks)
        with Progress(len(tasks), sum(map(_cost, tasks)), shown=self._options.progress) as progress:
            for task, outcome in hire(work).run(queue):
                if self._settle(task, outcome, queue):
                    self._unfinished.discard(task.key)
                    progress.advance(_cost(task), failed=len(self._plan.failed))
                    self._told(task.key)

    def report(self, seconds: float) -> BuildReport:
        """The end."""
        keys = {path: key for key in self._plan.done for path in self._plan.given[key]}
        return BuildReport(
            built=len(self._written),
            reused=self._found,
            failed=tuple(Failure(path, reason) for path, reason in self._plan.failed.items()),
            bytes=sum(self._written),
            seconds=seconds,
            keys=keys,
            shortage=self._shortage() if self._is_short else None,
        )

    def _settle(self, task: Task, outcome: Outcome | Lost, queue: Queue[Task]) -> bool:
        """Take note of an outcome; whether the task is finished."""
        match outcome:
            case Built(bytes=written):
                self._written.append(written)
                self._plan.done.add(task.key)
            case Found():
                self._found += 1
                self._plan.done.add(task.key)
            case Failed(reason=reason):
                self._fail(task, reason)
            case Lost():
                return self._lose(task, outcome, queue)
            case NoRoom(clip_bytes=size):
                self._stop(size, queue)
                return False
            case _:
                queue.put_off(task, BUSY_ELSEWHERE_SECONDS if queue.has_fresh else BUSY_SECONDS)
                return False
        return True

    def _lose(self, task: Task, lost: Lost, queue: Queue[Task]) -> bool:
        self._attempts[task.key] += 1
        chance = lost.cause in (Cause.KILLED, Cause.OVERWEIGHT) and self._attempts[task.key] < ATTEMPTS
        if chance and not self._is_short:
            queue.put_off(task, 0.0)
            return False
        limit = f" ({_size(self._options.memory_limit_bytes)})" if lost.cause is Cause.OVERWEIGHT else ""
        reason = lost.reason + limit
        self._fail(task, reason)
        if lost.cause in (Cause.DIED, Cause.OVERWEIGHT, Cause.TIMEOUT):  # the video's own fault, as far as one can tell
            try:
                self._cache.record_failure(task.key, task.source, f"{task.source.path}: {reason}")
            except OSError as error:
                if error.errno not in FULL:
                    raise
                self._stop(0, queue)
        return True

    def _fail(self, task: Task, reason: str) -> None:
        self._plan.failed |= dict.fromkeys(self._plan.given[task.key], reason)

    def _stop(self, clip_bytes: int, queue: Queue[Task]) -> None:
        """End early: no other clip is begun. Called again by those that were under way."""
        queue.close()
        self._is_short = True
        self._largest = max(self._largest, clip_bytes)

    def _shortage(self) -> Shortage:
        known = [*self._written, self._largest]
        root = self._root
        return Shortage(
            path=root,
            free_bytes=shutil.disk_usage(root).free,
            keep_free_bytes=self._options.keep_free_bytes,
            clips_left=len(self._unfinished),
            needed_bytes=len(self._unfinished) * sum(known) // len(known),
        )


def _cost(task: Task) -> int:
    """Time that a clip takes, in no unit: that of its file grows with both its length and its size in pixels."""
    return max(task.source.size, 1)


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
