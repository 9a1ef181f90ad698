# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What one process of a builder does: one clip after another, each from its file into the cache."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from verl.errors import MediaError, WorkerError
from verl.media import decode
from verl.media.cache import ClipCache
from verl.media.claims import claim
from verl.media.crew import OVERWEIGHT, UNKNOWN
from verl.media.spec import source_id
from verl.types import SourceId, VideoClip, VideoSpec

PRELOAD = ("torch", "verl.media.pyav_decoder")  # what takes long to import and can be shared
LOOK_SECONDS = 0.5
FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One clip to make."""

    root: Path
    key: str
    source: SourceId
    spec: VideoSpec
    codec: str
    keep_free_bytes: int
    retry_failed: bool


@dataclass(frozen=True, slots=True)
class Built:
    """The entry is written."""

    bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    """The entry is there; another builder wrote it."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another process is at it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The video cannot be read; `reason` does not repeat its path."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoRoom:
    """The disk is too full for the clip."""

    clip_bytes: int
    free_bytes: int


Outcome: TypeAlias = Built | Found | Busy | Failed | NoRoom


def make(task: Task) -> Outcome:
    """Make the entry of `task`, unless it is there or being made."""
    if not task.root.is_dir():
        raise WorkerError(f"{platform.node()} does not see {task.root}; the cache must be where all machines see it")
    cache = ClipCache(task.root, task.codec)
    with claim(cache.entry_path(task.key)) as is_mine:
        if not is_mine:
            return Busy()
        if is_sound(cache, task.key):
            return Found()
        known = None if task.retry_failed else cache.failure(task.key)
        return _make(task, cache) if known is None else Failed(without_path(known, task.source.path))


def is_sound(cache: ClipCache, key: str) -> bool:
    """Whether the entry of `key` exists and is whole as far as its header and size tell."""
    entry = cache.find(key)
    if entry is None:
        return False
    try:
        cache.read_metadata(entry)
    except MediaError:
        return False
    return True


def without_path(reason: str, path: str) -> str:
    """The part of a message that may be the same for other files."""
    return reason.removeprefix(f"{path}: ")


def _make(task: Task, cache: ClipCache) -> Outcome:
    clip: VideoClip | None = None
    try:
        _check_unchanged(task)
        try:
            clip = decode.decode(task.source.path, task.spec)
        except MediaError as error:
            _check_unchanged(task)
            cache.record_failure(task.key, task.source, str(error))
            raise
        _check_unchanged(task)
        free = shutil.disk_usage(task.root).free
        if free - clip.frames.nbytes < task.keep_free_bytes:
            return NoRoom(clip.frames.nbytes, free)
        return Built(cache.write(task.key, clip, task.spec, task.source).stat().st_size)
    except MediaError as error:
        return Failed(without_path(str(error), task.source.path))
    except OSError as error:
        if error.errno not in FULL:
            raise
        return NoRoom(0 if clip is None else clip.frames.nbytes, shutil.disk_usage(task.root).free)


def _check_unchanged(task: Task) -> None:
    """Pixels of a new file must not appear under the key of the old one."""
    if source_id(task.source.path) != task.source:
        raise MediaError(f"{task.source.path}: changed while the cache was being built; build again")


def settle(memory_limit_bytes: int) -> None:
    """Prepare this process: one thread for the work, one that ends it when it grows too large or loses its parent."""
    import torch

    torch.set_num_threads(1)
    threading.Thread(target=_watch, args=(memory_limit_bytes, os.getppid()), daemon=True).start()


def _watch(limit: int, parent: int) -> None:
    while os.getppid() == parent:
        if resident_bytes() > limit:
            os._exit(OVERWEIGHT)
        time.sleep(LOOK_SECONDS)
    os._exit(UNKNOWN)


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
