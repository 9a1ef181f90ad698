# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The keys by which weights are spread."""

import pytest

from verl.config.load import load
from verl.config.sharding import sharding_problems

WORLD = ["trainer.nnodes=2", "trainer.n_gpus_per_node=4"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["worker.actor.fsdp.fsdp_size=3"], "worker.actor.fsdp.fsdp_size=3 does not divide the 8 devices"),
        (["worker.ref.fsdp.fsdp_size=5"], "worker.ref.fsdp.fsdp_size=5 does not divide the 8 devices"),
        (["worker.critic.fsdp.fsdp_size=-2"], "worker.critic.fsdp.fsdp_size=-2: must be at least 1, or -1"),
        (
            [
                "worker.actor.fsdp.fsdp_size=4",
                "worker.actor.fsdp.torch_dtype=bf16",
                "worker.actor.optim.strategy=adamw_8bit",
            ],
            "rounds bf16 weights at random, and so copies would drift apart",
        ),
        (
            [
                "worker.actor.model.enable_activation_offload=true",
                "worker.actor.model.enable_gradient_checkpointing=false",
            ],
            "set worker.actor.model.enable_gradient_checkpointing=true too",
        ),
    ],
)
def test_a_broken_rule_is_named(arguments: list[str], message: str) -> None:
    (found,) = sharding_problems(load([*WORLD, *arguments]))
    assert message in found


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        *([f"worker.actor.fsdp.fsdp_size={size}"] for size in (0, 1, 2, 4, 8, 64)),
        ["worker.actor.fsdp.fsdp_size=2", "worker.actor.optim.strategy=adamw_8bit"],
        ["worker.actor.fsdp.torch_dtype=bf16", "worker.actor.optim.strategy=adamw_8bit"],
        ["worker.actor.model.enable_activation_offload=true"],
    ],
)
def test_what_goes_together_breaks_no_rule(arguments: list[str]) -> None:
    assert list(sharding_problems(load([*WORLD, *arguments]))) == []
