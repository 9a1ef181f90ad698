# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Several engines on one machine: one process and one shard each, on devices of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import torch

from eval.engines import EngineSettings
from eval.options import Shard
from verl.errors import ConfigError, WorkerError

GRACE_SECONDS, END_SECONDS = 5.0, 30.0  # for engines to end by themselves, and once they are told to


def devices(num_engines: int, engine: EngineSettings) -> list[str]:
    """CUDA_VISIBLE_DEVICES of each engine; empty strings on a CPU. Raises ConfigError for too few devices."""
    if engine.device != "cuda":
        return [""] * num_engines
    per_engine = engine.tensor_parallel_size
    visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    if not visible:
        visible = [str(number) for number in range(torch.cuda.device_count())]
    if len(visible) < num_engines * per_engine:
        raise ConfigError(f"--engines {num_engines} of {per_engine} device(s) each: {len(visible)} are visible")
    return [",".join(visible[at * per_engine : (at + 1) * per_engine]) for at in range(num_engines)]


def split(shard: Shard, num_engines: int) -> list[Shard]:
    """The shards that together hold what `shard` holds."""
    return [
        Shard(index=shard.index + engine * shard.count, count=shard.count * num_engines)
        for engine in range(num_engines)
    ]


def run_fleet(arguments: Sequence[str], shard: Shard, visible: Sequence[str]) -> None:
    """`python -m eval run` once per engine. Raises WorkerError when one of them fails; the others finish."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for one, cuda in zip(split(shard, len(visible)), visible, strict=True):
            command = [sys.executable, "-m", "eval", "run", *arguments, "--engines", "1"]
            command += ["--shard", f"{one.index + 1}/{one.count}", "--no_report"]
            processes.append(subprocess.Popen(command, env=_environment(cuda, len(visible))))
        failed = [number for number, process in enumerate(processes, start=1) if process.wait() != 0]
    finally:
        _end(processes)
    if failed:
        raise WorkerError(
            f"engine(s) {failed} of {len(processes)} failed; their log is above. What is answered is kept: start the"
            " same command again"
        )


def _environment(cuda: str, num_engines: int) -> dict[str, str]:
    """Of one engine's process. Threads of several engines that wait for each other on the same cores hardly move."""
    if cuda:
        return os.environ | {"CUDA_VISIBLE_DEVICES": cuda}
    return {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // num_engines, 1))} | os.environ


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """What still runs was interrupted by the terminal, as this process was, or has to be told."""
    told = subprocess.Popen.terminate, subprocess.Popen.kill
    for end, seconds in zip((None, *told), (GRACE_SECONDS, END_SECONDS, None), strict=True):
        alive = [process for process in processes if process.poll() is None]
        for process in alive:
            if end is not None:
                end(process)
        deadline = None if seconds is None else time.monotonic() + seconds
        for process in alive:
            with suppress(subprocess.TimeoutExpired):
                process.wait(None if deadline is None else max(deadline - time.monotonic(), 0.0))
