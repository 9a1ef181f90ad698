# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One optimiser step: micro-batches, global denominators, one clipped gradient.

A loss is a mean over all response tokens (or responses) of the step, whoever holds them. Each micro-batch's share is
divided by the global count and gradients are summed over micro-batches and ranks, so the step does not depend on how
rows were split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from verl.algorithms.contract import Denominators, LossOutput
from verl.fsdp.gauge import Gauge
from verl.fsdp.guard import StepGuard
from verl.fsdp.packing import MicroBatch, Packer
from verl.fsdp.read_ahead import read_ahead
from verl.tracking.metrics import Mean, Metrics, Sum, means, merge
from verl.types import Experience, Trajectory

READ_AHEAD_BYTES = 1 << 30

# A micro-batch's share of the loss, given all rows that this rank has in the optimiser step.
RowsLoss: TypeAlias = Callable[[MicroBatch, Sequence[Experience], Denominators], LossOutput]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """How rows go through the model."""

    packer: Packer
    token_budget: int  # packed tokens in one pass of one rank
    device: str  # "cpu" or "cuda"
    max_bytes_ahead: int = READ_AHEAD_BYTES  # of patches that wait for the pass before theirs to end

    def micro_batches(self, rows: Sequence[Trajectory]) -> Iterator[MicroBatch]:
        """All rows, then fillers until every rank has had the same number of passes. Collective.

        While one goes through the model, a thread reads the clips of the next.
        """
        bins = self.packer.plan(rows, self.token_budget)
        most = torch.tensor(len(bins), device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        pack, num_bytes = partial(self.packer.pack, rows), partial(self.packer.num_bytes, rows)
        for batch in read_ahead(bins, pack, num_bytes, self.max_bytes_ahead):
            yield batch.to(self.device)
        for _ in range(int(most) - len(bins)):
            yield self.packer.filler().to(self.device)


@dataclass(frozen=True, slots=True, kw_only=True)
class Updater:
    """Takes optimiser steps."""

    model: nn.Module
    optimizer: Optimizer
    passes: Passes
    max_grad_norm: float
    role: str  # prefix of metrics
    guard: StepGuard = field(default_factory=StepGuard)

    def step(self, rows: Sequence[Experience], loss: RowsLoss) -> Metrics:
        """One optimiser step over the rows of all ranks; this rank gives its own. Collective.

        A gradient with a norm that is not finite changes nothing and is counted; a row of them is a WorkerError.
        """
        denominators = self._denominators(rows)
        self.optimizer.zero_grad(set_to_none=True)
        parts: list[Metrics] = []
        gauge = Gauge(self.passes.packer.adapter, self.model, self.passes.device)
        for batch in self.passes.micro_batches([row.trajectory for row in rows]):
            output = loss(batch, rows, denominators)
            output.loss.backward()
            parts.append(means(output.metrics))
            gauge.add(batch)
        norm = clip_gradients(self.model, self.max_grad_norm)  # the device is done when it is known
        parts.append(gauge.metrics(self.role))
        is_sound = self.guard.admits(norm, self.model, parts)
        if is_sound:
            self.optimizer.step()
            parts.append({f"{self.role}/grad_norm": Mean(norm)})
        if dist.get_rank() == 0:
            parts.append({f"{self.role}/skipped_updates": Sum(float(not is_sound))})
        self.optimizer.zero_grad(set_to_none=True)
        return merge(parts)

    def _denominators(self, rows: Sequence[Experience]) -> Denominators:
        num_tokens = sum(len(row.trajectory.response_ids) for row in rows)
        is_first = self.passes.packer.group.rank == 0  # of the ranks that share these rows: they count once
        counts = torch.tensor([num_tokens, len(rows)], dtype=torch.int64, device=self.passes.device) * is_first
        dist.all_reduce(counts)
        return Denominators(num_tokens=float(counts[0]), num_sequences=float(counts[1]))


def clip_gradients(model: nn.Module, max_norm: float) -> float:
    """Scale the gradients of all ranks down to `max_norm`, if they are finite; their norm before that. Collective."""
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained])  # type: ignore[misc]
    full: Tensor = norm.full_tensor() if isinstance(norm, DTensor) else norm
    if math.isfinite(full.item()):
        torch.nn.utils.clip_grads_with_norm_(trained, max_norm, full)
    return full.item()
