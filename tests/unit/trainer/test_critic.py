# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A run with a critic: the order of calls, the warm-up, what the estimator and the critic are given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.rows import scored
from tests.unit.trainer.test_loop import build, schedule
from verl.algorithms.advantage import find_advantage
from verl.checkpoint.layout import CheckpointRoot
from verl.cluster.deal import deal
from verl.config.load import load
from verl.errors import CheckpointError, ConfigError
from verl.tracking.metrics import Last, Mean, values
from verl.trainer import critic as critic_module
from verl.trainer.critic import CriticTraining, check_critic, recut
from verl.trainer.summary import value_metrics
from verl.types import Experience


@dataclass
class FakeCritic:
    """Values every token by its place."""

    diary: list

    def values(self, dealt):
        self.diary.append("values")
        hands = [[np.arange(len(row.response_ids), dtype=np.float32) / 10 for row in hand] for hand in dealt.hands]
        return dealt.gather(hands)

    def update(self, steps):
        self.diary.append(("update_critic", [step.num_rows for step in steps]))
        self.rows = [row for step in steps for hand in step.hands for row in hand]
        return {"critic/vf_loss": Mean(0.5), "critic/lr": Last(1e-3)}

    def end_step(self):
        return {}

    def save(self, directory):
        self.diary.append(("save", directory.name))
        (directory / "shards").mkdir(parents=True)
        (directory / "shards" / ".metadata").write_bytes(b"x")

    def load(self, directory):
        self.diary.append(("load critic", directory.parent.name))


def build_with_critic(tmp_path, *, groups_per_update=4, **changes):
    trainer, memory, diary = build(tmp_path, schedule=schedule(**changes))
    critic = FakeCritic(diary)
    trainer.assembler = replace(trainer.assembler, critic=critic, advantage=find_advantage("gae"))
    trainer.checkpoints = replace(trainer.checkpoints, critic=critic)
    trainer.critic = CriticTraining(critic, groups_per_update)
    return trainer, memory, diary


def updates(diary):
    return [entry[0] for entry in diary if isinstance(entry, tuple) and entry[0].startswith("update")]


def test_the_critic_is_asked_before_the_advantages_and_learns_before_the_policy(tmp_path):
    trainer, memory, diary = build_with_critic(tmp_path, total_steps=1)
    trainer.validator = None
    trainer.fit()
    step = ["generate", "sleep", "logprobs", "values", ("update_critic", [16]), ("update", [8, 8])]
    assert diary[4:] == [*step, "wake_weights", ("publish", 1), "wake_cache", ("save", "actor"), ("save", "critic")]
    numbers = dict(memory.logged)[1]
    assert {"timing_s/values", "timing_s/update_critic", "critic/vf_loss", "critic/values/mean"} <= numbers.keys()


@pytest.mark.parametrize("warmup", [0, 1, 3])
def test_a_warm_up_of_n_is_n_steps_of_the_critic_alone(tmp_path, warmup):
    trainer, memory, diary = build_with_critic(tmp_path, total_steps=4, critic_warmup=warmup)
    trainer.fit()
    assert updates(diary) == ["update_critic"] * warmup + ["update_critic", "update"] * (4 - warmup)
    learning = [step for step, numbers in memory.logged if "actor/pg_loss" in numbers]
    assert learning == list(range(warmup + 1, 5))


def test_the_critic_has_optimizer_steps_of_its_own_size(tmp_path):
    trainer, _, diary = build_with_critic(tmp_path, groups_per_update=1, total_steps=1)
    trainer.fit()
    assert ("update_critic", [4, 4, 4, 4]) in diary


def test_values_and_returns_reach_the_update_row_by_row(tmp_path):
    trainer, _, _ = build_with_critic(tmp_path, total_steps=1)
    trainer.fit()
    assert len(trainer.critic.critic.rows) == 16
    for row in trainer.critic.critic.rows:
        np.testing.assert_allclose(row.values, [0.0, 0.1, 0.2])
        np.testing.assert_allclose(row.returns, row.score.overall, atol=1e-6)  # gamma = lambda = 1: what is to come
    assert {row.score.overall for row in trainer.critic.critic.rows} == {0.0, 1.0}


def test_a_resumed_run_loads_the_critic_too(tmp_path):
    build_with_critic(tmp_path, total_steps=2)[0].fit()
    trainer, _, diary = build_with_critic(tmp_path, total_steps=3)
    assert trainer.fit().step == 3
    assert ("load critic", "global_step_2") in diary


