# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What low-rank adapters and frozen parts demand of their keys."""

from __future__ import annotations

from collections.abc import Iterator

from verl.config.trainer import Config

LARGEST_RANK = 512  # that vLLM takes


def lora_problems(config: Config) -> Iterator[str]:
    """One message for every rule that the keys break."""
    model = config.worker.actor.model
    path, lora = "worker.actor.model", model.lora
    if lora.rank < 0:
        yield f"{path}.lora.rank={lora.rank}: must not be negative"
    if lora.rank > 0 and lora.alpha <= 0:
        yield f"{path}.lora.alpha={lora.alpha}: must be above 0, or adapters do nothing"
    if lora.rank > 0 and not lora.target_modules:
        yield f"{path}.lora.target_modules is empty: name layers, or all-linear"
    if lora.sync == "adapter" and lora.rank <= 0:
        yield f"{path}.lora.sync=adapter: there are no adapters; set {path}.lora.rank, or sync=merged"
    if lora.sync == "adapter" and lora.rank > LARGEST_RANK:
        yield f"{path}.lora.rank={lora.rank}: engines take {LARGEST_RANK} at most; set {path}.lora.sync=merged"
    if model.freeze_language_model and model.freeze_vision_tower and model.freeze_merger is not False:
        yield (
            f"{path}.freeze_language_model and {path}.freeze_vision_tower leave nothing to train; set one of them to"
            f" false, or {path}.freeze_merger=false to train the merger alone"
        )
