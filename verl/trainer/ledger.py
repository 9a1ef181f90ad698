# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How fast responses are scored, and how long they wait for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from verl.tracking.metrics import Max, Mean, Metrics, Sum, merge


@dataclass(slots=True, kw_only=True)
class ScoringLedger:
    """Numbers of one kind of scorer since the last drain, under `prefix`. Times are seconds of one clock."""

    prefix: str  # "reward"
    num_workers: int
    _since: float | None = None  # when the first response of this round came
    _until: float = 0.0  # when the last verdict came
    _metrics: Metrics = field(default_factory=dict)

    def arrived(self, now: float) -> None:
        """A response came in."""
        if self._since is None:
            self._since = now

    def began(self, arrivals: Sequence[float], now: float) -> None:
        """Responses that came at `arrivals` were handed to a process."""
        for arrival in arrivals:
            waited = now - arrival
            self._add({"queue_seconds/mean": Mean(waited), "queue_seconds/max": Max(waited)})

    def finished(self, tasks: Sequence[str], seconds: float, now: float) -> None:
        """A process scored responses of these tasks in one call that took it `seconds`, divided evenly over them."""
        self._until = now
        if seconds > 0:
            self._add({"capacity": Mean(len(tasks) * self.num_workers, seconds)})
        for task in tasks:
            self._add({f"{task.replace(' ', '_')}/seconds": Mean(seconds / len(tasks))})

    def reported(self, metrics: Metrics) -> None:
        """What a scorer says, under full names, that its call cost."""
        self._metrics = merge([self._metrics, metrics])

    def lost(self, now: float) -> None:
        """A process hung or died and is replaced."""
        self._until = now
        self._add({"lost_workers": Sum(1)})

    def settled(self, num_rows: int) -> None:
        """All `num_rows` responses of this round have a verdict."""
        if self._since is not None and self._until > self._since:
            self._add({"throughput": Mean(num_rows, self._until - self._since)})
        self._since = None

    def drain(self) -> Metrics:
        """What was measured; the ledger starts over."""
        metrics, self._metrics = self._metrics, {}
        return merge([{f"{self.prefix}/lost_workers": Sum(0)}, metrics])

    def _add(self, metrics: Metrics) -> None:
        self._metrics = merge([self._metrics, {f"{self.prefix}/{name}": metric for name, metric in metrics.items()}])
