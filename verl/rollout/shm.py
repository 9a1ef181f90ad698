# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Weights through POSIX shared memory, as a backend of vLLM's weight-transfer API: for engines without CUDA.

The sender fills one bucket of shared memory after the other; every engine worker on the node reads the same
bucket. The file is unlinked as soon as both sides hold a mapping, so nothing is left behind however a
process ends. Importing this imports vLLM.
"""

from __future__ import annotations

import math
import mmap
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from vllm.distributed.weight_transfer.base import (
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload
from vllm.platforms import current_platform

from verl.errors import WorkerError

DIRECTORY = Path("/dev/shm")
ALIGNMENT = 64  # bytes: a cache line, and a multiple of every dtype


def register() -> None:
    """Make "shm" known to vLLM, in the trainer's process and in the worker's. May be called twice."""
    if "shm" not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine("shm", ShmReceiver)
        WeightTransferTrainerFactory.register_engine("shm", ShmSender)


@dataclass
class ShmInitInfo(WeightTransferInitInfo):
    """Where the bucket is."""

    path: str
    num_bytes: int


@dataclass
class ShmUpdateInfo(WeightTransferUpdateInfo):
    """What lies in the bucket."""

    names: list[str] = field(default_factory=list)
    dtypes: list[str] = field(default_factory=list)
    shapes: list[list[int]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)


class Bucket:
    """Shared memory that holds tensors at aligned offsets."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._bytes = torch.frombuffer(memory, dtype=torch.uint8)  # keeps the mapping alive
        self.contents = ShmUpdateInfo()
        self._used = 0

    @classmethod
    def create(cls, num_bytes: int) -> tuple[Bucket, Path]:
        """New memory, and the file to unlink once the other side has opened it."""
        path = DIRECTORY / f"verl-weights-{uuid.uuid4().hex}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, num_bytes)  # without it, a full /dev/shm is a bus error later on
            return cls(mmap.mmap(descriptor, num_bytes)), path
        except OSError as error:
            path.unlink()
            raise WorkerError(
                f"no room for {num_bytes >> 20} MiB in {DIRECTORY}: {error.strerror}. "
                "Enlarge it (docker run --shm-size=...)"
            ) from error
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, info: ShmInitInfo) -> Bucket:
        """Memory that a sender on this node has created."""
        with Path(info.path).open("r+b") as file:
            return cls(mmap.mmap(file.fileno(), info.num_bytes))

    def has_room_for(self, tensor: torch.Tensor) -> bool:
        """Whether `put` would fit."""
        return self._used + tensor.nbytes <= len(self._bytes)

    def put(self, name: str, tensor: torch.Tensor) -> None:
        """Append a copy."""
        start = self._used
        self._view(start, tensor.dtype, list(tensor.shape)).copy_(tensor)
        self.contents.names.append(name)
        self.contents.dtypes.append(str(tensor.dtype).removeprefix("torch."))
        self.contents.shapes.append(list(tensor.shape))
        self.contents.offsets.append(start)
        self._used = _aligned(start + tensor.nbytes)

    def clear(self) -> None:
        """Forget the contents."""
        self.contents = ShmUpdateInfo()
        self._used = 0

    def read(self, contents: ShmUpdateInfo) -> list[tuple[str, torch.Tensor]]:
        """Copies of what the sender put, which stay when it fills the bucket anew."""
        layout = zip(contents.names, contents.offsets, contents.dtypes, contents.shapes, strict=True)
        return [(name, self._view(at, getattr(torch, dtype), shape).clone()) for name, at, dtype, shape in layout]

    def _view(self, start: int, dtype: torch.dtype, shape: list[int]) -> torch.Tensor:
        num_bytes = math.prod(shape) * dtype.itemsize
        return self._bytes[start : start + num_bytes].view(dtype).view(shape)


