# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Nothing outlives a driver that owns its Ray.

WORKAROUND(ray 2.60): when a driver is killed, Ray's own agents notice at once and then wait a minute for a control
store that is gone (`report_raylet_error_logs` in ray/_private/process_watcher.py). A small process of ours waits for
the driver's end and kills what carries its mark. To be dropped when test_failures passes without it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

MARK = "VERL_RUN"
GRACE_SECONDS = 3.0  # for those who end by themselves
LOOK_SECONDS = 2.0  # between looks at who is there

Family: TypeAlias = dict[int, int]  # process -> time at which it started


def watch_over() -> None:
    """Mark what this process will start, and have it ended with this process. Call it before Ray starts."""
    os.environ[MARK] = f"{os.getpid()}-{time.time_ns()}"
    arguments = [sys.executable, "-S", __file__, str(os.getpid()), os.environ[MARK]]
    unmarked = {name: value for name, value in os.environ.items() if name != MARK}
    subprocess.Popen(arguments, env=unmarked, stdin=subprocess.DEVNULL, start_new_session=True)


def reap(driver: int, mark: str) -> None:
    """Wait for the end of `driver`; then end every process that carries `mark`, and those that they had started."""
    seen: Family = {}
    with suppress(ProcessLookupError):
        handle = os.pidfd_open(driver)
        while not select.select([handle], [], [], LOOK_SECONDS)[0]:  # readable once the process has ended
            seen = family(mark, seen)
    seen = family(mark, seen)
    time.sleep(GRACE_SECONDS)
    while seen := family(mark, seen):
        for process in seen:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)


def family(mark: str, seen: Family) -> Family:
    """Living processes that carry `mark` or were `seen` before, with all of their children.

    A process that writes its own title may wipe its environment, mark included: it is known by its parent, and by the
    time at which it started when the parent is gone.
    """
    living = {int(folder.name): status for folder in Path("/proc").glob("[0-9]*") if (status := _status(folder))}
    members = {pid for pid, (_, start) in living.items() if seen.get(pid) == start or _carries(pid, mark)}
    while more := {pid for pid, (parent, _) in living.items() if parent in members} - members:
        members |= more
    return {pid: living[pid][1] for pid in members}


def _status(folder: Path) -> tuple[int, int] | None:
    """Parent and start time of a living process."""
    try:
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None  # gone
    return None if fields[0] == "Z" else (int(fields[1]), int(fields[19]))


def _carries(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # gone, or not ours


if __name__ == "__main__":
    reap(int(sys.argv[1]), sys.argv[2])
