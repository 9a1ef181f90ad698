# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One rank of the policy: the process around `verl.fsdp.policy`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch.distributed as dist

from verl.algorithms.contract import LossSettings
from verl.checkpoint import adapter, layout
from verl.errors import WorkerError
from verl.fsdp.policy import FrozenPolicy, Policy, PolicySettings, TrainingSettings
from verl.rollout.options import TransferSettings
from verl.tracking.metrics import Metrics
from verl.types import Experience, Floats, Trajectory
from verl.workers import process
from verl.workers.adapters import AdapterSender
from verl.workers.rank import Rank, RankOrder

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOrder(RankOrder):
    """All that a policy rank is told."""

    policy: PolicySettings
    training: TrainingSettings
    reference: PolicySettings | None
    loss: LossSettings


class PolicyWorker(Rank):
    """Ray actor around one rank."""

    def __init__(self, order: PolicyOrder) -> None:
        super().__init__("policy", order)
        self._order = order
        self._sender: Any = None

    def device_ids(self) -> list[str]:
        """The GPUs of this rank, for the engine that shares them."""
        return process.device_ids()

    def start(self, rendezvous: tuple[str, int]) -> None:
        """Meet the other ranks and build the model."""
        self._packer, self._mesh = self._meet(self._order, rendezvous)
        self.begin(self._order)

    def begin(self, order: PolicyOrder) -> None:
        """Build the model as ordered; in the place of one there was, for another run. `connect` comes next.

        Raises WorkerError for files of another model than those that this rank was started with.
        """
        if order.source != self._order.source:
            raise WorkerError(f"begin: {order.source.model_path} is another model than {self._order.source.model_path}")
        self._order = order
        process.seed_everything(order.seed + order.rank)
        self._network = self._policy = Policy(self._packer, order.policy, order.training, self._mesh)
        self._learner = self._policy.learner
        if self._order.rank == 0:
            trained, whole = self._policy.num_weights()
            log.info("training %s of %s weights (%.2f %%)", f"{trained:,}", f"{whole:,}", 100 * trained / whole)
        self._reference: FrozenPolicy | None = None
        if order.reference is not None and not self._has_adapters:  # else it is the policy without them
            self._reference = FrozenPolicy(self._packer, order.reference, self._mesh)

    def connect(self, engines: Sequence[Any], transfer: TransferSettings) -> None:
        """Meet the engines that will be sent weights."""
        if self._has_adapters and self._order.policy.blueprint.model.lora.sync == "adapter":
            weights, lora = self._policy.adapter_weights(), self._order.policy.blueprint.model.lora
            known = engines if self._order.rank == 0 else []
            self._sender = AdapterSender(weights, lora, self._order.source.model_path, known)
            return
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

    def logprobs_and_squares(self, rows: Sequence[Trajectory]) -> list[tuple[Floats, Floats]]:
        """Two times [R] per row, in order; see `verl.fsdp.policy`."""
        return self._policy.logprobs_and_squares(rows)

    def ref_logprobs(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """[R] per row under the reference policy."""
        if self._order.reference is None:
            raise WorkerError("this run has no reference policy (algorithm.disable_kl=true)")
        return self._policy.base_logprobs(rows) if self._reference is None else self._reference.logprobs(rows)

    def update(self, steps: Sequence[Sequence[Experience]], kl_coef: float) -> Metrics:
        """One optimiser step per list of rows. The weight of the KL may differ from step to step."""
        return self._policy.update(steps, replace(self._order.loss, kl_coef=kl_coef))

    def save(self, folder: Path, model_only: bool) -> None:
        """See Rank; the model's small files too."""
        if self._order.rank == 0:
            self._copy_model_files(folder)
            if self._lora is not None:
                adapter.write_lora(folder, self._lora)
        super().save(folder, model_only)

    def load(self, folder: Path) -> None:
        """See Rank."""
        adapter.check_lora(folder, self._lora)
        super().load(folder)

    @property
    def _has_adapters(self) -> bool:
        return self._order.policy.blueprint.has_adapters

    @cached_property
    def _lora(self) -> adapter.Lora | None:
        lora, base = self._order.policy.blueprint.model.lora, Path(self._order.source.model_path)
        return adapter.describe(lora.rank, lora.alpha, base) if self._has_adapters else None

    def _copy_model_files(self, folder: Path) -> None:
        source = self._order.source
        layout.copy_model_files(
            Path(source.model_path),
            folder,
            tokenizer_path=Path(source.tokenizer_path) if source.tokenizer_path else None,
            override_config=self._order.policy.blueprint.model.override_config,
        )
