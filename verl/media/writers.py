# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Names for unfinished files that say who writes them, so that what a killed process left is known from live work."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

CLAIM = re.compile(r"\.[0-9a-f]{32}\.claim")
UNFINISHED = re.compile(r"\..+\.(?P<mark>[^.]+\.\d+\.[0-9a-f]{8})\.tmp")
OLD_SECONDS = 24 * 3600.0  # a file whose writer cannot be asked is left alone for so long


@cache
def machine() -> str:
    """Where process ids mean the same: one boot of one kernel, one process namespace. 12 hex digits."""
    place = [platform.node()]
    with suppress(OSError):  # where the system does not tell, the name has to do
        place += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.blake2b(" ".join(place).encode(), digest_size=6).hexdigest()


def mark() -> str:
    """Machine, process and a number that no other call returns, with dots between."""
    return f"{machine()}.{os.getpid()}.{uuid.uuid4().hex[:8]}"


def has_died(writer: str) -> bool:
    """Whether the process that made the mark `writer` has certainly ended. False where that cannot be known."""
    where, _, rest = writer.partition(".")
    pid = rest.partition(".")[0]
    if where != machine() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _is_zombie(pid)


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return False


def sweep(folders: Iterable[Path]) -> int:
    """Remove what dead writers left in `folders`, and how many files that was. Files of live writers stay."""
    return sum(_remove(Path(file.path)) for folder in folders for file in _hidden(folder) if _is_left(file))


def _hidden(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as files:
            return [file for file in files if file.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_left(file: os.DirEntry[str]) -> bool:
    unfinished = UNFINISHED.fullmatch(file.name)
    try:
        if unfinished:
            writer = unfinished["mark"]
        elif CLAIM.fullmatch(file.name):
            writer = str(Path(file.path).readlink())
        else:
            return False
        return has_died(writer) or file.stat(follow_symlinks=False).st_mtime < time.time() - OLD_SECONDS
    except OSError:
        return False


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:  # another builder was faster, or it is not ours to remove
        return False
    return True
