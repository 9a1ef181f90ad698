# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Gloo process groups for tests. Imports torch alone, so that a rank starts fast."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run_ranks(function: Callable[..., None], world_size: int, *arguments: Any) -> None:
    """Call `function(rank, *arguments)` in gloo processes; any failure is raised here."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    mp.spawn(_rank, (function, world_size, port, arguments), nprocs=world_size)


def one_rank(directory: Path) -> None:
    """Make this process a process group of its own, if it is none yet."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", init_method=f"file://{directory}/rendezvous", rank=0, world_size=1)


def _rank(rank: int, function: Callable[..., None], world_size: int, port: int, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world_size)
    try:
        function(rank, *arguments)
    finally:
        dist.destroy_process_group()
