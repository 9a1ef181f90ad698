# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Two ranks that share packed rows (Ulysses) against one rank: log-probabilities, gradients, the step, memory.

Two pairs of ranks are in test_copies.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor

from scripts.bench.sequence_parallel import saved_bytes
from tests import policy_world, world
from tests.numerics.test_gradients import EVERYTHING, mixed
from verl.config.model import LoraConfig
from verl.fsdp.critic import Critic, ValueSettings
from verl.fsdp.forward import add_policy_forward, response_logprobs
from verl.fsdp.mesh import sequence_group
from verl.fsdp.policy import Policy
from verl.fsdp.sampling import Sampling
from verl.models.adapter import load_adapter
from verl.models.ulysses import ALONE, SequenceGroup
from verl.types import Experience

FAMILIES = {"qwen3_vl": 64, "qwen2_5_vl": 56, "qwen3": 0, "qwen3_5": 64}  # side of a frame, in pixels
STORED = {"enable_gradient_checkpointing": False}
LORA = {"lora": LoraConfig(rank=4, alpha=12), "freeze_vision_tower": True}
CASES: dict[str, dict[str, Any]] = {
    "qwen3_vl": {},
    "qwen3_vl, plain, cut": {"shared_prompt": False, "budget": 250, "model": STORED},
    "qwen3_vl, adapters": {"model": LORA},
    "qwen2_5_vl": {"model": STORED},
    "qwen2_5_vl, plain": {"shared_prompt": False},
    "qwen3": {"model": STORED},
    "qwen3, plain": {"shared_prompt": False},
    "qwen3_5": {},
}
CRITIC = "qwen3_vl, critic"
RELATIVE = {"qwen3_5"}  # log-probabilities near 8: sums over fewer heads at a time round otherwise
Found = dict[str, Tensor]


