# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Throughput of scoring: hand-computed, and exact when drained in parts."""

from __future__ import annotations

import pytest

from verl.tracking.metrics import merge, values
from verl.trainer.ledger import ScoringLedger
from verl.trainer.summary import throughput


def round_of(ledger: ScoringLedger, start: float, tasks: list[str], seconds: float) -> None:
    """Responses that come a second apart, wait for the last, and are scored in one call."""
    arrivals = [start + place for place in range(len(tasks))]
    for arrival in arrivals:
        ledger.arrived(arrival)
    ledger.began(arrivals, arrivals[-1])
    ledger.finished(tasks, seconds, arrivals[-1] + seconds)
    ledger.settled(len(tasks))


def test_a_round_by_hand():
    ledger = ScoringLedger(prefix="reward", num_workers=4)
    round_of(ledger, 10.0, ["open ended", "open ended", "ocr"], 6.0)
    assert values(ledger.drain()) == {
        "reward/lost_workers": 0,
        "reward/queue_seconds/mean": pytest.approx((2 + 1 + 0) / 3),
        "reward/queue_seconds/max": 2.0,
        "reward/capacity": pytest.approx(3 * 4 / 6),
        "reward/open_ended/seconds": pytest.approx(2.0),
        "reward/ocr/seconds": pytest.approx(2.0),
        "reward/throughput": pytest.approx(3 / 8),
    }


def test_draining_in_parts_and_merging_gives_what_one_drain_gives():
    whole, parts = (ScoringLedger(prefix="reward", num_workers=2) for _ in range(2))
    rounds = [(0.0, ["ocr"], 0.5), (100.0, ["ocr", "math", "math"], 3.0), (250.0, ["math"] * 5, 0.25)]
    drained = []
    for start, tasks, seconds in rounds:
        round_of(whole, start, tasks, seconds)
        round_of(parts, start, tasks, seconds)
        drained.append(parts.drain())
    expected = whole.drain()
    assert values(merge(drained)) == pytest.approx(values(expected))
    assert expected["reward/throughput"].value == pytest.approx(9 / (0.5 + 5.0 + 4.25))
    assert expected["reward/math/seconds"].value == pytest.approx((2 * 1.0 + 5 * 0.05) / 7)


def test_the_time_between_rounds_is_not_the_scorers_time():
    ledger = ScoringLedger(prefix="reward", num_workers=1)
    round_of(ledger, 0.0, ["ocr"], 1.0)
    round_of(ledger, 1000.0, ["ocr"], 1.0)
    assert ledger.drain()["reward/throughput"].value == pytest.approx(1.0)


def test_nothing_measured_is_nothing_logged():
    ledger = ScoringLedger(prefix="reward_model", num_workers=1)
    ledger.settled(0)
    assert values(ledger.drain()) == {"reward_model/lost_workers": 0}


def test_the_share_of_a_step_that_waits_for_rewards():
    timing = {"timing_s/step": 20.0, "timing_s/gen": 10.0, "timing_s/reward": 5.0}
    assert throughput([], timing, 1)["reward/wait_share"].value == 0.25
    assert "reward/wait_share" not in values(throughput([], {}, 1))
