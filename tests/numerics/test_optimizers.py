# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Each optimizer against its formula in float64, number by number; Muon against torch's own and on two ranks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from tests import ranks
from verl.config.model import OptimConfig
from verl.fsdp import muon
from verl.fsdp.optim import build_optimizer

STEPS, LR, DECAY, BETAS, MOMENTUM = 6, 1e-2, 0.1, (0.9, 0.99), 0.8


class Small(nn.Module):
    """A table, matrices wide and tall, a norm, a bias and a value head. Tables hold no whole number of blocks."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(7, 6)
        self.wide, self.tall = nn.Linear(64, 96, bias=False), nn.Linear(9, 4)
        self.norm, self.value = nn.LayerNorm(6), nn.Linear(6, 1)


def gradient(step: int, name: str, shape: torch.Size) -> np.ndarray:
    rng = np.random.default_rng([step, sum(name.encode())])
    return rng.standard_normal(tuple(shape)) + 0.3


def train(strategy: str, dtype: torch.dtype = torch.float32, **keys: Any) -> dict[str, np.ndarray]:
    model = Small().to(dtype)
    config = OptimConfig(strategy=strategy, lr=LR, weight_decay=DECAY, betas=BETAS, muon_momentum=MOMENTUM, **keys)
    optimizer = build_optimizer(model, config)
    for step in range(STEPS):
        for name, parameter in model.named_parameters():
            parameter.grad = torch.from_numpy(gradient(step, name, parameter.shape)).to(dtype)
        optimizer.step()
    return {name: parameter.detach().double().numpy() for name, parameter in model.named_parameters()}


def adamw_twin(start: np.ndarray, gradients: list[np.ndarray], decay: float) -> np.ndarray:
    weight, mean, square = start.copy(), np.zeros_like(start), np.zeros_like(start)
    for step, gradient in enumerate(gradients, start=1):
        mean = BETAS[0] * mean + (1 - BETAS[0]) * gradient
        square = BETAS[1] * square + (1 - BETAS[1]) * gradient**2
        unbiased, spread = mean / (1 - BETAS[0] ** step), square / (1 - BETAS[1] ** step)
        weight = weight - LR * decay * weight - LR * unbiased / (np.sqrt(spread) + 1e-8)
    return weight


def muon_twin(start: np.ndarray, gradients: list[np.ndarray], decay: float) -> np.ndarray:
    weight, mean = start.copy(), np.zeros_like(start)
    for gradient in gradients:
        mean = MOMENTUM * mean + (1 - MOMENTUM) * gradient
        u, singular, v = np.linalg.svd(MOMENTUM * mean + (1 - MOMENTUM) * gradient, full_matrices=False)
        singular = singular / np.linalg.norm(singular)
        for _ in range(5):
            singular = 3.4445 * singular - 4.7750 * singular**3 + 2.0315 * singular**5
        weight = weight - LR * decay * weight
        weight = weight - LR * 0.2 * math.sqrt(max(weight.shape)) * (u * singular) @ v
    return weight


def twins(strategy: str, *, decays_vectors: bool = False) -> dict[str, np.ndarray]:
    found = {}
    for name, parameter in Small().named_parameters():
        start = parameter.detach().double().numpy()
        gradients = [gradient(step, name, parameter.shape) for step in range(STEPS)]
        twin = muon_twin if strategy == "muon" and name in ("wide.weight", "tall.weight") else adamw_twin
        found[name] = twin(start, gradients, DECAY if parameter.ndim > 1 or decays_vectors else 0.0)
    return found


def largest_gap(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    assert found.keys() == expected.keys()
    return max(float(np.abs(found[name] - expected[name]).max()) for name in expected)


@pytest.mark.parametrize("strategy", ["adamw", "muon"])
@pytest.mark.parametrize("decays_vectors", [False, True])
def test_float32_follows_the_formula(strategy: str, decays_vectors: bool) -> None:
    expected = twins(strategy, decays_vectors=decays_vectors)
    assert largest_gap(train(strategy, decay_vectors=decays_vectors), expected) < 3e-6
    assert largest_gap(twins(strategy, decays_vectors=not decays_vectors), expected) > 1e-3


def test_compensated_sums_stay_within_the_rounding_of_bf16_weights() -> None:
    """What bf16 cannot hold of a weight near 1 is 1/256; six plain roundings would add up."""
    for name, found in train("adamw_bf16", torch.bfloat16).items():
        expected = twins("adamw_bf16")[name]
        assert np.abs(found - expected).max() < np.maximum(np.abs(expected).max(), 1e-2) / 128, name


def test_8_bit_moments_are_wide_where_they_are_few_and_near_where_they_are_many() -> None:
    pytest.importorskip("torchao")
    found, expected = train("adamw_8bit"), twins("adamw")
    moved = np.abs(expected["wide.weight"] - Small().wide.weight.detach().numpy())
    apart = np.abs(found["wide.weight"] - expected["wide.weight"])
    assert 1e-6 < apart.mean() < 0.02 * moved.mean()  # only this one is of 4096 values or more
    del found["wide.weight"], expected["wide.weight"]
    assert largest_gap(found, expected) < 3e-6


@pytest.mark.parametrize("shape", [(6, 6), (5, 24), (24, 5)])
def test_a_muon_step_in_bfloat16_is_that_of_torch_bit_for_bit(shape: tuple[int, int]) -> None:
    ours, theirs = (nn.Parameter(torch.full(shape, 0.5).bfloat16()) for _ in range(2))
    options = {"lr": 0.1, "weight_decay": 0.1}
    mine = muon.Muon([{"params": [ours], "momentum": 0.95, **options}], lr=0.1, betas=(0.9, 0.999))
    torchs = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", momentum=0.95, **options)
    for step in range(3):
        ours.grad = torch.from_numpy(gradient(step, "w", ours.shape)).bfloat16()
        theirs.grad = ours.grad.clone()
        mine.step(), torchs.step()
        assert torch.equal(ours, theirs)


SHAPES = [(8, 6), (7, 12), (3, 5), (1024, 2), (1, 3)]  # of 2 ranks, one has no row of the last


def spread_steps(rank: int, target: Path | None = None) -> list[torch.Tensor]:
    """Muon on matrices spread over all ranks, some of whose shards are smaller than others, or empty."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    whole = [torch.from_numpy(gradient(9, str(shape), torch.Size(shape))).float() for shape in SHAPES]
    weights = [nn.Parameter(distribute_tensor(tensor, mesh, [Shard(0)])) for tensor in whole]
    optimizer = muon.Muon([{"params": weights, "momentum": 0.9, "weight_decay": 0.1}], lr=0.1, betas=(0.9, 0.9))
    for step in range(2):
        for weight in weights:
            grad = torch.from_numpy(gradient(step, str(weight.shape), weight.shape)).float()
            weight.grad = distribute_tensor(grad, mesh, [Shard(0)])
        optimizer.step()
    found = [weight.full_tensor().detach() for weight in weights]
    if target is not None and rank == 0:
        torch.save(found, target)
    dist.barrier()  # nobody hangs up while another is still listening
    return found


def test_muon_on_shards_has_the_bits_of_muon_on_whole_matrices(tmp_path: Path) -> None:
    ranks.one_rank(tmp_path)
    ranks.run_ranks(spread_steps, 2, tmp_path / "spread.pt")
    for spread, whole in zip(torch.load(tmp_path / "spread.pt"), spread_steps(0), strict=True):
        assert torch.equal(spread, whole)
