# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Sending low-rank adapters to the engines, which have the model that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from safetensors.torch import save

from verl.config.model import LoraConfig
from verl.fsdp.weights import AdapterWeights
from verl.models.low_rank import peft_layers, peft_settings


class AdapterSender:
    """One rank's end, in the place of a `rollout.transfer.Sender`; rank 0 has the engines."""

    def __init__(self, weights: AdapterWeights, lora: LoraConfig, base: str, engines: Sequence[Any]) -> None:
        self._weights = weights
        self._lora = lora
        self._base = base
        self._engines = engines

    def send(self, version: int) -> None:
        """Send the adapters under `version`. The engines must be between wake_weights and wake_cache. Collective."""
        found = {}
        for name, tensor in self._weights:  # all ranks gather, one keeps
            if self._engines:
                found[name] = tensor.cpu().contiguous()
        if not self._engines:
            return
        settings = peft_settings(peft_layers(found), rank=self._lora.rank, alpha=self._lora.alpha, base=self._base)
        message = ray.put(save(found))
        ray.get([engine.load_adapter.remote(settings, message) for engine in self._engines])
        ray.get([engine.update_weight_version.remote(str(version)) for engine in self._engines])
