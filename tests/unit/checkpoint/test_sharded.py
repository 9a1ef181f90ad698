# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh

from tests import policy_world, world
from verl.algorithms.contract import LossSettings
from verl.checkpoint import sharded
from verl.config.model import OptimConfig
from verl.errors import CheckpointError
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter

HAS_TORCHAO = find_spec("torchao") is not None
EIGHT_BIT = pytest.param("adamw_8bit", marks=pytest.mark.skipif(not HAS_TORCHAO, reason="needs torchao"))
STRATEGIES = ["adamw", "adamw_bf16", EIGHT_BIT, "muon"]
ACROSS = ["adamw", "muon", *(["adamw_8bit"] if HAS_TORCHAO else [])]  # adamw stands for those that go by element


def new_policy(path: Path, ranks: int, **optim: Any) -> tuple[Policy, policy_world.World]:
    made = policy_world.World(load_adapter(str(path)))
    optim = {"lr": 1e-3, "lr_warmup_steps": 2, "lr_scheduler_type": "cosine", **optim}
    training = policy_world.training_settings(optim=OptimConfig(**optim))
    mesh = init_device_mesh("cpu", (ranks,))
    return Policy(made.packer, policy_world.policy_settings(), training, mesh), made


def step(policy: Policy, made: policy_world.World, number: int) -> None:
    rows = made.rows(made.prompt(f"question {number}"), number, [3, 5])
    policy.update([[policy_world.experience(row) for row in rows]], LossSettings())


def trained(policy: Policy) -> sharded.Trained:
    return sharded.Trained(policy.model, policy.optimizer, policy.learner.schedule)


def resumed_equals_uninterrupted(path: Path, folder: Path, ranks: int, strategy: str = "adamw") -> None:
    policy, made = new_policy(path, ranks, strategy=strategy)
    for number in range(3):
        step(policy, made, number)
    sharded.save(folder, trained(policy))
    step(policy, made, 3)
    expected = dict(sharded.local_state(trained(policy)))
    random.random(), np.random.rand(), torch.rand(1)
    other, made = new_policy(path, ranks, strategy=strategy)
    sharded.load(folder, trained(other))
    step(other, made, 3)
    assert dict(sharded.local_state(trained(other))) == expected
    assert {name.split(".")[0] for name in expected} == {"model", "optimizer", "schedule", "rng"}


def two_ranks(rank: int, path: Path, folder: Path) -> None:
    torch.manual_seed(rank)
    for strategy in ACROSS:
        resumed_equals_uninterrupted(path, folder / strategy, 2, strategy)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("sharded") / "model", "qwen3", tied=True)


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(model_path: Path, tmp_path: Path, strategy: str) -> None:
    resumed_equals_uninterrupted(model_path, tmp_path / "actor", 1, strategy)


def test_two_ranks_resume_bitwise_and_one_rank_reads_what_they_wrote(
    model_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    policy_world.run_ranks(two_ranks, 2, model_path, tmp_path)
    for strategy in ACROSS:
        folder = tmp_path / strategy
        policy, made = new_policy(model_path, 1, strategy=strategy)
        sharded.load(folder, trained(policy))
        assert policy.learner.schedule.last_epoch == 3
        step(policy, made, 3)

    shutil.move(folder / "rng" / "rank_0.json", folder / "rng" / "rank_9.json")
    sharded.load(folder, trained(policy))
    assert "no random state of rank 0" in caplog.text


def test_model_only_saves_cannot_be_resumed_and_say_what_to_do(model_path: Path, tmp_path: Path) -> None:
    policy, _ = new_policy(model_path, 1)
    sharded.save(tmp_path / "actor", trained(policy), model_only=True)
    assert not any("exp_avg" in name for name in sharded.stored_shapes(tmp_path / "actor"))
    with pytest.raises(CheckpointError, match=r"holds the model only.*model_merger"):
        sharded.load(tmp_path / "actor", trained(policy))


def test_a_checkpoint_of_another_model_is_refused(model_path: Path, tmp_path: Path) -> None:
    policy, _ = new_policy(model_path, 1)
    sharded.save(tmp_path / "actor", trained(policy))
    other, _ = new_policy(world.tiny_model(tmp_path / "untied", "qwen3"), 1)
    with pytest.raises(CheckpointError, match=r"is of another model: 1 tensors differ \(lm_head.weight: absent"):
        sharded.load(tmp_path / "actor", trained(other))


def test_a_missing_checkpoint_is_named(model_path: Path, tmp_path: Path) -> None:
    policy, _ = new_policy(model_path, 1)
    with pytest.raises(CheckpointError, match="nowhere holds no complete shards"):
        sharded.load(tmp_path / "nowhere", trained(policy))


def test_a_lost_shard_is_a_checkpoint_error(model_path: Path, tmp_path: Path) -> None:
    policy, made = new_policy(model_path, 1)
    step(policy, made, 0)
    sharded.save(tmp_path / "actor", trained(policy))
    next((tmp_path / "actor" / "shards").glob("*.distcp")).unlink()
    with pytest.raises(CheckpointError, match="cannot be read; use another checkpoint"):
        sharded.load(tmp_path / "actor", trained(policy))
