# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The other side of confined.process: imports once what scoring needs, then forks a worker whenever one is wanted.

    python -m verl.scoring.confined.zygote <socket> <module:function> <limits as JSON>

Over the socket go, for each worker, a socket to talk to it and a descriptor to kill it by. Messages are JSON behind
four bytes of length. A fork takes milliseconds, so a killed worker is soon replaced.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from verl.scoring.confined.seal import seal

MIB = 2**20


def main() -> None:
    """Fork workers, one at a time, until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    control = socket.socket(fileno=int(sys.argv[1]))
    module, _, name = sys.argv[2].partition(":")
    function = getattr(importlib.import_module(module), name)
    limits = json.loads(sys.argv[3])
    for warm_up in limits["warm_ups"]:
        function(warm_up)
    while _employ(control, function, limits):
        pass


def _employ(control: socket.socket, function: Callable[[Any], Any], limits: dict[str, Any]) -> bool:
    """One worker from birth to death; False when nobody wants it."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        control.close()
        ours.close()
        _work(theirs.detach(), function, limits)
        os._exit(0)
    theirs.close()
    handle = os.pidfd_open(pid)
    try:
        socket.send_fds(control, [b"w"], [ours.fileno(), handle])
        is_wanted = True
    except OSError:
        is_wanted = False
    ours.close()
    os.close(handle)
    os.waitpid(pid, 0)
    return is_wanted


def _work(channel: int, function: Callable[[Any], Any], limits: dict[str, Any]) -> None:
    """Answer requests until there are no more, or only one of them when sealed."""
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_mib"] * MIB,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    while (request := _receive(channel)) is not None:
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])  # SIGALRM ends the process, whatever it is doing
        if limits["is_sealed"]:
            _shut_in(channel)
        try:
            reply = {"value": function(request["value"])}
        except Exception as error:  # noqa: BLE001 -- the border of the process
            reply = {"error": f"{type(error).__name__}: {error}"[:500]}
        data = json.dumps(reply).encode()
        if not limits["is_sealed"]:
            signal.setitimer(signal.ITIMER_REAL, 0)
        _write(channel, len(data).to_bytes(4, "big") + data)
        if limits["is_sealed"]:
            return


def _shut_in(channel: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, channel)
    os.closerange(channel + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    seal()


def _receive(channel: int) -> dict[str, Any] | None:
    head = _read(channel, 4)
    return json.loads(_read(channel, int.from_bytes(head, "big"))) if len(head) == 4 else None


def _read(channel: int, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := os.read(channel, size - len(data))):
        data += more
    return data


def _write(channel: int, data: bytes) -> None:
    while data:
        data = data[os.write(channel, data) :]


if __name__ == "__main__":
    main()
