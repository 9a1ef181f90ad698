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

MARK = "VERL_RUN"
GRACE_SECONDS = 3.0  # for those who end by themselves


def watch_over() -> None:
    """Mark what this process will start, and have it ended with this process. Call it before Ray starts."""
    os.environ[MARK] = f"{os.getpid()}-{time.time_ns()}"
    arguments = [sys.executable, "-S", __file__, str(os.getpid()), os.environ[MARK]]
    unmarked = {name: value for name, value in os.environ.items() if name != MARK}
    subprocess.Popen(arguments, env=unmarked, stdin=subprocess.DEVNULL, start_new_session=True)


def reap(driver: int, mark: str) -> None:
    """Wait for the end of `driver`; then end every process that carries `mark`."""
    with suppress(ProcessLookupError):
        select.select([os.pidfd_open(driver)], [], [])  # readable once the process has ended
    time.sleep(GRACE_SECONDS)
    while left := marked(mark):
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)


def marked(mark: str) -> list[int]:
    """Living processes with `mark` in their environment."""
    wanted = f"{MARK}={mark}".encode()
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*") if _carries(folder, wanted)]


def _carries(folder: Path, wanted: bytes) -> bool:
    try:
        is_zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        return not is_zombie and wanted in (folder / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # gone, or not ours


if __name__ == "__main__":
    reap(int(sys.argv[1]), sys.argv[2])
