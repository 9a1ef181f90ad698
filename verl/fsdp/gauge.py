# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""How much of what a device could do a training step does."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from verl.fsdp.packing import MicroBatch
from verl.models.adapter import ModelAdapter
from verl.models.flops import peak_flops
from verl.tracking.metrics import Mean, Metrics


class Gauge:
    """Counts operations and seconds from now on."""

    def __init__(self, adapter: ModelAdapter, model: nn.Module, device: str) -> None:
        self._adapter = adapter
        self._peak = peak_flops(torch.cuda.get_device_name()) if device == "cuda" else None
        tower = adapter.vision_tower(model)  # type: ignore[arg-type]
        inside = [] if tower is None else list(tower.parameters())
        known = {id(parameter) for parameter in inside}
        self._of_vision = passes_of(inside)
        self._of_decoder = passes_of([each for each in model.parameters() if id(each) not in known])
        self._done = 0.0
        self._begin = time.perf_counter()

    def add(self, batch: MicroBatch) -> None:
        """A micro-batch went through, forwards and backwards. Fillers are no work."""
        if batch.order:
            flops = self._adapter.flops(batch.row, len(batch.targets))
            self._done += self._of_decoder * flops.of_decoder + self._of_vision * flops.of_vision

    def metrics(self, role: str) -> Metrics:
        """`perf/mfu_<role>`; nothing where nobody knows what the device could do."""
        if self._peak is None:
            return {}
        return {f"perf/mfu_{role}": Mean(self._done, (time.perf_counter() - self._begin) * self._peak)}


def passes_of(parameters: Sequence[Tensor]) -> float:
    """Forward passes that a step is worth: 3 where all is trained, 1 where nothing is, 2 and a bit with adapters.

    Gradients of activations cost a pass, those of weights one for the share of weights that have them.
    """
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return 2 + trained / sum(parameter.numel() for parameter in parameters) if trained else 1.0
