# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""One PPO run on real processes: two policy ranks, two critic ranks, an engine. Two steps, the first a warm-up.

The two ranks of a model share their rows, a slice of them each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.runs import arguments, make_world, read_metrics
from verl.checkpoint.merge import merge
from verl.config.checks import check
from verl.config.load import load
from verl.trainer.wiring import launched

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PPO = [
    "algorithm.adv_estimator=gae",
    "worker.critic.global_batch_size=2",
    "worker.critic.max_token_len_per_gpu=512",
    "worker.critic.optim.lr=1e-3",
    "worker.actor.global_batch_size=4",
    "worker.actor.ulysses_size=2",
    "worker.critic.ulysses_size=2",
    "trainer.critic_warmup=1",
    "trainer.max_steps=2",
    "data.val_files=[]",
    "trainer.val_freq=-1",
]


@dataclass
class Trained:
    """Fingerprints of every rank of policy and critic."""

    directory: Path
    started: list[dict]
    warmed: list[dict]
    saved: list[dict]
    moved: list[dict]
    loaded: list[dict]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = make_world(tmp_path_factory.mktemp("ppo"))
    config = load(arguments(directory, *PPO))
    check(config)
    with launched(config) as trainer:
        groups = [trainer.policy.workers, trainer.critic.critic.workers]

        def fingerprints():
            return [one for group in groups for one in group.all("fingerprint")]

        started = fingerprints()
        state = trainer._step(replace(trainer._begin(), step=1))
        warmed = fingerprints()
        state = trainer._step(replace(state, step=2))  # the last one: it saves
        saved = fingerprints()
        trainer._step(replace(state, step=97))
        moved = fingerprints()
        trainer._restore(trainer.checkpoints.resume())
        return Trained(directory, started, warmed, saved, moved, fingerprints())


def changed(before: list[dict], after: list[dict]) -> list[bool]:
    """By rank, whether a weight is another: two of the policy, then two of the critic."""
    return [
        any(one[name] != two[name] for name in one if name.startswith("model."))
        for one, two in zip(before, after, strict=True)
    ]


def test_in_the_warm_up_only_the_critic_learns_and_then_both(trained):
    assert changed(trained.started, trained.warmed) == [False, False, True, True]
    assert changed(trained.warmed, trained.saved) == [True, True, True, True]


def test_a_checkpoint_restores_every_bit_of_both(trained):
    assert changed(trained.saved, trained.moved) == [True, True, True, True]
    assert trained.loaded == trained.saved
    assert any(name == "model.score.weight" for name in trained.saved[2])


def test_the_log_says_how_both_are_doing(trained):
    first, second = [row for row in read_metrics(trained.directory / "run") if "critic/vf_loss" in row][:2]
    assert "actor/pg_loss" not in first and "actor/pg_loss" in second
    assert first["critic/values/max"] == first["critic/values/min"] == 0.0  # the head starts at zero
    assert second["critic/values/max"] != 0.0
    assert first["rollout/logprob_gap_max"] < 1e-4 and second["rollout/logprob_gap_max"] < 1e-4
    assert first["media/loads_per_clip"] == 1.0
    assert {"critic/vf_clipfrac", "critic/lr", "critic/grad_norm", "timing_s/update_critic"} <= first.keys()


def test_the_policy_merges_beside_a_critic(trained, tmp_path):
    folder = merge(trained.directory / "run" / "global_step_2" / "actor", tmp_path / "merged", None)
    assert (folder / "model.safetensors").is_file()