def _aligned(num_bytes: int) -> int:
    return -(-num_bytes // ALIGNMENT) * ALIGNMENT


class ShmReceiver(WeightTransferEngine[ShmInitInfo, ShmUpdateInfo]):
    """The engine's side: layerwise reload, as a CPU worker repacks linear weights and drops the originals."""

    init_info_cls = ShmInitInfo
    update_info_cls = ShmUpdateInfo
    _bucket: Bucket | None = None

    def init_transfer_engine(self, init_info: ShmInitInfo) -> None:
        """Map the sender's bucket."""
        self._bucket = Bucket.open(init_info)

    def start_weight_update(self) -> None:
        """Expect every weight of the checkpoint once more."""
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one bucket. The base class's version waits for an accelerator, which a CPU does not have."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: ShmUpdateInfo) -> None:
        """Load one bucket: copies, because layerwise reload holds tensors until their layer is complete."""
        assert self._bucket is not None, "init_transfer_engine comes first"
        self.model.load_weights(self._bucket.read(update_info))  # type: ignore[operator]

    def finish_weight_update(self) -> None:
        """Repack what was loaded."""
        finalize_layerwise_reload(self.model, self.model_config)
        if current_platform.is_cpu():
            _repack_tied_heads(self.model)
            _repack_experts(self.model)

    def shutdown(self) -> None:
        """Unmap."""
        self._bucket = None


def _repack_tied_heads(model: torch.nn.Module) -> None:
    """WORKAROUND(vllm 0.32): on a CPU a tied head computes with a repacked copy of the embedding.

    Layerwise reload renews the embedding and skips the head, so without this logits come from the old one,
    silently. tests/integration/test_rollout_engine.py shows it with a tied model.
    """
    for module in model.modules():
        if isinstance(module, ParallelLMHead):
            module.quant_method.process_weights_after_loading(module)


def _repack_experts(model: torch.nn.Module) -> None:
    """WORKAROUND(vllm 0.32): on a CPU experts are computed from a packed layout, made when their kernel is built.

    Layerwise reload puts plain weights where the packed ones were, and the kernel reads them as if they were packed,
    silently. tests/integration/test_family_engines.py shows it.
    """
    for module in model.modules():
        kernel = getattr(getattr(module, "quant_method", None), "moe_kernel", None)
        if kernel is not None:
            kernel.fused_experts.process_weights_after_loading(module)


@dataclass
class ShmSenderInfo(TrainerInitInfo):
    """The trainer's settings. A bucket is at most as large as the model, at least as its largest tensor."""

    backend: ClassVar[str] = "shm"
    bucket_bytes: int = 256 << 20


class ShmSender(TrainerWeightTransferEngine[ShmSenderInfo]):
    """The trainer's side: rank 0 sends, the other ranks only take part in gathering the tensors."""

    init_info_cls = ShmSenderInfo
    _bucket: Bucket  # of rank 0

    @classmethod
    def trainer_init(
        cls, init_info: ShmSenderInfo, *, client: VLLMWeightSyncClient, source: WeightSource | None = None
    ) -> Self:
        """Create the bucket and have every engine map it."""
        assert source is not None
        sender = cls(client=client, source=source, is_sender=init_info.is_sender)
        if not sender.is_sender:
            return sender
        sizes = [_aligned(math.prod(meta.shape) * meta.dtype.itemsize) for meta in source.metadata()]
        num_bytes = min(sum(sizes), max(*sizes, init_info.bucket_bytes))
        sender._bucket, path = Bucket.create(num_bytes)
        try:
            client.init_weight_transfer_engine(asdict(ShmInitInfo(str(path), num_bytes)))
        finally:
            path.unlink()
        return sender

    def send_weights(self) -> None:
        """One pass over the source. Call it on every rank."""
        assert self.source is not None
        if not self.is_sender:
            for _ in self.source:
                pass
            return
        self.client.start_weight_update()
        self._bucket.clear()
        for name, tensor in self.source:
            if not self._bucket.has_room_for(tensor):
                self._flush()
            self._bucket.put(name, tensor.detach())
        self._flush()
        self.client.finish_weight_update()

    def _flush(self) -> None:
        self.client.update_weights(asdict(self._bucket.contents))
        self._bucket.clear()

    def shutdown(self) -> None:
        """Unmap."""
        if self.is_sender:
            del self._bucket
