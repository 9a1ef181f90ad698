# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Whole weights out of a sharded model, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from verl.models.low_rank import is_adapter, merged, peft_name, plain_name


class FullWeights:
    """Iterates over (name, whole tensor as `dtype`), a tied one once. Collective: all ranks iterate together.

    One gather per sharded block, in the type it computes with. A tensor is valid until the next one is asked for.
    Low-rank adapters are in the weights they belong to: added in float32, at `scale`, and rounded once.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype, scale: float = 0.0) -> None:
        self._dtype = dtype
        self._scale = scale
        self._blocks = _blocks(model)
        self._shapes = {name: tuple(value.shape) for name, value in model.named_parameters()}

    def metadata(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        """(name, type, shape) in the order of iteration, without communication."""
        return [
            (plain_name(prefix + name), self._dtype, self._shapes[prefix + name])
            for prefix, _, names in self._blocks
            for name in names
        ]

    @torch.no_grad()
    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, block, names in self._blocks:
            block.unshard()
            whole = dict(block.named_parameters())  # type: ignore[attr-defined]
            for name in names:
                yield plain_name(prefix + name), merged(name, whole, self._scale).to(self._dtype)
            block.reshard()


def _blocks(model: nn.Module) -> list[tuple[str, FSDPModule, list[str]]]:
    """(prefix, sharded module, names below it that no deeper one holds, without adapters), in module order."""
    found = [
        (name + "." * bool(name), module) for name, module in model.named_modules() if isinstance(module, FSDPModule)
    ]
    names = [name for name, _ in model.named_parameters() if not is_adapter(name)]
    owner: dict[str, str] = {}
    for prefix, _ in found:  # a deeper module comes later and takes over
        owner |= {name: prefix for name in names if name.startswith(prefix)}
    return [
        (prefix, module, [name.removeprefix(prefix) for name, held in owner.items() if held == prefix])
        for prefix, module in found
    ]


class AdapterWeights:
    """Iterates over (peft's name, whole tensor as `dtype`) of the adapters alone, a gather each. Collective."""

    def __init__(self, model: nn.Module, dtype: torch.dtype, device: str) -> None:
        self._model = model
        self._dtype = dtype
        self._device = device

    @torch.no_grad()
    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name, weight in self._model.named_parameters():
            if is_adapter(name):
                here = weight.detach().to(self._device)
                whole = here.full_tensor() if isinstance(here, DTensor) else here
                yield peft_name(name), whole.to(self._dtype)
