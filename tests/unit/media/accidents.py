# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Tasks for a crew that go well, raise, crash or hang, as their name says."""

import os
import signal
import time


def act(task: str) -> str:
    if task == "raise":
        raise RuntimeError("on purpose")
    if task == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "leave":
        os._exit(3)
    if task == "hang":
        time.sleep(600)
    return task.upper()


def prepare() -> None:
    return None


def fail_to_prepare() -> None:
    os._exit(4)
