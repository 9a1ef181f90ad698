# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from tests import policy_world, world
from tests.policy_world import World, experience, valued
from verl.checkpoint import sharded
from verl.errors import CheckpointError, ContractError
from verl.fsdp.critic import Critic, ValueSettings
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.tracking.metrics import Last, Sum
from verl.types import Trajectory

LOSS = ValueSettings(clip=0.5, average="token")


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("critic") / "model")


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)


def new_critic(path: Path, **training: Any) -> tuple[Critic, list[Trajectory]]:
    made = World(load_adapter(str(path)))
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    settings = policy_world.critic_settings(fsdp={"enable_rank0_init": False})
    critic = Critic(made.packer, settings, policy_world.learning_settings(**training), mesh)
    rows = made.rows(made.prompt("what?", made.clip("a")), 0, [5, 9, 3])
    return critic, [*rows, *made.rows(made.prompt("and?"), 1, [4, 6])]


def trained(critic: Critic) -> sharded.Trained:
    return sharded.Trained(critic.model, critic.learner.optimizer, critic.learner.schedule)


@pytest.mark.parametrize("tied", [True, False])
def test_the_first_values_are_zero_and_a_head_of_one_row_replaces_that_of_the_vocabulary(
    tied: bool, tmp_path: Path
) -> None:
    critic, rows = new_critic(world.tiny_model(tmp_path / "model", tied=tied))
    values = critic.values(rows)
    assert [row.shape for row in values] == [(5,), (9,), (3,), (4,), (6,)]
    assert all(row.dtype == np.float32 and not row.any() for row in values)
    names = dict(critic.model.named_parameters())
    assert names["score.weight"].shape[0] == 1 and not any(name.startswith("lm_head") for name in names)


def test_values_come_nearer_to_the_returns_and_the_clip_holds_them(model_path: Path) -> None:
    critic, rows = new_critic(model_path)
    metrics = [critic.update([[valued(row) for row in rows]], LOSS) for _ in range(8)]
    losses = [one["critic/vf_loss"].value for one in metrics]
    assert losses[-1] < 0.9 * losses[0]
    assert metrics[0]["critic/vf_loss"].weight == 27  # tokens
    assert 0 < metrics[0]["critic/vf_clipfrac"].value < 1
    assert metrics[0]["critic/lr"] == Last(1e-3) and metrics[0]["critic/skipped_updates"] == Sum(0.0)
    assert not any(name.startswith("actor/") for name in metrics[0])


def test_an_update_needs_the_values_the_advantages_were_made_with(model_path: Path) -> None:
    critic, rows = new_critic(model_path)
    with pytest.raises(ContractError, match="response 0 to test:what"):
        critic.update([[experience(row) for row in rows]], LOSS)


def test_a_checkpoint_restores_every_bit_of_body_head_and_optimizer(model_path: Path, tmp_path: Path) -> None:
    critic, rows = new_critic(model_path)
    critic.update([[valued(row) for row in rows]], LOSS)
    sharded.save(tmp_path / "critic", trained(critic))
    kept = dict(sharded.local_state(trained(critic)))
    other, _ = new_critic(model_path)
    sharded.load(tmp_path / "critic", trained(other))
    assert dict(sharded.local_state(trained(other))) == kept
    assert any(name.startswith("optimizer.score.weight") for name in kept)
    left, right = (one.update([[valued(row) for row in rows]], LOSS) for one in (critic, other))
    assert left == right
    assert torch.equal(critic.model.score.weight.full_tensor(), other.model.score.weight.full_tensor())


def test_a_policys_folder_is_not_a_critics(model_path: Path, tmp_path: Path) -> None:
    critic, _ = new_critic(model_path)
    made = World(load_adapter(str(model_path)))
    policy = Policy(made.packer, policy_world.policy_settings(), policy_world.training_settings(), critic.mesh)
    sharded.save(tmp_path / "actor", sharded.Trained(policy.model, policy.optimizer, policy.learner.schedule))
    with pytest.raises(CheckpointError, match=r"score\.weight"):
        sharded.load(tmp_path / "actor", trained(critic))
