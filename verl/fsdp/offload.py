# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What leaves the accelerator between phases, and comes back for the next one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim import Optimizer


def move_params(model: nn.Module, device: str) -> None:
    """Move a sharded model's weights and buffers. Between forward and backward it would lose them."""
    model.to(device)


def move_optimizer(optimizer: Optimizer, device: str) -> None:
    """Move an optimizer's state; step counters stay where the optimizer keeps them."""
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, torch.Tensor) and name != "step":
                state[name] = value.to(device)


@contextmanager
def present(model: nn.Module | None, optimizer: Optimizer | None, device: str) -> Iterator[None]:
    """Both are on `device` inside, in host memory outside. None is left alone; on a CPU nothing moves."""
    if device == "cpu":
        yield
        return
    _move(model, optimizer, device)
    try:
        yield
    finally:
        put_away(model, optimizer)


def put_away(model: nn.Module | None, optimizer: Optimizer | None = None) -> None:
    """Move both to host memory and give back what the allocator keeps of this phase: an engine shares the device."""
    _move(model, optimizer, "cpu")
    torch.cuda.empty_cache()


def _move(model: nn.Module | None, optimizer: Optimizer | None, device: str) -> None:
    if model is not None:
        move_params(model, device)
    if optimizer is not None:
        move_optimizer(optimizer, device)
