# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The policy and its frozen reference, one object per rank. Every method is collective over the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from verl.algorithms.contract import Denominators, LossInput, LossOutput, LossSettings
from verl.algorithms.policy_loss import find_loss
from verl.fsdp.forward import Also, response_logprobs
from verl.fsdp.network import Learner, LearningSettings, Network, NetworkSettings
from verl.fsdp.packing import MicroBatch, Packer
from verl.fsdp.sampling import Sampling
from verl.fsdp.weights import AdapterWeights, FullWeights
from verl.models.low_rank import is_adapter, without_adapters
from verl.tracking.metrics import Metrics
from verl.types import Experience, Flags, Floats, Source, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings(NetworkSettings):
    """What frozen and trained policies have in common."""

    sampling: Sampling  # how responses were drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings(LearningSettings):
    """How a policy is trained."""

    loss: str  # registered name or file.py:function


class FrozenPolicy(Network):
    """A policy that is asked for log-probabilities and never changes."""

    settings: PolicySettings

    def __init__(self, packer: Packer, settings: PolicySettings, mesh: DeviceMesh) -> None:
        super().__init__(packer, settings, mesh)

    def logprobs(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """Log-probabilities [R] of each row's response tokens under the distribution that was sampled from."""
        return self._per_token(rows, lambda batch: response_logprobs(self.model, batch, self.settings.sampling)[0])

    def logprobs_and_squares(self, rows: Sequence[Trajectory]) -> list[tuple[Floats, Floats]]:
        """`logprobs`, and beside them the sum of the squared probabilities of all tokens, in the same pass."""

        def forward(batch: MicroBatch) -> Tensor:
            logprobs, squares = response_logprobs(self.model, batch, self.settings.sampling, also="sum_pi_squared")
            assert squares is not None
            return torch.stack([logprobs, squares], dim=-1)

        return [(pairs[:, 0].copy(), pairs[:, 1].copy()) for pairs in self._per_token(rows, forward)]


class Policy(FrozenPolicy):
    """The policy that is trained."""

    def __init__(self, packer: Packer, settings: PolicySettings, training: TrainingSettings, mesh: DeviceMesh) -> None:
        super().__init__(packer, settings, mesh)
        self.learner = Learner(self, training, "actor")
        self.optimizer, self.schedule = self.learner.optimizer, self.learner.schedule
        self._loss = find_loss(training.loss)

    def update(self, steps: Sequence[Sequence[Experience]], loss: LossSettings) -> Metrics:
        """The updates of one training step: this rank's rows of each optimiser step, in order, every epoch."""
        return self.learner.update(steps, partial(self._rows_loss, loss))

    def base_logprobs(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """What `logprobs` gives without adapters: those of the model that training started from."""
        with without_adapters(self.model):
            return self.logprobs(rows)

    def full_weights(self, dtype: torch.dtype | None = None) -> FullWeights:
        """All weights by name, adapters in them, to be iterated inside `weights_present()`.

        As they are computed with by default.
        """
        lora = self.settings.blueprint.model.lora
        scale = lora.alpha / lora.rank if lora.rank else 0.0
        publish = self.passes.packer.adapter.as_published
        return FullWeights(self.model, dtype or self._compute_dtype, scale, publish)

    def num_weights(self) -> tuple[int, int]:
        """How many numbers are trained, and how many the model has without adapters. A tied tensor counts once."""
        weights = dict(self.model.named_parameters())
        trained = sum(weight.numel() for weight in weights.values() if weight.requires_grad)
        return trained, sum(weight.numel() for name, weight in weights.items() if not is_adapter(name))

    def adapter_weights(self) -> AdapterWeights:
        """The adapters alone, to be iterated inside `weights_present()`."""
        return AdapterWeights(self.model, self._compute_dtype, self.mesh.device_type)

    @property
    def _compute_dtype(self) -> torch.dtype:
        return self.settings.blueprint.compute_dtype(self.mesh.device_type)

    def _rows_loss(
        self, settings: LossSettings, batch: MicroBatch, rows: Sequence[Experience], denominators: Denominators
    ) -> LossOutput:
        also: Also | None = "entropy" if settings.entropy_coef != 0 else None
        logprobs, entropy = response_logprobs(self.model, batch, self.settings.sampling, also=also)
        inputs = LossInput(
            logprobs=logprobs,
            old_logprobs=batch.stream([row.old_logprobs for row in rows]),
            advantages=batch.stream([row.advantages for row in rows]),
            mask=batch.mask,
            denominators=replace(denominators, response_length=settings.response_length),
            ref_logprobs=_if_all(batch, [row.ref_logprobs for row in rows]),
            rollout_logprobs=batch.stream([row.trajectory.rollout_logprobs for row in rows]),
            entropy=entropy,
            off_policy=_off_policy(batch, rows),
            weights=_if_all(batch, [row.weights for row in rows]),
            chosen=_chosen(batch, [row.chosen for row in rows]),
            settings=settings,
        )
        return self._loss.compute(inputs)


def _if_all(batch: MicroBatch, values: Sequence[Floats | None]) -> Tensor | None:
    """[B, R], None unless every row has them. A rank without rows has zeros, as others need some."""
    given = [row for row in values if row is not None]
    return batch.stream(given) if len(given) == len(values) else None


def _chosen(batch: MicroBatch, values: Sequence[Flags | None]) -> Tensor | None:
    """[B, R] bool, None unless every row has them."""
    given = [row for row in values if row is not None]
    return batch.stream(given).bool() if len(given) == len(values) else None


def _off_policy(batch: MicroBatch, rows: Sequence[Experience]) -> Tensor:
    """[B] bool, rows that the policy did not write."""
    sources = [rows[place].trajectory.source for place in batch.order] or [Source.POLICY]
    return torch.tensor([source is Source.OFFLINE for source in sources], device=batch.targets.device)
