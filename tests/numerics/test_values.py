# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A packed, sharded, split critic against one process that runs each response alone in transformers' own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor
from transformers import AutoModelForImageTextToText

from tests import policy_world, world
from verl.fsdp.critic import Critic, ValueSettings
from verl.models.adapter import load_adapter
from verl.types import Experience

LOSS = ValueSettings(clip=0.5, average="token")
LOW = 93  # packed tokens: several micro-batches, and a group that has to be cut
CASES = {
    "shared": {"shared_prompt": True, "token_budget": 4096},
    "shared, cut": {"shared_prompt": True, "token_budget": LOW},
    "plain, cut": {"shared_prompt": False, "token_budget": LOW},
}


class Found(NamedTuple):
    values: list[Tensor]
    gradients: dict[str, Tensor]
    loss: float


def dealt(made: policy_world.World) -> list[list[Experience]]:
    """Rows of two ranks: uneven, and the second has no video."""
    one, two = made.clip("one"), made.clip("two", frames=6, height=32)
    first = made.rows(made.prompt("Which colour?", one), 0, [9, 30, 3, 17, 1])
    second = made.rows(made.prompt("Which is longer?", two, one), 1, [4, 12])
    third = made.rows(made.prompt("What is two plus two?"), 2, [6, 2, 20])
    return [[policy_world.valued(row) for row in rows] for rows in ([*first, *second], third)]


def head(width: int) -> Tensor:
    return 0.1 * torch.randn(1, width, generator=torch.Generator().manual_seed(5))


def packed(path: Path, case: dict[str, Any], hands: int) -> Found:
    """What the optimizer is given, with this process as one of `hands` ranks, and this rank's values."""
    made = policy_world.World(load_adapter(str(path)), shared_prompt=case["shared_prompt"])
    rows = dealt(made)
    mine = rows[dist.get_rank()] if hands == 2 else [row for hand in rows for row in hand]
    training = policy_world.learning_settings(max_grad_norm=float("inf"), token_budget=case["token_budget"])
    settings = policy_world.critic_settings(token_budget=case["token_budget"])
    critic = Critic(made.packer, settings, training, init_device_mesh("cpu", (hands,)))
    weight = critic.model.score.weight
    with torch.no_grad():
        weight.copy_(distribute_tensor(head(weight.shape[1]), weight.device_mesh, weight.placements))
    values = [torch.from_numpy(row) for row in critic.values([row.trajectory for row in mine])]
    gradients: dict[str, Tensor] = {}

    def keep(*_: Any) -> None:
        for name, parameter in critic.model.named_parameters():
            gradients[name] = parameter.grad.full_tensor().clone()

    critic.learner.optimizer.register_step_pre_hook(keep)
    metrics = critic.update([mine], LOSS)
    return Found(values, gradients, metrics["critic/vf_loss"].total)


def save(rank: int, path: Path, target: Path) -> None:
    found = {name: packed(path, case, 2) for name, case in CASES.items()}
    torch.save({name: tuple(one) for name, one in found.items()}, target / f"{rank}.pt")


def alone(path: Path) -> Found:
    """One response at a time; the value of a token is read where it is predicted; the mean over all tokens."""
    made = policy_world.World(load_adapter(str(path)))
    rows = [row for hand in dealt(made) for row in hand]
    num_tokens = sum(len(row.returns) for row in rows)
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")
    weight = torch.nn.Parameter(head(model.get_input_embeddings().weight.shape[1]))
    values, whole = [], 0.0
    for row in rows:
        found = policy_world.stock_states(model, made, row.trajectory) @ weight[0]
        old, returns = torch.from_numpy(row.values), torch.from_numpy(row.returns)
        clipped = old + (found - old).clamp(-LOSS.clip, LOSS.clip)
        loss = 0.5 * torch.maximum((found - returns) ** 2, (clipped - returns) ** 2).sum()
        (loss / num_tokens).backward()
        values.append(found.detach())
        whole += loss.item()
    gradients = {name: p.grad for name, p in model.named_parameters() if not name.startswith("lm_head")}
    gradients["score.weight"] = weight.grad
    wholes = {name: model.get_parameter(name) if name != "score.weight" else weight for name in gradients}
    zeros = {name: torch.zeros_like(p) for name, p in wholes.items()}  # a weight that no row uses has none
    return Found(values, {name: zeros[name] if g is None else g for name, g in gradients.items()}, whole)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("values") / "model")


@pytest.fixture(scope="module")
def expected(model_path: Path) -> Found:
    return alone(model_path)


@pytest.fixture(scope="module")
def of_two_ranks(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    target = tmp_path_factory.mktemp("ranks")
    policy_world.run_ranks(save, 2, model_path, target)
    first, second = (torch.load(target / f"{rank}.pt") for rank in range(2))
    return {
        name: Found(first[name][0] + second[name][0], first[name][1], first[name][2] + second[name][2])
        for name in CASES
    }


def assert_close(found: Found, expected: Found) -> None:
    for left, right in zip(found.values, expected.values, strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-6)
    assert max(float(row.abs().max()) for row in expected.values) > 0.1
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.gradients.keys() == expected.gradients.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.gradients.values())
    error = max(float((found.gradients[name] - expected.gradients[name]).abs().max()) for name in expected.gradients)
    assert largest > 1e-2
    assert error <= 1e-6, f"error {error:.1e} in gradients up to {largest:.1e}"


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_values_and_gradients_of_one_process_without_packing(
    case: str, of_two_ranks: dict[str, Found], expected: Found
) -> None:
    assert_close(of_two_ranks[case], expected)


@pytest.mark.parametrize("case", ["shared, cut"])
def test_one_rank_has_the_values_and_gradients_of_one_process_without_packing(
    case: str, model_path: Path, expected: Found, tmp_path: Path
) -> None:
    policy_world.one_rank(tmp_path)
    assert_close(packed(model_path, CASES[case], 1), expected)
