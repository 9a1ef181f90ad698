# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One rank of the critic: the process around `verl.fsdp.critic`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from verl.fsdp.critic import Critic, ValueSettings
from verl.fsdp.network import LearningSettings, NetworkSettings
from verl.tracking.metrics import Metrics
from verl.types import Experience, Floats, Trajectory
from verl.workers.rank import Rank, RankOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticOrder(RankOrder):
    """All that a critic rank is told."""

    network: NetworkSettings
    training: LearningSettings
    loss: ValueSettings


class CriticWorker(Rank):
    """Ray actor around one rank."""

    def __init__(self, order: CriticOrder) -> None:
        super().__init__("critic", order)
        self._order = order

    def start(self, rendezvous: tuple[str, int]) -> None:
        """Meet the other ranks and build the model."""
        packer, mesh = self._meet(self._order, rendezvous)
        self._network = self._critic = Critic(packer, self._order.network, self._order.training, mesh)
        self._learner = self._critic.learner

    def values(self, rows: Sequence[Trajectory]) -> list[Floats]:
        """[R] per row, in order."""
        return self._critic.values(rows)

    def update(self, steps: Sequence[Sequence[Experience]]) -> Metrics:
        """One optimiser step per list of rows."""
        return self._critic.update(steps, self._order.loss)
