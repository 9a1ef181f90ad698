# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What all models here have in common: where the weights are, how rows go through them, how they learn.

One object per rank; every method is collective over the ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule

from verl.config.model import OffloadConfig, OptimConfig
from verl.fsdp.build import Blueprint, build
from verl.fsdp.guard import StepGuard
from verl.fsdp.offload import present, put_away
from verl.fsdp.optim import build_optimizer, build_schedule
from verl.fsdp.packing import MicroBatch, Packer
from verl.fsdp.update import Passes, RowsLoss, Updater
from verl.tracking.metrics import Last, Metrics, merge
from verl.types import Experience, Floats, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """How a model is built and where its weights wait."""

    blueprint: Blueprint
    offload: OffloadConfig
    token_budget: int  # packed tokens in one pass without gradients of one rank


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSettings:
    """How a model is trained."""

    optim: OptimConfig
    num_training_steps: int
    num_epochs: int
    max_grad_norm: float
    token_budget: int  # packed tokens in one training pass of one rank


class Network:
    """A sharded model that rows go through."""

    settings: NetworkSettings

    def __init__(self, packer: Packer, settings: NetworkSettings, mesh: DeviceMesh) -> None:
        self.settings = settings
        self.mesh = mesh
        self.model = build(packer.adapter, settings.blueprint, mesh)
        self.passes = Passes(packer=packer, token_budget=settings.token_budget, device=mesh.device_type)
        if self.moves_params:
            put_away(self.model)

    def weights_present(self) -> AbstractContextManager[None]:
        """Weights are on the device inside; needed around `FullWeights` and checkpoints too."""
        return present(self.model if self.moves_params else None, None, self.mesh.device_type)

    @property
    def moves_params(self) -> bool:
        """With enable_cpu_offload FSDP2 moves them itself, block by block."""
        return self.settings.offload.offload_params and self._lives_on_device

    @property
    def moves_optimizer(self) -> bool:
        """With enable_cpu_offload its state is beside the weights that it steps, in host memory, for good."""
        return self.settings.offload.offload_optimizer and self._lives_on_device

    @property
    def _lives_on_device(self) -> bool:
        return not self.settings.blueprint.fsdp.enable_cpu_offload and self.mesh.device_type != "cpu"

    def _per_token(self, rows: Sequence[Trajectory], forward: Callable[[MicroBatch], Tensor]) -> list[Floats]:
        """[R, ...] of each row from the [B, R, ...] that `forward` gives for a micro-batch; without gradients."""
        found: dict[int, Floats] = {}
        with torch.no_grad(), self.weights_present():
            for batch in self.passes.micro_batches(rows):
                padded = forward(batch).cpu().numpy()
                for place, length, row in zip(batch.order, batch.row_lengths, padded, strict=False):
                    found[place] = np.array(row[:length], dtype=np.float32)
            self._reshard()
        return [found[place] for place in range(len(rows))]

    def _reshard(self) -> None:
        """The root keeps its gathered weights after a forward pass that no backward pass follows.

        So does every block without enable_full_shard.
        """
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()


class Learner:
    """Optimizer and schedule of a network, and the updates of a training step."""

    def __init__(self, network: Network, settings: LearningSettings, role: str) -> None:
        self._network = network
        self._settings = settings
        self._role = role
        with network.weights_present():  # which kernels an optimizer takes depends on where it finds them
            self.optimizer = build_optimizer(network.model, settings.optim)
        self.schedule = build_schedule(self.optimizer, settings.optim, settings.num_training_steps)
        self._updater = Updater(
            model=network.model,
            optimizer=self.optimizer,
            passes=replace(network.passes, token_budget=settings.token_budget),
            max_grad_norm=settings.max_grad_norm,
            guard=StepGuard(limit=settings.optim.max_skipped_steps),
            role=role,
        )

    def update(self, steps: Sequence[Sequence[Experience]], loss: RowsLoss) -> Metrics:
        """This rank's rows of each optimiser step, in order, every epoch. The learning rate moves once per call."""
        with self.state_present():
            parts = [self._updater.step(rows, loss) for _ in range(self._settings.num_epochs) for rows in steps]
        parts.append({f"{self._role}/lr": Last(float(self.schedule.get_last_lr()[0]))})
        self.schedule.step()
        return merge(parts)

    def state_present(self) -> AbstractContextManager[None]:
        """Weights and optimizer state are on the device inside; needed around checkpoints."""
        network = self._network
        return present(
            network.model if network.moves_params else None,
            self.optimizer if network.moves_optimizer else None,
            network.mesh.device_type,
        )
