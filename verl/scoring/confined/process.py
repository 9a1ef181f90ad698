# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Functions that may hang, crash or eat memory, called in a process that is killed when it does."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from verl.errors import WorkerError

START_SECONDS = 120.0  # for the first process to import what it needs; not part of any limit
GRACE_SECONDS = 0.2  # the worker's own alarm comes first
MAX_REPLY_BYTES = 2**24


class Failure(Enum):
    """Why there is no answer."""

    TIMEOUT = "timeout"
    CRASH = "crash"  # out of memory, segmentation fault, or it ended itself
    ERROR = "error"  # it raised


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a worker may use. A sealed one can compute and nothing else, and serves one request only."""

    memory_mib: int
    is_sealed: bool = False
    warm_ups: Sequence[Any] = ()  # requests answered once before the first worker, to load what loads late


class Confined:
    """Calls of one function "module:name" from JSON to JSON in a worker process; one call at a time, thread-safe.

    Processes start at the first call, end with this one, and are never shared with a forked child.
    """

    def __init__(self, function: str, limits: Limits) -> None:
        self._function, self._limits = function, limits
        self._lock = threading.Lock()
        self._owner = 0
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._worker: tuple[socket.socket, int] | None = None

    def call(self, value: Any, seconds: float) -> Any | Failure:
        """The function's answer, or why there is none after at most `seconds` and a little.

        Raises WorkerError when no worker can be started: that is never the fault of `value`.
        """
        data = json.dumps({"value": value, "seconds": seconds}).encode()
        with self._lock:
            channel, _ = self._hire()
            start = time.monotonic()
            reply = self._exchange(channel, len(data).to_bytes(4, "big") + data, start + seconds + GRACE_SECONDS)
            if reply is None or self._limits.is_sealed:
                self._dismiss()
        if reply is None:
            return Failure.TIMEOUT if time.monotonic() - start >= seconds - 0.01 else Failure.CRASH
        return reply.get("value", Failure.ERROR)

    def close(self) -> None:
        """End the processes; the next call starts new ones."""
        with self._lock:
            if self._owner == os.getpid():
                self._close()

    def _hire(self) -> tuple[socket.socket, int]:
        if self._owner != os.getpid():
            self._zygote = self._control = self._worker = None  # they belong to the process this one was forked from
            self._owner = os.getpid()
        for _ in range(2):
            if self._worker is not None:
                return self._worker
            control = self._control or self._start()
            with contextlib.suppress(OSError):
                _, descriptors, _, _ = socket.recv_fds(control, 1, 2)
                if len(descriptors) == 2:
                    self._worker = socket.socket(fileno=descriptors[0]), descriptors[1]
                    continue
            self._close()
        if self._worker is None:
            raise WorkerError(
                f"no process for {self._function} started within {START_SECONDS:.0f} s; its own message is on stderr"
            )
        return self._worker

    def _start(self) -> socket.socket:
        control, theirs = socket.socketpair()
        control.settimeout(START_SECONDS)
        limits = json.dumps(asdict(self._limits))
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "verl.scoring.confined.zygote", str(theirs.fileno()), self._function, limits],
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        atexit.unregister(self.close)
        atexit.register(self.close)
        self._control = control
        return control

    def _exchange(self, channel: socket.socket, request: bytes, deadline: float) -> dict[str, Any] | None:
        """The reply, or None when it does not come or is none."""
        try:
            channel.settimeout(max(0.01, deadline - time.monotonic()))
            channel.sendall(request)
            head = _receive(channel, 4, deadline)
            size = int.from_bytes(head, "big")
            reply = json.loads(_receive(channel, size, deadline)) if size <= MAX_REPLY_BYTES else None
        except (OSError, EOFError, ValueError, RecursionError):
            return None
        return reply if isinstance(reply, dict) and reply.keys() & {"value", "error"} else None

    def _dismiss(self) -> None:
        if self._worker is not None:
            channel, handle = self._worker
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            channel.close()
            os.close(handle)
            self._worker = None

    def _close(self) -> None:
        self._dismiss()
        if self._control is not None:
            self._control.close()
        if self._zygote is not None:
            self._zygote.kill()
            self._zygote.wait()
        self._zygote = self._control = None


def _environment() -> dict[str, str]:
    """What Python needs to find its modules; tokens and passwords of this process stay here."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PYTHONHOME") if name in os.environ}
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)  # noqa: PTH100 -- zip files too
    return {**kept, "PATH": os.defpath, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def _receive(channel: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        channel.settimeout(max(0.001, deadline - time.monotonic()))
        more = channel.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