def rows_of(made: policy_world.World, side: int) -> list[Experience]:
    """Two videos, one of them twice, an image and text; odd lengths, and a response of one token."""
    asked = [("What is two plus two?", (), [6, 2, 19])]
    if side:
        one, two = made.clip("one", height=side, width=side), made.clip("two", frames=5, height=side // 2, width=side)
        picture = made.image("picture", height=side // 2, width=side // 2)
        asked += [("Which colour?", (one,), [9, 1, 17]), ("Is it in one of them?", (two, picture, one), [4, 12])]
    found = []
    for group, (text, media, lengths) in enumerate(asked):
        found += [mixed(policy_world.experience(row)) for row in made.rows(made.prompt(text, *media), group, lengths)]
    return found


def new_world(path: Path, case: dict[str, Any]) -> tuple[policy_world.World, Any]:
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    group = sequence_group(mesh, mesh.size())
    shared_prompt = case.get("shared_prompt", True)
    return policy_world.World(load_adapter(str(path)), shared_prompt=shared_prompt, group=group), mesh


def whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def step(path: Path, side: int, case: dict[str, Any]) -> Found:
    """Log-probabilities, metrics and gradients of one update, with every term of the loss, and weights after it."""
    made, mesh = new_world(path, case)
    budget = case.get("budget", 4096) // mesh.size()  # of one rank: passes hold the same rows on one and on two
    settings = policy_world.policy_settings(model=case.get("model", {}), token_budget=budget)
    training = policy_world.training_settings(token_budget=budget, max_grad_norm=1e9)
    policy = Policy(made.packer, settings, training, mesh)
    rows = rows_of(made, side)
    found: Found = {}

    def keep(*_: Any) -> None:
        for name, parameter in policy.model.named_parameters():
            if parameter.grad is not None:
                found[f"gradient of {name}"] = whole(parameter.grad)

    logprobs, squares = zip(*policy.logprobs_and_squares([row.trajectory for row in rows]), strict=True)
    found["logprobs"] = torch.cat([torch.from_numpy(row) for row in logprobs])
    found["sum_pi_squared"] = torch.cat([torch.from_numpy(row) for row in squares])
    policy.optimizer.register_step_pre_hook(keep)
    metrics = policy.update([rows], EVERYTHING)
    names = sorted(name for name in metrics if name.startswith("actor/") and name != "actor/skipped_updates")
    found["metrics"] = torch.tensor([metrics[name].value for name in names]).nan_to_num()  # nothing measured: nan
    return found | {name: whole(weight) for name, weight in policy.model.named_parameters() if weight.requires_grad}


def critic_step(path: Path, side: int) -> Found:
    """Gradients of the critic's head; the head starts at zero, so that of the rest is zero."""
    made, mesh = new_world(path, {})
    critic = Critic(made.packer, policy_world.critic_settings(), policy_world.learning_settings(), mesh)
    rows = [policy_world.valued(row.trajectory) for row in rows_of(made, side)]
    with torch.no_grad():
        head = critic.model.get_parameter("score.weight")
        head.copy_(head + 0.05)
    found = {"values": torch.cat([torch.from_numpy(row) for row in critic.values([row.trajectory for row in rows])])}

    def keep(*_: Any) -> None:
        for name, parameter in critic.model.named_parameters():
            found[f"gradient of {name}"] = whole(parameter.grad)

    critic.learner.optimizer.register_step_pre_hook(keep)
    critic.update([rows], ValueSettings(clip=0.5, average="token"))
    return found


def all_steps(paths: dict[str, Path]) -> dict[str, Found]:
    found = {name: step(paths[family(name)], FAMILIES[family(name)], case) for name, case in CASES.items()}
    return found | {CRITIC: critic_step(paths["qwen3_vl"], FAMILIES["qwen3_vl"])}


def family(case: str) -> str:
    return case.partition(",")[0]


def kept(path: Path, group: SequenceGroup, *, checkpointing: bool) -> int:
    """Bytes that this rank keeps of a row of 1,100 tokens for the backward pass."""
    made = policy_world.World(load_adapter(str(path)), group=group)
    (row,) = made.rows(made.prompt("What happens?", made.clip("long", frames=8, height=512, width=512)), 0, [40])
    model = made.adapter.build(torch.float32, gradient_checkpointing=checkpointing)
    add_policy_forward(model, made.adapter)
    batch = made.packer.pack([row], ((0,),))
    num_bytes, logprobs = saved_bytes(model, lambda: response_logprobs(model, batch, Sampling())[0])
    logprobs.sum().backward()
    return num_bytes


def two_ranks(rank: int, paths: dict[str, Path], target: Path) -> None:
    memory = {}
    for checkpointing in (False, True):
        groups = (ALONE, sequence_group(init_device_mesh("cpu", (2,)), 2))
        memory[checkpointing] = [kept(paths["qwen3_vl"], group, checkpointing=checkpointing) for group in groups]
    torch.save(all_steps(paths) | {"memory": memory}, target / f"{rank}.pt")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: world.tiny_model(tmp_path_factory.mktemp("ulysses") / name, name) for name in FAMILIES}


@pytest.fixture(scope="module")
def of_two(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    target = tmp_path_factory.mktemp("ranks")
    policy_world.run_ranks(two_ranks, 2, paths, target)
    return [torch.load(target / f"{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def of_one(paths: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    policy_world.one_rank(tmp_path_factory.mktemp("one"))
    return all_steps(paths)


@pytest.mark.parametrize("case", [*CASES, CRITIC])
def test_two_ranks_that_share_rows_are_one_rank(case: str, of_two: list[Any], of_one: dict[str, Found]) -> None:
    first, second = of_two[0][case], of_two[1][case]
    assert first.keys() == second.keys() == of_one[case].keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    gradients = [tensor for name, tensor in of_one[case].items() if name.startswith("gradient")]
    assert max(float(gradient.abs().max()) for gradient in gradients) > 1e-2
    for name, expected in of_one[case].items():
        known = torch.ones_like(expected, dtype=torch.bool)
        if f"gradient of {name}" in first:  # AdamW turns the rounding of a gradient near 0 into a whole step
            known = of_one[case][f"gradient of {name}"].abs() > 1e-5
        bound = 1e-6 * max(1.0, float(expected.abs().max()) if case in RELATIVE else 0.0)
        assert float(((first[name] - expected).abs() * known).max()) <= bound, name


@pytest.mark.parametrize("checkpointing", [False, True])
def test_two_ranks_keep_half_as_much_each_for_the_backward_pass(checkpointing: bool, of_two: list[Any]) -> None:
    for rank in of_two:
        alone, shared = rank["memory"][checkpointing]
        assert alone > 1 << 20
        assert shared <= 0.52 * alone
