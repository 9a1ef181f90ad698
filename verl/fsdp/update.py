# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One optimiser step: micro-batches, global denominators, one clipped gradient.

A loss is a mean over all response tokens (or responses) of the step, whoever holds them. Each micro-batch's share is
divided by the global count and gradients are summed over micro-batches and ranks, so the step does not depend on how
rows were split.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from verl.algorithms.contract import Denominators, LossInput, LossOutput, LossSettings
from verl.algorithms.policy_loss import PolicyLoss
from verl.fsdp.forward import response_logprobs
from verl.fsdp.packing import MicroBatch, Packer
from verl.fsdp.read_ahead import read_ahead
from verl.tracking.metrics import Mean, Metrics, Sum, means, merge
from verl.types import Experience, Source, Trajectory

READ_AHEAD_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """How rows go through the model."""

    packer: Packer
    token_budget: int  # packed tokens in one pass of one rank
    temperature: float
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
    loss: PolicyLoss
    passes: Passes
    max_grad_norm: float

    def step(self, rows: Sequence[Experience], settings: LossSettings) -> Metrics:
        """One optimiser step over the rows of all ranks; this rank gives its own. Collective.

        A gradient with a norm that is not finite changes nothing and is counted.
        """
        denominators = self._denominators(rows)
        self.optimizer.zero_grad(set_to_none=True)
        parts: list[Metrics] = []
        for batch in self.passes.micro_batches([row.trajectory for row in rows]):
            output = self._loss(batch, rows, denominators, settings)
            output.loss.backward()
            parts.append(means(output.metrics))
        norm = clip_gradients(self.model, self.max_grad_norm)
        if math.isfinite(norm):
            self.optimizer.step()
            parts.append({"actor/grad_norm": Mean(norm)})
        if dist.get_rank() == 0:
            parts.append({"actor/skipped_updates": Sum(float(not math.isfinite(norm)))})
        self.optimizer.zero_grad(set_to_none=True)
        return merge(parts)

    def _denominators(self, rows: Sequence[Experience]) -> Denominators:
        num_tokens = sum(len(row.trajectory.response_ids) for row in rows)
        counts = torch.tensor([num_tokens, len(rows)], dtype=torch.int64, device=self.passes.device)
        dist.all_reduce(counts)
        return Denominators(num_tokens=float(counts[0]), num_sequences=float(counts[1]))

    def _loss(
        self, batch: MicroBatch, rows: Sequence[Experience], denominators: Denominators, settings: LossSettings
    ) -> LossOutput:
        with_entropy = settings.entropy_coef != 0
        logprobs, entropy = response_logprobs(self.model, batch, self.passes.temperature, with_entropy=with_entropy)
        inputs = LossInput(
            logprobs=logprobs,
            old_logprobs=batch.stream([row.old_logprobs for row in rows]),
            advantages=batch.stream([row.advantages for row in rows]),
            mask=batch.mask,
            denominators=denominators,
            ref_logprobs=_reference(batch, rows),
            rollout_logprobs=batch.stream([row.trajectory.rollout_logprobs for row in rows]),
            entropy=entropy,
            off_policy=_off_policy(batch, rows),
            settings=settings,
        )
        return self.loss.compute(inputs)


def clip_gradients(model: nn.Module, max_norm: float) -> float:
    """Scale the gradients of all ranks down to `max_norm`; their norm before that. Collective."""
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm([parameter.grad for parameter in trained])  # type: ignore[misc]
    full: Tensor = norm.full_tensor() if isinstance(norm, DTensor) else norm
    torch.nn.utils.clip_grads_with_norm_(trained, max_norm, full)
    return full.item()


def _reference(batch: MicroBatch, rows: Sequence[Experience]) -> Tensor | None:
    """[B, R], None when there is no reference policy. A rank without rows has zeros, as others need some."""
    given = [row.ref_logprobs for row in rows if row.ref_logprobs is not None]
    return batch.stream(given) if len(given) == len(rows) else None


def _off_policy(batch: MicroBatch, rows: Sequence[Experience]) -> Tensor:
    """[B] bool, rows that the policy did not write."""
    sources = [rows[place].trajectory.source for place in batch.order] or [Source.POLICY]
    return torch.tensor([source is Source.OFFLINE for source in sources], device=batch.targets.device)
