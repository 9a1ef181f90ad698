# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Whole weights out of a sharded model, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from verl.models.low_rank import is_adapter, merged, peft_name, plain_name


class FullWeights:
    """Iterates over (name, whole tensor as `dtype`), a tied one once. Collective: all ranks iterate together.

    One gather per sharded block, in the type it computes with. A tensor is valid until the next one is asked for.
    Low-rank adapters are in the weights they belong to: added in float32, at `scale`, and rounded once. `publish` makes
    of a name and a tensor what the receiver wants under that name.
    """

    def __init__(
        self,
        model: nn.Module,
        dtype: torch.dtype,
        scale: float = 0.0,
        publish: Callable[[str, Tensor], Tensor] = lambda name, weight: weight,
    ) -> None:
        self._dtype = dtype
        self._scale = scale
        self._publish = publish
        self._blocks = _blocks(model)
        bare = {name: torch.empty(value.shape, device="meta") for name, value in model.named_parameters()}
        self._shapes = {name: tuple(publish(plain_name(name), value).shape) for name, value in bare.items()}

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
                plain = plain_name(prefix + name)
                yield plain, self._publish(plain, merged(name, whole, self._scale)).to(self._dtype)
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
