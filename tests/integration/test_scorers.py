# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Scoring processes that hang, die or raise."""

from __future__ import annotations

from dataclasses import replace

import pytest
import ray

from tests.rows import prompt, trajectory
from verl.cluster.group import Watch, WorkerGroup
from verl.config.worker import RewardConfig
from verl.errors import ContractError
from verl.trainer.scorers import RewardHandle
from verl.types import NotScorable, Score
from verl.workers.reward import RewardWorker

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

REWARD = """
import os, time
REWARD_TYPE = "sequential"

def score(row):
    if row["response"] == "hang":
        while True:
            pass
    if row["response"] == "die":
        os._exit(11)
    if row["response"] == "raise":
        raise ValueError("no such thing")
    return {"overall": float(len(row["response"]))}
"""


@pytest.fixture(scope="module")
def cluster():
    ray.init("local", include_dashboard=False, num_cpus=4, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def handle(cluster, tmp_path):
    (tmp_path / "reward.py").write_text(REWARD)
    kind = ray.remote(RewardWorker).options(num_cpus=0)
    config = RewardConfig(reward_function=f"{tmp_path / 'reward.py'}:score")
    actors = [kind.remote(config) for _ in range(2)]
    workers = WorkerGroup("reward worker", actors, Watch(), renew=lambda rank: kind.remote(config))
    handle = RewardHandle(workers, batch_size=1, timeout_seconds=2.0)
    yield handle
    for actor in workers.actors:
        ray.kill(actor)


def answers(handle, *texts):
    for index, text in enumerate(texts):
        handle.submit(replace(trajectory(0, index, of=prompt("r7")), text=text))
    return [row.verdict for row in handle.collect()]


def test_a_hung_and_a_dead_scorer_cost_their_own_cases_and_order_is_kept(handle):
    answers(handle, "warm", "up")
    verdicts = answers(handle, "a", "hang", "bb", "die", "ccc", "dddd")
    assert [v.overall for v in verdicts if isinstance(v, Score)] == [1.0, 2.0, 3.0, 4.0]
    assert [place for place, v in enumerate(verdicts) if isinstance(v, NotScorable)] == [1, 3]
    assert "no answer within 2 s" in verdicts[1].reason
    assert "died" in verdicts[3].reason
    assert [v.overall for v in answers(handle, "again", "ok")] == [5.0, 2.0]


def test_a_scorer_that_raises_ends_the_run_and_is_named(handle):
    with pytest.raises(ContractError, match=r"reward worker \d: score of record r7.*no such thing"):
        answers(handle, "raise")
