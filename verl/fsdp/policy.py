# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The policy and its frozen reference, one object per rank. Every method is collective over the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule

from verl.algorithms.contract import LossSettings
from verl.algorithms.policy_loss import find_loss
from verl.config.model import OffloadConfig, OptimConfig
from verl.fsdp.build import Blueprint, build
from verl.fsdp.forward import response_logprobs
from verl.fsdp.offload import move_params, present
from verl.fsdp.optim import build_optimizer, build_schedule
from verl.fsdp.packing import Packer
from verl.fsdp.update import Passes, Updater
from verl.fsdp.weights import FullWeights
from verl.tracking.metrics import Last, Metrics, merge
from verl.types import Experience, Floats, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What frozen and trained policies have in common."""

    blueprint: Blueprint
    offload: OffloadConfig
    temperature: float  # that responses were sampled at
    token_budget: int  # packed tokens in one log-prob pass of one rank


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """How a policy is trained."""

    optim: OptimConfig
    num_training_steps: int
    loss: str  # registered name or file.py:function
    num_epochs: int
    max_grad_norm: float
    token_budget: int  # packed tokens in one training pass of one rank


class FrozenPolicy:
    """A policy that is asked for log-probabilities and never changes."""

    def __init__(self, packer: Packer, settings: PolicySettings, mesh: DeviceMesh) -> None:
        self.settings = settings
        self.mesh = mesh
        self.model = build(packer.adapter, settings.blueprint, mesh)
        self.passes = Passes(
            packer=packer,
            token_budget=settings.token_budget,
            temperature=settings.temperature,
            device=mesh.device_type,
        )
        if self._moves_params:
            move_params(self.model, "cpu")

    def logprobs(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """Log-probabilities [R] of each row's response tokens under the distribution that was sampled from."""
        values: dict[int, Floats] = {}
        with torch.no_grad(), self.weights_present():
            for batch in self.passes.micro_batches(rows):
                padded, _ = response_logprobs(self.model, batch, self.settings.temperature)
                for place, length, row in zip(batch.order, batch.row_lengths, padded.cpu().numpy(), strict=False):
                    values[place] = np.array(row[:length], dtype=np.float32)
            self._reshard()
        return [values[place] for place in range(len(rows))]

    def weights_present(self) -> AbstractContextManager[None]:
        """Weights are on the device inside; needed around `FullWeights` and checkpoints too."""
        return present(self.model if self._moves_params else None, None, self.mesh.device_type)

    @property
    def _moves_params(self) -> bool:
        """With enable_cpu_offload FSDP2 moves them itself, block by block."""
        return (
            self.settings.offload.offload_params
            and not self.settings.blueprint.fsdp.enable_cpu_offload
            and self.mesh.device_type != "cpu"
        )

    def _reshard(self) -> None:
        """The root keeps its gathered weights after a forward pass that no backward pass follows."""
        if isinstance(self.model, FSDPModule):
            self.model.reshard()


class Policy(FrozenPolicy):
    """The policy that is trained."""

    def __init__(self, packer: Packer, settings: PolicySettings, training: TrainingSettings, mesh: DeviceMesh) -> None:
        super().__init__(packer, settings, mesh)
        self.training = training
        self.optimizer = build_optimizer(self.model.parameters(), training.optim)
        self.schedule = build_schedule(self.optimizer, training.optim, training.num_training_steps)
        passes = Passes(
            packer=packer,
            token_budget=training.token_budget,
            temperature=settings.temperature,
            device=mesh.device_type,
        )
        self._updater = Updater(
            model=self.model,
            optimizer=self.optimizer,
            loss=find_loss(training.loss),
            passes=passes,
            max_grad_norm=training.max_grad_norm,
        )

    def update(self, steps: Sequence[Sequence[Experience]], loss: LossSettings) -> Metrics:
        """The updates of one training step: this rank's rows of each optimiser step, in order, every epoch.

        The learning rate moves once per call.
        """
        with self.state_present():
            parts = [self._updater.step(rows, loss) for _ in range(self.training.num_epochs) for rows in steps]
        parts.append({"actor/lr": Last(float(self.schedule.get_last_lr()[0]))})
        self.schedule.step()
        return merge(parts)

    def state_present(self) -> AbstractContextManager[None]:
        """Weights and optimizer state are on the device inside; needed around checkpoints."""
        return present(
            self.model if self._moves_params else None,
            self.optimizer if self.settings.offload.offload_optimizer else None,
            self.mesh.device_type,
        )

    def full_weights(self, dtype: torch.dtype | None = None) -> FullWeights:
        """All weights by name, to be iterated inside `weights_present()`; as they are computed with by default."""
        return FullWeights(self.model, dtype or self.settings.blueprint.compute_dtype(self.mesh.device_type))
