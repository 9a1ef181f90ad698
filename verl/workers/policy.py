# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One rank of the policy: the process around `verl.fsdp`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from verl.algorithms.contract import LossSettings
from verl.checkpoint import layout, sharded
from verl.errors import WorkerError
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache
from verl.fsdp.policy import FrozenPolicy, Policy, PolicySettings, TrainingSettings
from verl.media.source import ClipReader
from verl.models.adapter import load_adapter
from verl.rollout.options import TransferSettings
from verl.tracking.metrics import Max, Metrics
from verl.types import Experience, Floats, Trajectory
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
class PolicyOrder:
    """All that a policy rank is told; the same for every rank but for the rank."""

    rank: int
    world_size: int
    device: str  # "cpu" | "cuda"
    num_threads: int  # of this process, on a CPU
    seed: int
    timeout_seconds: float  # of a collective operation
    source: ModelSource
    policy: PolicySettings
    training: TrainingSettings
    reference: PolicySettings | None
    loss: LossSettings
    shared_prompt: bool


class PolicyWorker:
    """Ray actor around one rank. Collective methods are called on all ranks at once."""

    def __init__(self, order: PolicyOrder) -> None:
        process.configure_logging(f"policy {order.rank}")
        process.seed_everything(order.seed + order.rank)
        if order.device == "cpu":
            torch.set_num_threads(order.num_threads)
        self._order = order
        self._sender: Any = None

    def rendezvous(self) -> tuple[str, int]:
        """Where the ranks can meet, asked of rank 0."""
        return process.node_address()

    def device_ids(self) -> list[str]:
        """The GPUs of this rank, for the engine that shares them."""
        return process.device_ids()

    def start(self, rendezvous: tuple[str, int]) -> None:
        """Meet the other ranks and build the model."""
        order = self._order
        seat = process.Seat(rank=order.rank, world_size=order.world_size, device=order.device)
        process.join_process_group(seat, rendezvous, order.timeout_seconds)
        adapter = load_adapter(
            order.source.model_path,
            tokenizer_path=order.source.tokenizer_path,
            chat_template=order.source.chat_template,
            trust_remote_code=order.source.trust_remote_code,
        )
        mesh = init_device_mesh(order.device, (order.world_size,), mesh_dim_names=("dp",))
        self._patches = PatchCache(ClipReader(), adapter, PATCH_CACHE_BYTES)
        packer = Packer(adapter=adapter, patches=self._patches, shared_prompt=order.shared_prompt)
        self._policy = Policy(packer, order.policy, order.training, mesh)
        self._reference = FrozenPolicy(packer, order.reference, mesh) if order.reference else None

    def connect(self, engines: Sequence[Any], transfer: TransferSettings) -> None:
        """Meet the engines that will be sent weights."""
        from verl.rollout.transfer import make_sender, ray_clients

        clients = ray_clients(engines) if self._order.rank == 0 else []
        with self._policy.weights_present():
            self._sender = make_sender(transfer, clients, self._policy.full_weights())

    def publish(self, version: int) -> None:
        """Send the weights. The engines are between their wake_weights and wake_cache."""
        if self._sender is None:
            raise WorkerError("publish was called before connect")
        with self._policy.weights_present():
            self._sender.send(version)
        dist.barrier()

    def logprobs(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """[R] per row, in order."""
        return self._policy.logprobs(rows)

    def ref_logprobs(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """[R] per row under the reference policy."""
        if self._reference is None:
            raise WorkerError("this run has no reference policy (algorithm.disable_kl=true)")
        return self._reference.logprobs(rows)

    def update(self, steps: Sequence[Sequence[Experience]]) -> Metrics:
        """One optimiser step per list of rows."""
        return self._policy.update(steps, self._order.loss)

    def end_step(self) -> Metrics:
        """Forget the step's pixels."""
        metrics = self._patches.end_step()
        metrics["perf/cpu_memory_used_gb"] = Max(process.resident_gib())
        if self._order.device == "cuda":
            metrics["perf/max_memory_allocated_gb"] = Max(torch.cuda.max_memory_allocated() / 2**30)
            metrics["perf/max_memory_reserved_gb"] = Max(torch.cuda.max_memory_reserved() / 2**30)
        return metrics

    def save(self, folder: Path, model_only: bool) -> None:
        """This rank's part of a checkpoint."""
        with self._policy.state_present():
            sharded.save(folder, self._trained(), model_only=model_only)
        if self._order.rank == 0:
            self._copy_model_files(folder)
        dist.barrier()

    def _copy_model_files(self, folder: Path) -> None:
        source = self._order.source
        layout.copy_model_files(
            Path(source.model_path),
            folder,
            tokenizer_path=Path(source.tokenizer_path) if source.tokenizer_path else None,
            override_config=self._order.policy.blueprint.model.override_config,
        )

    def load(self, folder: Path) -> None:
        """The inverse of `save`."""
        with self._policy.state_present():
            sharded.load(folder, self._trained())

    def fingerprint(self) -> dict[str, str]:
        """A digest of every weight, optimizer tensor, schedule and random state of this rank: equal means bitwise."""
        with self._policy.state_present():
            return {
                name: hashlib.blake2b(value, digest_size=16).hexdigest()
                for name, value in sharded.local_state(self._trained())
            }

    def _trained(self) -> sharded.Trained:
        return sharded.Trained(self._policy.model, self._policy.optimizer, self._policy.schedule)

    @ray.method(concurrency_group="watch")
    def watch(self) -> None:
        """Return only when the process ends."""
        process.wait_for_ever()
