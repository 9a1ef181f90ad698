# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Weights from disk into a sharded model, a block of rows at a time: no rank ever holds the whole model."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from verl.errors import ConfigError
from verl.models.low_rank import plain_name
from verl.models.pretrained import PretrainedWeights

BLOCK_BYTES = 64 << 20


class WeightStream:
    """Whole weights in blocks of rows, on every rank alike: each reads them itself, or rank 0 reads and sends them.

    Only rank 0 opens files if `from_one`, and its ConfigError is then that of all ranks.
    """

    def __init__(self, open_weights: Callable[[], PretrainedWeights], device: str, *, from_one: bool) -> None:
        self._device = device
        self._from_one = from_one
        self._reader: PretrainedWeights | None = None
        self._dtypes: dict[str, str] = {}
        if from_one:
            self._dtypes = self._announced(open_weights)
        else:
            self._reader = open_weights()

    def blocks(self, name: str, shape: torch.Size) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows) of a weight as it is stored. Valid until the next one. Collective if rank 0 sends."""
        whole = None if self._reader is None else self._reader.read(name)
        dtype = getattr(torch, self._dtypes[name]) if whole is None else whole.dtype
        rows, *rest = shape or (1,)
        step = max(1, BLOCK_BYTES // max(1, math.prod(rest) * dtype.itemsize))
        for start in range(0, rows, step):
            size = (min(step, rows - start), *rest)
            if whole is None:
                block = torch.empty(size, dtype=dtype, device=self._device)
            else:
                block = whole.view(rows, *rest)[start : start + step]
            if self._from_one:
                block = block.to(self._device)
                dist.broadcast(block.view(torch.uint8), src=0)
            yield start, block

    def _announced(self, open_weights: Callable[[], PretrainedWeights]) -> dict[str, str]:
        """Types by name, as rank 0 finds them. Collective."""
        found: dict[str, Any] = {}
        if dist.get_rank() == 0:
            try:
                self._reader = open_weights()
                types = {name: self._reader.dtype(name) for name in self._reader.names}
                found = {"dtypes": {name: str(dtype).removeprefix("torch.") for name, dtype in types.items()}}
            except ConfigError as error:
                found = {"error": str(error)}
        found = _sent(found, self._device)
        if "error" in found:
            raise ConfigError(found["error"])
        return found["dtypes"]


@torch.no_grad()
def fill(model: nn.Module, stream: WeightStream, first_values: Callable[[str, Tensor], Tensor | None]) -> None:
    """Give every weight its value: what `first_values` makes of name and weight, or, if that is None, the stored one.

    Collective if the stream is. Weights are converted to the type that the model keeps them in.
    """
    kept = model.state_dict()
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
    for name, target in [*model.named_parameters(), *buffers.items()]:
        fresh = first_values(name, target)
        blocks = stream.blocks(plain_name(name), target.shape) if fresh is None else iter([(0, fresh)])
        for start, rows in blocks:
            _place(rows, start, target)


def _place(rows: Tensor, start: int, target: Tensor) -> None:
    """Copy what this rank keeps of the rows of a whole weight, of which the first is row `start`."""
    shape, offset, local = tuple(target.shape), (0,) * target.ndim, target.detach()
    if isinstance(target, DTensor):
        shape, offset = compute_local_shape_and_global_offset(target.shape, target.device_mesh, target.placements)
        local = target.to_local()
    if not shape:
        local.copy_(rows[0])
        return
    low, high = max(start, offset[0]), min(start + len(rows), offset[0] + shape[0])
    if low < high:
        inner = tuple(slice(begin, begin + size) for begin, size in zip(offset[1:], shape[1:], strict=True))
        local[low - offset[0] : high - offset[0]].copy_(rows[(slice(low - start, high - start), *inner)])


def _sent(message: dict[str, Any], device: str) -> dict[str, Any]:
    """Rank 0's message, on all ranks. Collective."""
    text = json.dumps(message).encode()
    size = torch.tensor(len(text), device=device)
    dist.broadcast(size, src=0)
    if dist.get_rank() != 0:
        text = bytes(int(size))
    body = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(device)
    dist.broadcast(body, src=0)
    return json.loads(body.cpu().numpy().tobytes())
