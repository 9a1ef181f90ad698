# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the ranks of a policy are handed, and what of their answers counts."""

from __future__ import annotations

from typing import Any

import pytest

from verl.cluster.deal import deal
from verl.rollout.engine import Slept
from verl.tracking.metrics import Mean, Sum, values
from verl.trainer.handles import CriticHandle, PolicyHandle, RolloutHandle


class FourRanks:
    """Remembers calls; each rank answers with what it was handed."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []

    def __len__(self) -> int:
        return 4

    def each(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        self.calls.append((method, [given[0] for given in arguments]))
        if method == "update":
            return [{"loss": Mean(float(rank), 1.0), "count": Sum(1.0)} for rank in range(len(arguments))]
        return [list(given[0]) for given in arguments]


@pytest.mark.parametrize(("size", "hands"), [(1, 4), (2, 2), (4, 1)])
def test_neighbours_hold_the_same_hand_and_answer_once(size: int, hands: int) -> None:
    ranks: Any = FourRanks()
    policy, critic = PolicyHandle(ranks, ulysses_size=size), CriticHandle(ranks, ulysses_size=size)
    assert policy.num_hands == critic.num_hands == hands
    dealt: Any = deal([["a", "b"], ["c"], ["d", "e"], ["f"], ["g"]], hands, len)
    passes = (policy.logprobs, policy.logprobs_and_squares, policy.ref_logprobs, critic.values)
    for answers in (one(dealt) for one in passes):
        assert answers == list("abcdefg")
    metrics = policy.update([dealt, dealt], 0.0)
    assert metrics["count"] == Sum(hands)
    assert metrics["loss"] == Mean(float(sum(range(0, 4, size))), hands)
    for method, given in ranks.calls:
        assert len(given) == 4, method
        assert all(given[rank] == given[rank - rank % size] for rank in range(4)), method


class SleepyEngines:
    """Two that give memory back, and one that has none to give."""

    def all(self, method: str) -> list[Slept | None]:
        assert method == "sleep"
        return [Slept(before=60 << 30, after=20 << 30), Slept(before=50 << 30, after=30 << 30), None]


def test_what_a_sleep_gave_is_told_of_the_device_with_most_in_use() -> None:
    engines: Any = SleepyEngines()
    metrics = RolloutHandle(engines, engines).sleep()
    assert values(metrics) == {"perf/memory_before_sleep_gb": 60.0, "perf/memory_after_sleep_gb": 30.0}
