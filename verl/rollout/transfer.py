# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Sending the trainer's weights to the engines, over the backend that fits the machine.

Importing this imports vLLM, seconds and 140 MB in every trainer rank: do it while the engines start.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import torch
from vllm.distributed.weight_transfer import (
    ParamMeta,
    RayVLLMWeightSyncClient,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer import WeightSource as VllmWeightSource
from vllm.distributed.weight_transfer.base import TrainerInitInfo

from verl.errors import ConfigError
from verl.rollout import shm
from verl.rollout.options import TransferSettings

WeightMeta: TypeAlias = tuple[str, torch.dtype, tuple[int, ...]]  # name as transformers has it, dtype, full shape


class WeightSource(Protocol):
    """Full tensors of a model that may be sharded. Iterating is collective: every rank, the same order."""

    def metadata(self) -> Sequence[WeightMeta]:
        """What iterating will give, in order; transfers nothing."""

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """A new pass. Tensors need only live until the next one is asked for."""


class Sender:
    """One trainer rank's end of the transfer. Every rank has one, and all of them send at the same time."""

    def __init__(self, engine: TrainerWeightTransferEngine[Any], clients: _Clients) -> None:
        self._engine = engine
        self._clients = clients

    def send(self, version: int) -> None:
        """Send all weights under `version`. The engines must be between wake_weights and wake_cache."""
        self._clients.version = str(version)
        self._engine.send_weights()

    def close(self) -> None:
        """Give back buffers and communicators."""
        self._engine.shutdown()


def make_sender(settings: TransferSettings, clients: Sequence[VLLMWeightSyncClient], source: WeightSource) -> Sender:
    """Meet the engines. Call it on every trainer rank; only rank 0 uses `clients`, one per engine."""
    shm.register()
    everyone = _Clients(clients, settings.engine_ranks)
    # vLLM's NCCL sender holds tensors until a buffer is full; the others copy each before they take the next.
    wire = _OnTheWire(source, getattr(torch, settings.wire_dtype), copy=settings.backend == "nccl")
    largest = max(math.prod(meta.shape) * meta.dtype.itemsize for meta in wire.metadata())
    info = _init_info(replace(settings, bucket_bytes=max(settings.bucket_bytes, largest)), len(clients))
    return Sender(WeightTransferTrainerFactory.trainer_init(info, client=everyone, source=wire), everyone)


def ray_clients(handles: Sequence[Any]) -> list[VLLMWeightSyncClient]:
    """One client per Ray actor that has the weight methods of `VllmServer`."""
    return [RayVLLMWeightSyncClient(handle) for handle in handles]


def _init_info(settings: TransferSettings, num_engines: int) -> TrainerInitInfo:
    if settings.backend == "shm":
        return shm.ShmSenderInfo(rank=settings.rank, bucket_bytes=settings.bucket_bytes)
    if settings.backend == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        return IPCTrainerInitInfo(rank=settings.rank, packed=True, packed_buffer_size_bytes=settings.bucket_bytes)
    if settings.backend == "nccl":
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        return NCCLTrainerInitInfo(
            rank=settings.rank,
            master_address=settings.master_address,
            master_port=settings.master_port,
            world_size=1 + num_engines * settings.engine_ranks,
        )
    raise ConfigError(f"weight transfer {settings.backend!r} is none of shm, ipc, nccl; resolve 'auto' first")


class _OnTheWire(VllmWeightSource):
    """A source in vLLM's words, its floating-point tensors no wider than the engine's."""

    def __init__(self, source: WeightSource, dtype: torch.dtype, *, copy: bool) -> None:
        self._source = source
        self._dtype = dtype
        self._copy = copy

    def metadata(self) -> list[ParamMeta]:
        """See vLLM's WeightSource."""
        return [ParamMeta(name, self._wire(dtype), tuple(shape)) for name, dtype, shape in self._source.metadata()]

    @torch.no_grad()
    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in self._source:
            yield name, tensor.detach().to(self._wire(tensor.dtype), copy=self._copy)

    def _wire(self, dtype: torch.dtype) -> torch.dtype:
        return self._dtype if dtype.is_floating_point and dtype.itemsize > self._dtype.itemsize else dtype


class _Clients:
    """All engines as one client of vLLM's weight-sync protocol. Calls go to all of them at once."""

    def __init__(self, clients: Sequence[VLLMWeightSyncClient], engine_ranks: int) -> None:
        self._clients = clients
        self._engine_ranks = engine_ranks
        self.version = "0"

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Each engine gets its own ranks in a process group: vLLM's client would give all the same."""

        def init(place: int, client: VLLMWeightSyncClient) -> None:
            info = dict(init_info)
            if "rank_offset" in info:
                info["rank_offset"] += place * self._engine_ranks
            client.init_weight_transfer_engine(info)

        self._each(init)

    def start_weight_update(self) -> None:
        """See vLLM's VLLMWeightSyncClient."""
        self._each(lambda _, client: client.start_weight_update())

    def update_weights(self, update_info: Any) -> None:
        """See vLLM's VLLMWeightSyncClient."""
        self._each(lambda _, client: client.update_weights(update_info))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """See vLLM's VLLMWeightSyncClient. vLLM's own senders give no version."""
        version = weight_version or self.version
        self._each(lambda _, client: client.finish_weight_update(version))

    def _each(self, call: Callable[[int, VLLMWeightSyncClient], None]) -> None:
        with ThreadPoolExecutor(max_workers=max(len(self._clients), 1)) as threads:
            list(threads.map(call, range(len(self._clients)), self._clients))
