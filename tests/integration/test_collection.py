# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One run that filters groups, mixes in responses from the data, compares with greedy ones, and chooses tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.runs import arguments, make_world, read_metrics
from verl.config.checks import check
from verl.config.load import load
from verl.trainer.wiring import launched
from verl.types import Source

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

WRITTEN = "<answer>A</answer>"
FLAT = """
def flat(rows):
    scores = [float(row["response"].count("e") > 0) for row in rows]
    return [{"overall": score, "accuracy": score} for score in scores]
"""
CHANGES = (
    "algorithm.adv_estimator=remax",
    "algorithm.online_filtering=true",
    "algorithm.mask_truncated=false",
    "data.mini_rollout_batch_size=3",
    "data.max_response_length=24",
    "trainer.max_steps=2",
    "trainer.max_try_make_batch=0",
    "trainer.n_gpus_per_node=1",
    "trainer.val_freq=-1",
    "worker.actor.loss_type=kl_cov",
    "worker.actor.loss_options.kl_cov_ratio=0.2",
    "worker.actor.global_batch_size=4",
    "worker.rollout.n=3",
    "worker.rollout.enable_mix_policy=true",
)


@dataclass
class Collected:
    steps: list[dict]
    groups: list  # of a third step
    restored: list  # the same as a surplus that went through a checkpoint's JSON
    gap: float


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    directory = make_world(tmp_path_factory.mktemp("collection"))
    (directory / "reward.py").write_text(FLAT)
    rows = directory / "data" / "train.jsonl"
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    own = [line | ({"offline_output": WRITTEN} if at % 2 else {}) for at, line in enumerate(lines)]
    rows.write_text("".join(json.dumps(line) + "\n" for line in own))
    reward = f"worker.reward.reward_function={directory / 'reward.py'}:flat"
    config = load(arguments(directory, *CHANGES, reward))
    check(config)
    with launched(config) as trainer:
        state = trainer.fit()
        trainer.rollout.sleep()
        trainer._publish(state.step)
        groups, _ = trainer.collector.collect(99)
        _, metrics = trainer.assembler.assemble(groups)
        trainer.collector.surplus = groups
        trainer.collector.restore(json.loads(json.dumps(trainer.collector.state())))
        restored = trainer.collector.surplus
    steps = [row for row in read_metrics(directory / "run") if "actor/pg_loss" in row]
    return Collected(steps, groups, restored, metrics["rollout/logprob_gap_max"].value)


def places(group):
    return [(row.trajectory.source, row.trajectory.index) for row in group]


def test_every_group_is_full_and_ends_with_its_greedy_baseline(collected):
    generated = [(Source.POLICY, 0), (Source.POLICY, 1), (Source.POLICY, 2), (Source.GREEDY, 3)]
    mixed = [*generated[:2], (Source.OFFLINE, 2), (Source.GREEDY, 3)]
    for group in collected.groups:
        has_own = bool(group[0].trajectory.prompt.record.offline_responses)
        assert places(group) == (mixed if has_own else generated)
    assert len(collected.groups) == 4


def test_only_groups_with_something_to_learn_are_kept(collected):
    for group in collected.groups:
        assert len({row.verdict.overall for row in group}) > 1
    assert all(row["groups/rounds"] >= 1 and row["groups/kept_share"] > 0 for row in collected.steps)


def test_a_surplus_comes_back_from_a_checkpoint_to_the_bit(collected):
    for before, after in zip(collected.groups, collected.restored, strict=True):
        assert places(before) == places(after)
        for old, new in zip(before, after, strict=True):
            assert old.verdict == new.verdict
            assert old.trajectory.response_ids.tobytes() == new.trajectory.response_ids.tobytes()
            assert old.trajectory.rollout_logprobs.tobytes() == new.trajectory.rollout_logprobs.tobytes()
            assert old.trajectory.prompt.record is new.trajectory.prompt.record
            assert old.trajectory.prompt.ids.tobytes() == new.trajectory.prompt.ids.tobytes()


def test_the_engine_and_the_trainer_agree_on_what_the_policy_wrote(collected):
    assert collected.gap < 1e-4


def test_tokens_that_the_driver_chose_reach_the_loss(collected):
    assert all(0.1 < row["actor/chosen_share"] <= 0.2 for row in collected.steps)


def test_authors_are_told_apart_in_the_metrics(collected):
    names = {"reward/offline/overall", "reward/greedy/overall", "mix_policy/advantage", "reward/unfiltered/overall"}
    assert names <= {name for row in collected.steps for name in row}
    shares = [row["mix_policy/offline_share"] for row in collected.steps]
    assert 0 < max(shares) <= 1 / 3 and all(row["mix_policy/discarded"] == 0 for row in collected.steps)
