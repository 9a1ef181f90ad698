# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the spread of weights over processes and memories demands of its keys."""

from __future__ import annotations

from collections.abc import Iterator

from verl.config.keys import read
from verl.config.model import FsdpConfig, ModelConfig
from verl.config.trainer import Config


def sharding_problems(config: Config) -> Iterator[str]:
    """One message for every rule that the keys break."""
    world = config.trainer.nnodes * config.trainer.n_gpus_per_node
    size = config.worker.actor.ulysses_size
    if size > 0 and world % size:
        yield (
            f"worker.actor.ulysses_size={size} does not divide the {world} devices of"
            " trainer.nnodes * trainer.n_gpus_per_node"
        )
    for role in ("actor", "ref", "critic"):
        path = f"worker.{role}.fsdp"
        fsdp: FsdpConfig = read(config, path)
        copies = 0 < fsdp.fsdp_size < world
        if fsdp.fsdp_size < -1:
            yield f"{path}.fsdp_size={fsdp.fsdp_size}: must be at least 1, or -1 for all processes"
        if copies and world % fsdp.fsdp_size:
            yield (
                f"{path}.fsdp_size={fsdp.fsdp_size} does not divide the {world} devices of"
                " trainer.nnodes * trainer.n_gpus_per_node"
            )
        if role != "ref":
            strategy: str = read(config, f"worker.{role}.optim.strategy")
            if copies and strategy == "adamw_8bit" and fsdp.torch_dtype not in (None, "fp32"):
                yield (
                    f"worker.{role}.optim.strategy=adamw_8bit rounds {fsdp.torch_dtype} weights at random, and so"
                    f" copies would drift apart; set {path}.torch_dtype=null or {path}.fsdp_size=-1"
                )
            model: ModelConfig = read(config, f"worker.{role}.model")
            if model.enable_activation_offload and not model.enable_gradient_checkpointing:
                yield (
                    f"worker.{role}.model.enable_activation_offload moves what gradient checkpointing keeps; set"
                    f" worker.{role}.model.enable_gradient_checkpointing=true too"
                )
