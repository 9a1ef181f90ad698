# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Packed, sharded, split gradients against one process that runs each response alone in transformers' own code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from transformers import AutoModelForImageTextToText

from tests import policy_world, world
from verl.algorithms.contract import LossSettings, OffPolicySettings
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter
from verl.types import Experience, Source

SETTINGS = LossSettings(clip_low=0.2)
EVERYTHING = LossSettings(
    average="seq_norm",
    response_length=32.0,
    use_kl_loss=True,
    kl_kind="k3+",
    kl_coef=0.5,
    kl_bias_correction=True,
    entropy_coef=0.1,
    off_policy=OffPolicySettings(loss="luffy"),
)
LOW = 93  # packed tokens: several micro-batches, and a group that has to be cut
CASES = {
    "shared": {"shared_prompt": True, "token_budget": 4096},
    "shared, cut": {"shared_prompt": True, "token_budget": LOW},
    "plain": {"shared_prompt": False, "token_budget": 4096},
    "plain, cut": {"shared_prompt": False, "token_budget": LOW},
}
MIXED = {"loss": "gspo", "settings": EVERYTHING}  # with weights and a row of another author
Gradients = dict[str, Tensor]


def dealt(made: policy_world.World) -> list[list[Experience]]:
    """Rows of two ranks: uneven, and the second has no video."""
    one, two = made.clip("one"), made.clip("two", frames=6, height=32)
    first = made.rows(made.prompt("Which colour?", one), 0, [9, 30, 3, 17, 1])
    second = made.rows(made.prompt("Which is longer?", two, one), 1, [4, 12])
    third = made.rows(made.prompt("What is two plus two?"), 2, [6, 2, 20])
    return [[policy_world.experience(row) for row in rows] for rows in ([*first, *second], third)]


def gradients(path: Path, case: dict[str, Any], hands: int) -> Gradients:
    """What the optimizer is given, with this process as one of `hands` ranks."""
    made = policy_world.World(load_adapter(str(path)), shared_prompt=case["shared_prompt"])
    rows = dealt(made)
    rows = [[mixed(row) for row in hand] for hand in rows] if "loss" in case else rows
    mine = rows[dist.get_rank()] if hands == 2 else [row for hand in rows for row in hand]
    training = policy_world.training_settings(
        max_grad_norm=float("inf"), token_budget=case["token_budget"], loss=case.get("loss", "default")
    )
    mesh = init_device_mesh("cpu", (hands,))
    policy = Policy(made.packer, policy_world.policy_settings(), training, mesh)
    found: Gradients = {}

    def keep(*_: Any) -> None:
        for name, parameter in policy.model.named_parameters():
            found[name] = parameter.grad.full_tensor().clone()

    policy.optimizer.register_step_pre_hook(keep)
    policy.update([mine], case.get("settings", SETTINGS))
    return found


def mixed(row: Experience) -> Experience:
    """With weights, one of them 0, and some other author's."""
    length = len(row.advantages)
    weights = np.linspace(0, 2, length, dtype=np.float32)
    source = Source.OFFLINE if length == 3 else Source.POLICY
    return replace(row, weights=weights, trajectory=replace(row.trajectory, source=source))


def save_gradients(rank: int, path: Path, target: Path) -> None:
    found = {name: gradients(path, case, 2) for name, case in CASES.items()}
    found["mixed"] = gradients(path, CASES["shared, cut"] | MIXED, 2)
    if rank == 0:
        torch.save(found, target)


def alone(path: Path) -> Gradients:
    """One response at a time, the loss written out, the mean over all response tokens."""
    made = policy_world.World(load_adapter(str(path)))
    rows = [row for hand in dealt(made) for row in hand]
    num_tokens = sum(len(row.trajectory.response_ids) for row in rows)
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")
    for row in rows:
        logprobs = stock_logprobs(model, made, row)
        ratio = (logprobs - torch.from_numpy(row.old_logprobs)).exp()
        advantages = torch.from_numpy(row.advantages)
        clipped = ratio.clamp(1 - SETTINGS.clip_low, 1 + SETTINGS.clip_high)
        loss = torch.maximum(-advantages * ratio, -advantages * clipped)
        dual = torch.minimum(loss, -advantages * SETTINGS.clip_dual)
        (torch.where(advantages < 0, dual, loss).sum() / num_tokens).backward()
    return {  # a weight that no row uses has none
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }


def stock_logprobs(model: Any, made: policy_world.World, row: Experience) -> Tensor:
    prompt = row.trajectory.prompt
    response = torch.from_numpy(row.trajectory.response_ids).long()
    ids = torch.cat([torch.from_numpy(prompt.ids).long(), response])[None]
    media: dict[str, Any] = {}
    if prompt.media:
        clips = [made.patches.get(ref) for ref in prompt.media]
        media = {
            "pixel_values_videos": torch.cat([clip.normalised(torch.float32) for clip in clips]),
            "video_grid_thw": torch.tensor([clip.grid for clip in clips]),
            "mm_token_type_ids": 2 * (ids == model.config.video_token_id).int(),
        }
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **media).logits[0]
    predicted = logits[len(prompt.ids) - 1 : -1].log_softmax(-1)
    return predicted.gather(-1, response[:, None])[:, 0]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.tiny_model(tmp_path_factory.mktemp("gradients") / "model")


@pytest.fixture(scope="module")
def expected(model_path: Path) -> Gradients:
    return alone(model_path)


@pytest.fixture(scope="module")
def of_two_ranks(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Gradients]:
    target = tmp_path_factory.mktemp("ranks") / "gradients.pt"
    policy_world.run_ranks(save_gradients, 2, model_path, target)
    return torch.load(target)


def assert_close(found: Gradients, expected: Gradients) -> None:
    assert found.keys() == expected.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    error = max(float((found[name] - expected[name]).abs().max()) for name in expected)
    assert largest > 1e-2
    assert error <= 1e-6, f"error {error:.1e} in gradients up to {largest:.1e}"


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_have_the_gradient_of_one_process_without_packing(
    case: str, of_two_ranks: dict[str, Gradients], expected: Gradients
) -> None:
    assert_close(of_two_ranks[case], expected)


@pytest.mark.parametrize("case", ["shared, cut", "plain"])
def test_one_rank_has_the_gradient_of_one_process_without_packing(
    case: str, model_path: Path, expected: Gradients, tmp_path: Path
) -> None:
    policy_world.one_rank(tmp_path)
    assert_close(gradients(model_path, CASES[case], 1), expected)


def test_every_term_of_the_loss_is_the_same_for_two_ranks_with_cut_groups_and_one_without(
    of_two_ranks: dict[str, Gradients], model_path: Path, tmp_path: Path
) -> None:
    policy_world.one_rank(tmp_path)
    assert_close(of_two_ranks["mixed"], gradients(model_path, CASES["plain"] | MIXED, 1))


def test_the_budget_cuts_the_first_group_and_gives_the_ranks_uneven_numbers_of_passes(model_path: Path) -> None:
    made = policy_world.World(load_adapter(str(model_path)))
    first, second = ([row.trajectory for row in rows] for rows in dealt(made))
    passes = made.packer.plan(first, LOW)
    assert len(passes) > len(made.packer.plan(second, LOW))
    holding = {place for bin_ in passes for bundle in bin_ if bundle[0] < 5 for place in bundle}
    assert holding == set(range(5))
    assert sum(bundle[0] < 5 for bin_ in passes for bundle in bin_) > 1
