# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Weights, moments and activations in host memory: the same steps, and device memory that is given back.

Not yet run on a GPU: the tolerances are expectations, not measurements.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from tests import policy_world, world
from verl.algorithms.contract import LossSettings
from verl.config.model import OffloadConfig
from verl.fsdp.policy import Policy
from verl.models.adapter import load_adapter

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

BOTH = OffloadConfig(offload_params=True, offload_optimizer=True)
WAYS: dict[str, dict[str, Any]] = {
    "between phases": {"offload": BOTH},
    "by FSDP2": {"fsdp": {"enable_cpu_offload": True}},
    "by FSDP2, the rest ignored": {"fsdp": {"enable_cpu_offload": True}, "offload": BOTH},
    "activations": {"model": {"enable_activation_offload": True}},
}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("offload")
    if not dist.is_initialized():
        options = {"init_method": f"file://{folder}/rendezvous", "rank": 0, "world_size": 1}
        dist.init_process_group("cpu:gloo,cuda:nccl", **options)
    return world.tiny_model(folder / "model", tied=True)


def weights_after(path: Path, **settings: Any) -> tuple[dict[str, torch.Tensor], Policy]:
    """Of two steps."""
    made = policy_world.World(load_adapter(str(path)))
    mesh = init_device_mesh("cuda", (1,))
    policy = Policy(made.packer, policy_world.policy_settings(**settings), policy_world.training_settings(), mesh)
    rows = [*made.rows(made.prompt("what?", made.clip("a")), 0, [5, 9]), *made.rows(made.prompt("and?"), 1, [4, 6])]
    experience = [policy_world.experience(row) for row in rows]
    policy.update([experience[:2], experience[2:]], LossSettings())
    with policy.weights_present():
        return {name: tensor.cpu().clone() for name, tensor in policy.full_weights(torch.float32)}, policy


@pytest.mark.parametrize("way", WAYS)
def test_offloaded_steps_are_the_same(way: str, model_path: Path) -> None:
    expected, _ = weights_after(model_path)
    found, _ = weights_after(model_path, **WAYS[way])
    for name, weight in expected.items():  # another kernel of AdamW, and a step of 1e-3 where a gradient rounds to 0
        assert float(((found[name] - weight).abs() > 1e-4).float().mean()) < 0.02, name


def test_between_phases_nothing_is_left_on_the_device(model_path: Path) -> None:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    _, policy = weights_after(model_path, offload=BOTH)
    left = torch.cuda.memory_allocated() - before
    with policy.learner.state_present():
        there = torch.cuda.memory_allocated() - before
    size = sum(parameter.numel() for parameter in policy.model.parameters()) * 4
    assert there - left >= 2.9 * size  # weights and two moments
    assert left < 0.5 * size


def test_activations_in_host_memory_lower_the_peak(model_path: Path) -> None:
    peaks = []
    for offloaded in (False, True):
        made = policy_world.World(load_adapter(str(model_path)))
        settings = policy_world.policy_settings(model={"enable_activation_offload": offloaded})
        training = policy_world.training_settings(token_budget=1 << 16)
        policy = Policy(made.packer, settings, training, init_device_mesh("cuda", (1,)))
        rows = [policy_world.experience(row) for row in made.rows(made.prompt("long"), 0, [4096] * 8)]
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        policy.update([rows], LossSettings())
        peaks.append(torch.cuda.max_memory_allocated() - start)
        del policy
    assert peaks[1] < peaks[0]
