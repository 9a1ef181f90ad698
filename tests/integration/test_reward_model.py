# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rules and a reward model in processes of their own; one of them dies."""

from __future__ import annotations

import pytest
import ray

from tests.reward_models import says, tiny_reward_model
from tests.rows import prompt, trajectory
from verl.cluster.group import Watch, WorkerGroup
from verl.config.reward_model import RewardModelConfig
from verl.config.worker import RewardConfig
from verl.fsdp.reward_model import RewardModel
from verl.media.source import ClipReader
from verl.tracking.metrics import values
from verl.trainer.reward_models import JointRewards, Shares, model_handle, reward_model_order
from verl.trainer.scorers import RewardHandle
from verl.types import NotScorable
from verl.workers.reward import RewardWorker
from verl.workers.reward_model import RewardModelWorker, load_reader

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

REWARD = """
def score(rows):
    return [{"overall": float(len(row["response"]))} for row in rows]
"""
TEXTS = ("Four.", "4", "It is four, of course.", "five")


@pytest.fixture(scope="module")
def cluster():
    ray.init("local", include_dashboard=False, num_cpus=4, logging_level="ERROR")
    yield
    ray.shutdown()


def group_of(kind, *order, name: str) -> WorkerGroup:
    def renew(rank):
        return ray.remote(kind).options(num_cpus=0).remote(*order)

    return WorkerGroup(name, [renew(0)], Watch(), renew=renew)


def rows():
    return [
        says(trajectory(0, index, of=prompt("r7", problem="Two and two?")), text) for index, text in enumerate(TEXTS)
    ]


def submitted(rewards) -> list:
    for row in rows():
        rewards.submit(row)
    return [row.verdict for row in rewards.collect()]


def test_both_are_added_up_and_a_dead_reward_model_is_replaced(cluster, tmp_path):
    (tmp_path / "reward.py").write_text(REWARD)
    config = RewardModelConfig(model_path=str(tiny_reward_model(tmp_path / "model")), dtype="fp32", max_batch_size=4)
    order = reward_model_order(config)
    models = group_of(RewardModelWorker, order, name="reward model")
    rules = group_of(RewardWorker, RewardConfig(reward_function=f"{tmp_path / 'reward.py'}:score"), name="rule")
    models.all("start")
    rule = RewardHandle(rules, batch_size=len(TEXTS), timeout_seconds=60.0)
    rewards = JointRewards(rule, model_handle(models, config, 1), Shares(rule=0.5, model=2.0))

    here = RewardModel(load_reader(order.source), order.settings, ClipReader()).score(rows())
    raw = [verdict.parts["model_score"] for verdict in here]
    found = submitted(rewards)
    assert [v.parts["model_score"] for v in found] == pytest.approx(raw, abs=1e-5)
    assert [v.overall for v in found] == pytest.approx(
        [0.5 * len(text) + 2.0 * score for text, score in zip(TEXTS, raw, strict=True)], abs=1e-4
    )

    ray.kill(models.actors[0])
    lost = submitted(rewards)
    assert "its process died" in next(v.reason for v in lost if isinstance(v, NotScorable))
    assert [v.overall for v in submitted(rewards)] == pytest.approx([v.overall for v in found], abs=1e-4)
    metrics = values(rewards.drain_metrics())
    assert metrics["reward_model/lost_workers"] == 1 and metrics["reward/lost_workers"] == 0
    assert metrics["reward_model/multiple_choice/seconds"] > 0 and metrics["reward_model/throughput"] > 0
