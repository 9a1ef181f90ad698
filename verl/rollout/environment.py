# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What must be in an engine's process environment before vLLM is imported there."""

from __future__ import annotations

from verl.errors import ConfigError

BACKENDS = ("shm", "ipc", "nccl")


def resolve_backend(backend: str, device: str, *, colocated: bool = True) -> str:
    """The weight-transfer backend that "auto" stands for, or `backend` itself if it can work here.

    `shm`: POSIX shared memory, one node. `ipc`: CUDA IPC, trainer and engine on the same GPUs. `nccl`: a
    broadcast between different GPUs.
    """
    if backend == "auto":
        if device == "cpu":
            return "shm"
        return "ipc" if colocated else "nccl"
    if backend not in BACKENDS:
        raise ConfigError(f"unknown weight_transfer {backend!r}; use auto, {', '.join(BACKENDS)}")
    if device == "cpu" and backend != "shm":
        raise ConfigError(f"weight_transfer={backend} needs CUDA; on a CPU use shm or auto")
    if backend == "ipc" and not colocated:
        raise ConfigError("weight_transfer=ipc needs colocated=true; between separate GPUs use nccl or auto")
    if backend == "nccl" and colocated:
        raise ConfigError("weight_transfer=nccl cannot join two processes on one GPU; colocated wants ipc or auto")
    return backend


def engine_environment(device: str, backend: str = "auto", *, num_threads: int = 1) -> dict[str, str]:
    """Environment variables for the process that runs a `VllmServer`; its engine processes inherit them."""
    environment = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR" if device == "cpu" else "WARNING",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if device == "cpu":
        environment |= {
            # Does not put the engine into the server's process, but saves one process of the two behind it.
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            # The sampler's torch.compile costs three seconds at the first request and gains nothing on a CPU.
            "TORCHDYNAMO_DISABLE": "1",
            # "auto" would bind every server to core 0.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(num_threads),
        }
    elif resolve_backend(backend, device, colocated=backend != "nccl") == "ipc":
        # CUDA IPC handles are not msgpack: vLLM pickles them for its engine process, if it may.
        environment["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
    return environment
