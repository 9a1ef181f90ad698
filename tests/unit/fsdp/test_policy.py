# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from tests import policy_world, world
from tests.policy_world import World, experience
from verl.algorithms.contract import LossSettings
from verl.config.model import OptimConfig
from verl.errors import ContractError, WorkerError
from verl.fsdp.policy import FrozenPolicy, Policy
from verl.fsdp.sampling import Sampling
from verl.models.adapter import load_adapter
from verl.tracking.metrics import Last, Mean, Sum
from verl.types import Trajectory

LOSS = LossSettings()


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("policy") / "model", tied=True)


@pytest.fixture(autouse=True)
def group(tmp_path: Path) -> None:
    policy_world.one_rank(tmp_path)


def some_rows(made: World) -> list[Trajectory]:
    video = made.rows(made.prompt("what?", made.clip("a")), 0, [5, 9, 3])
    return [video[0], *made.rows(made.prompt("and?"), 1, [4, 6]), *video[1:]]


def new_policy(path: Path, training: dict[str, Any] | None = None, **settings: Any) -> tuple[Policy, World]:
    made = World(load_adapter(str(path)), shared_prompt=settings.pop("shared_prompt", True))
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    chosen = policy_world.training_settings(**(training or {}))
    return Policy(made.packer, policy_world.policy_settings(**settings), chosen, mesh), made


def weights_of(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in policy.full_weights()}


@pytest.mark.parametrize("settings", [{"token_budget": 60}, {"shared_prompt": False}])
def test_logprobs_do_not_depend_on_order_packing_or_budget(model_path: Path, settings: dict[str, Any]) -> None:
    policy, made = new_policy(model_path)
    expected = policy.logprobs(some_rows(made))
    assert [len(row) for row in expected] == [5, 4, 6, 9, 3]
    other, made = new_policy(model_path, **settings)
    found = other.logprobs(some_rows(made)[::-1])[::-1]
    for left, right in zip(found, expected, strict=True):
        assert left.dtype == np.float32
        np.testing.assert_allclose(left, right, atol=2e-5)


@pytest.mark.parametrize("settings", [{}, {"token_budget": 60}, {"shared_prompt": False}])
def test_sums_of_squared_probabilities_are_those_of_a_whole_softmax(model_path: Path, settings: dict[str, Any]) -> None:
    policy, made = new_policy(model_path, **settings, sampling=Sampling(temperature=0.05))
    rows = some_rows(made)
    expected = whole_softmax(policy, made, rows)
    for (logprobs, squares), naive, plain in zip(
        policy.logprobs_and_squares(rows[::-1])[::-1], expected, policy.logprobs(rows), strict=True
    ):
        assert logprobs.dtype == squares.dtype == np.float32
        np.testing.assert_allclose(logprobs, plain, atol=5e-4)
        np.testing.assert_allclose(squares, naive, atol=5e-5)
    assert np.ptp(np.concatenate(expected)) > 0.01


def whole_softmax(policy: Policy, made: World, rows: list[Trajectory]) -> list[np.ndarray]:
    """In float64 over all tokens, one row at a time."""
    model, found = made.adapter.build(torch.float32), []
    model.load_state_dict(weights_of(policy), strict=False)
    for place in range(len(rows)):
        batch = made.packer.pack(rows, ((place,),))
        with torch.no_grad():
            hidden = batch.own_states(made.adapter.hidden_states(model, batch.row))
            logits = (hidden @ made.adapter.head(model).t()).double() / policy.settings.sampling.temperature
        found.append(logits.softmax(-1).square().sum(-1).numpy())
    return found


