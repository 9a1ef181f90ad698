# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What every worker process does alike: say where it is, stay watched, end with its parents."""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import ray
import torch
import torch.distributed as dist


def node_address() -> tuple[str, int]:
    """This node's address and a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return ray.util.get_node_ip_address(), int(probe.getsockname()[1])


def device_ids() -> list[str]:
    """The GPUs that Ray gave to this process."""
    return [str(gpu) for gpu in ray.get_gpu_ids()]


def wait_for_ever() -> None:
    """A sentinel's body: returns only when the process ends."""
    threading.Event().wait()


def configure_logging(name: str) -> None:
    """One line per message, the process's name in front."""
    logging.basicConfig(level=logging.INFO, format=f"[{name}] %(levelname)s %(name)s: %(message)s", force=True)
    for noisy in ("httpx", "urllib3", "filelock", "transformers", "torch", "PIL", "vllm"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


def seed_everything(seed: int) -> None:
    """Same seed, same run."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One process among those that compute together."""

    rank: int
    world_size: int
    device: str  # "cpu" | "cuda"


def join_process_group(seat: Seat, rendezvous: tuple[str, int], timeout_seconds: float) -> None:
    """Join the policy's process group: gloo on a CPU; on CUDA nccl, and gloo for what lives in host memory."""
    address, port = rendezvous
    os.environ |= {"MASTER_ADDR": address, "MASTER_PORT": str(port)}
    if seat.device == "cuda":
        torch.cuda.set_device(0)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if seat.device == "cuda" else "gloo",
        rank=seat.rank,
        world_size=seat.world_size,
        timeout=timedelta(seconds=timeout_seconds),
    )


def resident_gib() -> float:
    """Memory of this process, in GiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30
