# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""An engine's processes end with their server, also when the server is killed.

WORKAROUND(vllm 0.32): the engine process waits for messages on a socket and never looks whether the server
that started it is still there, so a server killed by SIGKILL (out of memory, a Ray actor killed) leaves a
process that holds the model and its GPU memory for ever. One killed in its first moments, before the two
have shaken hands, vLLM ends by itself after five minutes. To be dropped when the test of orphans in
tests/integration/test_rollout_engine.py passes without it.
"""

from __future__ import annotations

import os
import select
import signal
import threading

SERVER_PID = "VERL_ROLLOUT_SERVER_PID"


def announce() -> None:
    """Tell the processes that this one will start whom to follow."""
    os.environ[SERVER_PID] = str(os.getpid())


def follow() -> None:
    """End this process, by SIGKILL, within moments of the end of the process that called `announce`.

    Called in vLLM's worker, which with one rank is the engine process itself. With more ranks the workers
    are its children, and it ends when one of them does.
    """
    server = int(os.environ.get(SERVER_PID, "0"))
    if server and server != os.getpid():
        threading.Thread(target=_die_with, args=(server,), daemon=True, name="verl-lifeline").start()


def _die_with(server: int) -> None:
    try:
        handle = os.pidfd_open(server)
    except ProcessLookupError:
        pass  # it died while this process was starting
    else:
        select.select([handle], [], [])  # readable once the process has ended
    os.kill(os.getpid(), signal.SIGKILL)
