# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the ranks of policy and critic do alike: meet, hold pixels for a step, save, load, be watched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from verl.checkpoint import sharded
from verl.fsdp.mesh import sequence_group
from verl.fsdp.network import Learner, Network
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache
from verl.media.source import ClipReader
from verl.models.adapter import load_adapter
from verl.tracking.metrics import Max, Metrics
from verl.types import MediaRef
from verl.workers import process

PATCH_CACHE_BYTES = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """Where the model family's files are."""

    model_path: str
    tokenizer_path: str | None
    chat_template: str | None
    trust_remote_code: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RankOrder:
    """What every rank is told; the same for all of a group but for the rank."""

    rank: int
    world_size: int
    device: str  # "cpu" | "cuda"
    num_threads: int  # of this process, on a CPU
    seed: int
    timeout_seconds: float  # of a collective operation
    source: ModelSource
    shared_prompt: bool
    ulysses_size: int  # neighbours that share rows


class Rank:
    """A process that trains a model together with others. Collective methods are called on all ranks at once."""

    def __init__(self, role: str, order: RankOrder) -> None:
        process.configure_logging(f"{role} {order.rank}")
        process.seed_everything(order.seed + order.rank)
        if order.device == "cpu":
            torch.set_num_threads(order.num_threads)
        self._seat = process.Seat(rank=order.rank, world_size=order.world_size, device=order.device)
        self._network: Network
        self._learner: Learner

    def rendezvous(self) -> tuple[str, int]:
        """Where the ranks can meet, asked of rank 0."""
        return process.node_address()

    def read_ahead(self, media: Sequence[MediaRef]) -> None:
        """Begin to read these clips, in a thread; replaces what was begun before."""
        self._reader.prefetch(media)

    def end_step(self) -> Metrics:
        """Forget the step's pixels."""
        metrics = self._patches.end_step()
        metrics["perf/cpu_memory_used_gb"] = Max(process.resident_gib())
        if self._seat.device == "cuda":
            metrics["perf/max_memory_allocated_gb"] = Max(torch.cuda.max_memory_allocated() / 2**30)
            metrics["perf/max_memory_reserved_gb"] = Max(torch.cuda.max_memory_reserved() / 2**30)
        return metrics

    def save(self, folder: Path, model_only: bool) -> None:
        """This rank's part of a checkpoint, from the memory it is in: engines may be awake, and need the device.

        An optimizer that never stepped makes its state here, which must be where it steps.
        """
        learner = self._learner
        with nullcontext() if learner.optimizer.state else learner.state_present():
            sharded.save(folder, self._trained(), model_only=model_only)
        dist.barrier()

    def load(self, folder: Path) -> None:
        """The inverse of `save`."""
        with self._learner.state_present():
            sharded.load(folder, self._trained())

    def fingerprint(self) -> dict[str, str]:
        """A digest of every weight, optimizer tensor, schedule and random state of this rank: equal means bitwise."""
        with self._learner.state_present():
            return {
                name: hashlib.blake2b(value, digest_size=16).hexdigest()
                for name, value in sharded.local_state(self._trained())
            }

    @ray.method(concurrency_group="watch")
    def watch(self) -> None:
        """Return only when the process ends."""
        process.wait_for_ever()

    def _meet(self, order: RankOrder, rendezvous: tuple[str, int]) -> tuple[Packer, DeviceMesh]:
        """Join the other ranks; the door for rows, and the mesh to build models on."""
        process.join_process_group(self._seat, rendezvous, order.timeout_seconds)
        adapter = load_adapter(
            order.source.model_path,
            tokenizer_path=order.source.tokenizer_path,
            chat_template=order.source.chat_template,
            trust_remote_code=order.source.trust_remote_code,
        )
        self._reader = ClipReader()
        self._patches = PatchCache(self._reader, adapter, PATCH_CACHE_BYTES)
        mesh = init_device_mesh(order.device, (order.world_size,), mesh_dim_names=("dp",))
        group = sequence_group(mesh, order.ulysses_size)
        return Packer(adapter, self._patches, order.shared_prompt, group), mesh

    def _trained(self) -> sharded.Trained:
        return sharded.Trained(self._network.model, self._learner.optimizer, self._learner.schedule)