def test_a_checkpoint_without_a_critic_is_refused_and_one_with_half_a_critic_is_none(tmp_path):
    build(tmp_path, schedule=schedule(total_steps=1))[0].fit()
    with pytest.raises(CheckpointError, match="without a critic"):
        build_with_critic(tmp_path, total_steps=2)[0].fit()
    (tmp_path / "global_step_1" / "critic" / "shards").mkdir(parents=True)
    assert CheckpointRoot(tmp_path).complete() == []


def test_recutting_keeps_every_row_in_its_hand():
    groups = [
        [scored(group, index, 0.0).trajectory for index in range(size)] for group, size in enumerate([3, 1, 2, 4])
    ]
    rows = [[experience(row, 0.0, 0.0) for row in group] for group in groups]
    dealt = [deal(rows[:2], 2, len), deal(rows[2:], 2, len)]
    held = [{id(row) for one in dealt for row in one.hands[rank]} for rank in range(2)]
    parts = recut(dealt, 3)
    assert [part.num_rows for part in parts] == [6, 4]
    assert [{id(row) for part in parts for row in part.hands[rank]} for rank in range(2)] == held
    assert all(sorted(place for hand in part.places for place in hand) == list(range(part.num_rows)) for part in parts)
    assert recut(dealt[:1], 2) == dealt[:1]


def experience(row, values, returns):
    length = len(row.response_ids)
    return Experience(
        trajectory=row,
        score=scored(0, 0, 1.0).verdict,
        old_logprobs=row.rollout_logprobs,
        ref_logprobs=None,
        values=None if values is None else np.full(length, values, np.float32),
        advantages=np.zeros(length, np.float32),
        returns=np.full(length, returns, np.float32),
    )


def test_explained_variance_is_over_all_tokens_of_the_step():
    rows = [scored(0, index, 1.0, num_tokens=length).trajectory for index, length in enumerate([3, 1])]
    found = values(value_metrics([experience(rows[0], 0.5, 1.0), experience(rows[1], 0.25, 0.0)]))
    residual = np.array([0.5, 0.5, 0.5, -0.25])
    assert found["critic/explained_variance"] == pytest.approx(1 - residual.var() / np.array([1, 1, 1, 0]).var())
    assert found["critic/values/max"] == 0.5
    equal = values(value_metrics([experience(rows[0], 0.5, 1.0), experience(rows[1], 0.25, 1.0)]))
    assert "critic/explained_variance" not in equal
    assert value_metrics([experience(rows[0], None, 1.0)]) == {}


def refused(name, *changes, num_steps=10):
    config = load([f"algorithm.adv_estimator={name}", "data.rollout_batch_size=8", *changes])
    with pytest.raises(ConfigError) as error:
        check_critic(config, find_advantage(name), None, num_steps)
    return str(error.value)


def test_what_a_critic_cannot_do_is_refused_where_there_is_one_and_nowhere_else():
    fitting = "worker.critic.global_batch_size=4"
    assert "worker.critic.global_batch_size=256" in refused("gae")
    assert "worker.critic.ulysses_size=2: the critic" in refused("gae", fitting, "worker.critic.ulysses_size=2")
    assert "cliprange_value=0.0: must be above 0" in refused("gae", fitting, "worker.critic.cliprange_value=0")
    assert "max_token_len_per_gpu=64 is less" in refused("gae", fitting, "worker.critic.max_token_len_per_gpu=64")
    assert "leaves none of the 10" in refused("gae", fitting, "trainer.critic_warmup=10")
    assert "no critic to warm up" in refused("grpo", "trainer.critic_warmup=1")
    check_critic(load(["worker.critic.ulysses_size=2"]), find_advantage("grpo"), None, 10)


def test_heads_of_a_critic_of_its_own_must_be_shared_out_too(monkeypatch):
    def check(size):
        raise ConfigError(f"not by {size}")

    monkeypatch.setattr(
        critic_module, "critic_source", lambda _: SimpleNamespace(model_path="own", tokenizer_path=None)
    )
    monkeypatch.setattr(critic_module, "load_adapter", lambda *_, **__: SimpleNamespace(check_sequence=check))
    monkeypatch.setattr(critic_module, "_check_family", lambda *_: None)
    changes = ["worker.actor.ulysses_size=2", "worker.critic.ulysses_size=2", "worker.critic.global_batch_size=4"]
    config = load(["algorithm.adv_estimator=gae", "data.rollout_batch_size=8", *changes])
    with pytest.raises(ConfigError, match="not by 2"):
        check_critic(config, find_advantage("gae"), SimpleNamespace(model_path="policy"), 10)
