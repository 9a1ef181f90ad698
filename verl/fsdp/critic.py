# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The critic, one object per rank. Every method is collective over the ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch.distributed.device_mesh import DeviceMesh

from verl.algorithms.contract import Average, Denominators, LossOutput
from verl.algorithms.value_loss import ValueInput, value_loss
from verl.errors import ContractError
from verl.fsdp.network import Learner, LearningSettings, Network, NetworkSettings
from verl.fsdp.packing import MicroBatch, Packer
from verl.fsdp.values import response_values
from verl.tracking.metrics import Metrics
from verl.types import Experience, Floats, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueSettings:
    """The numbers of the value loss."""

    clip: float  # values may move this far from those at the start of the step
    average: Average


class Critic(Network):
    """A model that predicts returns. Its blueprint is one of values."""

    def __init__(self, packer: Packer, settings: NetworkSettings, training: LearningSettings, mesh: DeviceMesh) -> None:
        super().__init__(packer, settings, mesh)
        self.learner = Learner(self, training, "critic")

    def values(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """[R] of each row: the return expected from the prompt and the tokens before each response token."""
        return self._per_token(rows, partial(response_values, self.model))

    def update(self, steps: Sequence[Sequence[Experience]], loss: ValueSettings) -> Metrics:
        """The updates of one training step: this rank's rows of each optimiser step, in order, every epoch."""
        return self.learner.update(steps, partial(self._rows_loss, loss))

    def _rows_loss(
        self, settings: ValueSettings, batch: MicroBatch, rows: Sequence[Experience], denominators: Denominators
    ) -> LossOutput:
        inputs = ValueInput(
            values=response_values(self.model, batch),
            old_values=batch.stream([_old_values(row) for row in rows]),
            returns=batch.stream([row.returns for row in rows]),
            mask=batch.mask,
            denominators=denominators,
            clip=settings.clip,
            average=settings.average,
        )
        return value_loss(inputs)


def _old_values(row: Experience) -> Floats:
    if row.values is None:
        where = f"response {row.trajectory.index} to {row.trajectory.prompt.record.where}"
        raise ContractError(f"{where} has no values to update the critic with; ask the critic before the update")
    return row.values