def test_a_frozen_copy_agrees_and_has_no_gradients(model_path: Path) -> None:
    policy, made = new_policy(model_path)
    copy = FrozenPolicy(made.packer, frozen_settings(policy), policy.mesh)
    assert not any(parameter.requires_grad for parameter in copy.model.parameters())
    for left, right in zip(copy.logprobs(some_rows(made)), policy.logprobs(some_rows(made)), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("enable_full_shard", [True, False])
def test_no_gathered_weights_stay_after_a_pass_without_gradients(model_path: Path, enable_full_shard: bool) -> None:
    policy, made = new_policy(model_path, fsdp={"enable_full_shard": enable_full_shard})
    policy.logprobs(some_rows(made))
    assert all(isinstance(weight, DTensor) for weight in policy.model.parameters())


def frozen_settings(policy: Policy) -> Any:
    return replace(policy.settings, blueprint=replace(policy.settings.blueprint, trainable=False))


def test_temperature_divides_the_logits(model_path: Path) -> None:
    flat, made = new_policy(model_path, sampling=Sampling(temperature=1e6))
    size = made.adapter.config.get_text_config().vocab_size
    for row in flat.logprobs(some_rows(made)):
        np.testing.assert_allclose(row, -math.log(size), atol=1e-3)


def test_a_step_reports_upstreams_metrics_and_moves_the_rate_once(model_path: Path) -> None:
    policy, made = new_policy(model_path, {"optim": OptimConfig(lr=1e-3, lr_warmup_steps=2), "num_epochs": 2})
    rows = [experience(row) for row in some_rows(made)]
    first = policy.update([rows[:3], rows[3:]], LossSettings(use_kl_loss=True, kl_coef=0.1, entropy_coef=0.01))
    assert first["actor/lr"] == Last(0.0)
    assert first["actor/skipped_updates"] == Sum(0.0)
    assert isinstance(first["actor/grad_norm"], Mean) and first["actor/grad_norm"].weight == 4
    assert {"actor/pg_loss", "actor/ppo_kl", "actor/entropy_loss", "actor/kl_loss", "actor/entropy"} <= first.keys()
    assert {"actor/pg_clipfrac_higher", "actor/pg_clipfrac_lower", "actor/kl_coef"} <= first.keys()
    assert first["actor/pg_loss"].weight == 2 * 27  # every token, in each of two epochs
    assert policy.update([rows], LOSS)["actor/lr"] == Last(5e-4)


def test_the_first_step_sees_no_change_of_the_policy(model_path: Path) -> None:
    policy, made = new_policy(model_path)
    rows = some_rows(made)
    own = [
        replace(experience(row), old_logprobs=logprobs)
        for row, logprobs in zip(rows, policy.logprobs(rows), strict=True)
    ]
    metrics = policy.update([own], LOSS)
    assert metrics["actor/ppo_kl"].value == pytest.approx(0, abs=1e-6)
    assert metrics["actor/pg_clipfrac_higher"].value == 0


def test_a_gradient_that_is_not_finite_changes_nothing_and_is_counted(model_path: Path) -> None:
    policy, made = new_policy(model_path)
    before = weights_of(policy)
    bad = [replace(experience(row), advantages=np.full(len(row.response_ids), np.nan)) for row in some_rows(made)]
    metrics = policy.update([bad], LOSS)
    assert metrics["actor/skipped_updates"] == Sum(1.0)
    assert "actor/grad_norm" not in metrics
    after = weights_of(policy)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_gradients_are_clipped_to_the_norm(model_path: Path) -> None:
    policy, made = new_policy(model_path, {"max_grad_norm": 0.01})
    norms: list[float] = []

    def record(*_: Any) -> None:
        squares = [parameter.grad.full_tensor().square().sum() for parameter in policy.model.parameters()]
        norms.append(float(torch.stack(squares).sum().sqrt()))

    policy.optimizer.register_step_pre_hook(record)
    metrics = policy.update([[experience(row) for row in some_rows(made)]], LOSS)
    assert metrics["actor/grad_norm"].value > 0.1
    assert norms == pytest.approx([0.01], rel=1e-3)


@pytest.mark.parametrize("name", ["clip_cov", "kl_cov"])
def test_a_choice_travels_with_its_rows_into_any_micro_batch(model_path: Path, name: str) -> None:
    found = []
    for settings in ({}, {"token_budget": 60}, {"shared_prompt": False}):
        policy, made = new_policy(model_path, {"loss": name}, **settings)
        rows = [experience(row) for row in some_rows(made)]
        chosen = [replace(row, chosen=row.advantages > 0.5) for row in rows]
        metrics = policy.update([chosen], LOSS)
        found.append([metrics[key].value for key in ("actor/chosen_share", "actor/pg_loss", "actor/grad_norm")])
    assert 0 < found[0][0] < 0.5
    assert found[1] == pytest.approx(found[0], rel=1e-5) and found[2] == pytest.approx(found[0], rel=1e-5)
    with pytest.raises(ContractError, match=f"{name}.*choice among the tokens of the update: not supplied"):
        policy.update([rows], LOSS)


def test_a_frozen_vision_tower_stays_and_the_rest_learns(model_path: Path) -> None:
    policy, made = new_policy(model_path, model={"freeze_vision_tower": True})
    before = weights_of(policy)
    policy.update([[experience(row) for row in some_rows(made)]], LOSS)
    changed = {name for name, tensor in weights_of(policy).items() if not torch.equal(tensor, before[name])}
    assert changed and not any(".visual." in name for name in changed)
    assert all(".visual." in name for name in before.keys() - changed)


def test_weights_come_whole_in_the_order_of_their_metadata_a_tied_one_once(model_path: Path) -> None:
    policy, made = new_policy(model_path)
    source = policy.full_weights(torch.bfloat16)
    found = [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in source]
    assert found == source.metadata()
    loaded = made.adapter.build(torch.float32)
    assert {name for name, *_ in found} == {name for name, _ in loaded.named_parameters()}
    assert "lm_head.weight" not in {name for name, *_ in found}
    for name, tensor in policy.full_weights():
        assert torch.equal(tensor, loaded.get_parameter(name)), name


def two_ranks(rank: int, path: Path, target: Path) -> None:
    """Rank 1 has no rows at all in the first step; rank 0 reads from disk and sends, or both read."""
    found = {}
    for from_one in (True, False):
        policy, made = new_policy(path, fsdp={"enable_rank0_init": from_one}, token_budget=60)
        rows = some_rows(made)
        logprobs = policy.logprobs(rows if rank == 0 else rows[:1])
        assert len(logprobs) == (5 if rank == 0 else 1)
        squares = [torch.from_numpy(own) for _, own in policy.logprobs_and_squares(rows if rank == 0 else [])]
        metrics = policy.update([[experience(row) for row in rows] if rank == 0 else []], LOSS)
        assert ("actor/skipped_updates" in metrics) == (rank == 0)
        found[from_one] = (logprobs, weights_of(policy), metrics["actor/grad_norm"].value, squares)
    policy, made = new_policy(path, {"optim": OptimConfig(max_skipped_steps=2)})
    bad = [replace(experience(row), advantages=np.full(len(row.response_ids), np.nan)) for row in some_rows(made)]
    policy.update([bad if rank == 0 else []], LOSS)
    with pytest.raises(WorkerError, match=r"2 optimizer steps in a row.*rank 0: actor/pg_loss in 1 of"):
        policy.update([bad if rank == 0 else []], LOSS)
    if rank == 0:
        torch.save(found[True][1:], target)
        assert found[True][2] == found[False][2]
        assert all(np.array_equal(a, b) for a, b in zip(found[True][0], found[False][0], strict=True))
        assert all(torch.equal(tensor, found[False][1][name]) for name, tensor in found[True][1].items())


def test_two_ranks_one_of_them_idle_end_with_the_weights_of_one(model_path: Path, tmp_path: Path) -> None:
    policy_world.run_ranks(two_ranks, 2, model_path, tmp_path / "weights.pt")
    found, norm, squares = torch.load(tmp_path / "weights.pt")
    policy, made = new_policy(model_path)
    for own, (_, expected_squares) in zip(squares, policy.logprobs_and_squares(some_rows(made)), strict=True):
        np.testing.assert_allclose(own, expected_squares, atol=1e-6)
    metrics = policy.update([[experience(row) for row in some_rows(made)]], LOSS)
    assert metrics["actor/grad_norm"].value == pytest.approx(norm, rel=1e-5)
    expected = weights_of(policy)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():  # AdamW turns the rounding of a gradient near 0 into a whole step
        assert float(((found[name] - tensor).abs() > 1e-5).float().mean()) < 0.02, name
