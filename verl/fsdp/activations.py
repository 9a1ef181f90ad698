# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What gradient checkpointing keeps of each block waits in host memory for the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers.modeling_layers import GradientCheckpointingLayer


def offload_inputs(model: nn.Module) -> None:
    """Move the inputs of the blocks that are recomputed, [N, D] each, to host memory after the block's forward pass.

    Only they: what a block makes is not kept at all, and weights stay where they are.
    """
    blocks: list[Any] = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for block in blocks:
        if block.gradient_checkpointing:
            block._gradient_checkpointing_func = partial(_checkpointed, block._gradient_checkpointing_func)


def _checkpointed(checkpoint: Callable[..., Any], block: Callable[..., Any], *inputs: Any) -> Any:
    with saved_tensors_hooks(to_host, to_device):  # checkpoint sets hooks of its own for what is inside the block
        return checkpoint(block, *inputs)


def to_host(tensor: Tensor) -> tuple[torch.device, Tensor]:
    """A copy in host memory, and where it came from. The device does not wait for it."""
    held = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
    return tensor.device, held.copy_(tensor, non_blocking=True)


def to_device(held: tuple[torch.device, Tensor]) -> Tensor:
    """The inverse, behind it on the same stream."""
    device, tensor = held
    return tensor.to(device, non_blocking=True)
