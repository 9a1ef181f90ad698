# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Gloo process groups for tests. Imports torch alone: ranks get the rest from a process that has it already."""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

PRELOADED = ["tests.policy_world", "transformers.models.qwen3_vl.modeling_qwen3_vl", "verl.models.qwen3_vl"]
PATIENCE = timedelta(seconds=120)  # that a rank waits for the others: those that never come are an error, not a hang


def run_ranks(function: Callable[..., None], world_size: int, *arguments: Any) -> None:
    """Call `function(rank, *arguments)` in gloo processes; any failure is raised here."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    multiprocessing.set_forkserver_preload(PRELOADED)
    # Each rank is a copy of a server that is started once and never has a thread: importing all that takes seconds.
    mp.start_processes(_rank, (function, world_size, port, arguments), nprocs=world_size, start_method="forkserver")


def one_rank(directory: Path) -> None:
    """Make this process a process group of its own, if it is none yet."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", init_method=f"file://{directory}/rendezvous", rank=0, world_size=1)


def _rank(rank: int, function: Callable[..., None], world_size: int, port: int, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=world_size, timeout=PATIENCE)
    try:
        function(rank, *arguments)
    finally:
        dist.destroy_process_group()
