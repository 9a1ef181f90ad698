# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Fill a cache with many processes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from verl.errors import MediaError
from verl.media import decode
from verl.media.cache import RETRY, ClipCache
from verl.media.crew import Crew, Lost
from verl.media.spec import check, source_id
from verl.types import SourceId, VideoSpec

TIMEOUT_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What became of every distinct video."""

    built: int
    reused: int
    failed: tuple[tuple[str, str], ...]  # (path as given, reason)
    bytes: int  # written
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    root: Path
    key: str
    source: SourceId
    spec: VideoSpec


@dataclass(slots=True)
class _Plan:
    tasks: dict[str, _Task] = field(default_factory=dict)  # by key
    given: dict[str, list[str]] = field(default_factory=dict)  # paths as given, by key
    reused: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)  # reason by path as given


def build(
    jobs: Sequence[tuple[str, VideoSpec]],
    cache_dir: str | Path,
    *,
    num_workers: int = 8,
    progress: bool = True,
    timeout_seconds: float = TIMEOUT_SECONDS,
    retry_failed: bool = False,
) -> BuildReport:
    """Make `cache_dir` hold every (path, spec) of `jobs`; a video that fails is reported, and stops nothing else.

    Entries that exist are reused, damaged ones replaced, videos that these tools have failed on before are reported
    again without an attempt unless `retry_failed`. Raises ConfigError for a spec that can never work.
    """
    started = time.monotonic()
    cache = ClipCache(Path(cache_dir).expanduser().absolute())
    plan = _plan(jobs, cache, retry_failed)
    tasks = sorted(plan.tasks.values(), key=lambda task: task.source.size, reverse=True)  # no long task at the end
    size = min(num_workers, len(tasks))
    crew = Crew(_build_one, size, timeout_seconds, prepare=_one_thread, preload=("torchvision.transforms.v2",))
    written = []
    for task, outcome in tqdm(crew.run(tasks), total=len(tasks), unit="video", disable=not progress):
        if isinstance(outcome, int):
            written.append(outcome)
        else:
            reason = f"{task.source.path}: {outcome.reason}" if isinstance(outcome, Lost) else outcome
            if not (isinstance(outcome, Lost) and outcome.raised):  # a full disk is not the video's fault
                cache.record_failure(task.key, task.source, reason)
            plan.failed |= dict.fromkeys(plan.given[task.key], reason)
    return BuildReport(
        built=len(written),
        reused=len(plan.reused),
        failed=tuple(plan.failed.items()),
        bytes=sum(written),
        seconds=time.monotonic() - started,
    )


def _plan(jobs: Iterable[tuple[str, VideoSpec]], cache: ClipCache, retry_failed: bool) -> _Plan:
    plan = _Plan()
    specs: set[VideoSpec] = set()
    for path, spec in dict.fromkeys(jobs):
        if spec not in specs:
            check(spec)
            specs.add(spec)
        try:
            source = source_id(path)
        except MediaError as error:
            plan.failed[path] = str(error)
            continue
        key = spec.cache_key(source)
        plan.given.setdefault(key, []).append(path)
        reason = None if retry_failed else cache.failure(key)
        if _is_sound(cache, key):
            plan.reused.add(key)
        elif reason is not None:
            plan.failed[path] = f"{reason} (failed before; {RETRY})"
        else:
            plan.tasks[key] = _Task(root=cache.entry_path(key).parent.parent, key=key, source=source, spec=spec)
    return plan


def _is_sound(cache: ClipCache, key: str) -> bool:
    entry = cache.find(key)
    if entry is None:
        return False
    try:
        cache.read_metadata(entry)
    except MediaError:
        return False
    return True


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _build_one(task: _Task) -> int | str:
    """Bytes written, or why nothing was."""
    try:
        clip = decode.decode(task.source.path, task.spec)
    except MediaError as error:
        return str(error)
    return ClipCache(task.root).write(task.key, clip, task.spec, task.source).stat().st_size
