# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Notes that a clip is being made, so that builders that share a cache rarely make one twice.

A claim is advice, not a lock: entries appear by an atomic rename, so two that ignore each other waste time and
nothing else. `.<key>.claim` lies beside where the entry will be, and is touched while the work goes on. It counts no
more once its process has died, or has not touched it for a while. It is a symbolic link that points to the mark of
its process and to no file: so it appears with its content, or not at all.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from verl.media.writers import has_died, mark

STALE_SECONDS = 60.0
TOUCH_SECONDS = 10.0


@contextmanager
def claim(entry: Path) -> Iterator[bool]:
    """Claim the work on the file `entry` while the context lasts; False if another process is at it."""
    path = entry.with_name(f".{entry.stem}.claim")
    mine = mark()
    if not _take(path, mine):
        yield False
        return
    done = threading.Event()
    toucher = threading.Thread(target=_keep_touching, args=(path, done), daemon=True)
    toucher.start()
    try:
        yield True
    finally:
        done.set()
        toucher.join()
        if _owner(path) == mine:
            path.unlink(missing_ok=True)


def _take(path: Path, mine: str) -> bool:
    try:
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(mine)
    except FileExistsError:
        return _take_over(path, mine)
    except OSError:  # a full disk or a strange file system: the work itself will tell
        return True
    return True


def _take_over(path: Path, mine: str) -> bool:
    """Take the claim at `path` if nobody stands behind it. Its age is measured by the file system's own clock."""
    scratch = path.with_name(f"{path.name}.{mine}.tmp")
    try:
        scratch.symlink_to(mine)
        owner, age = _owner(path), scratch.lstat().st_mtime - path.lstat().st_mtime
        if not has_died(owner) and age < STALE_SECONDS:
            return False
        scratch.replace(path)
    except FileNotFoundError:
        return False  # released this moment: the entry is there, or will be asked for again
    except OSError:
        return True
    finally:
        scratch.unlink(missing_ok=True)
    return True


def _owner(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""


def _keep_touching(path: Path, done: threading.Event) -> None:
    while not done.wait(TOUCH_SECONDS):
        try:
            os.utime(path, follow_symlinks=False)
        except OSError:
            continue
