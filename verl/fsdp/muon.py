# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Muon (arXiv 2502.16982) for the hidden matrices of a sharded model, AdamW for the rest, as one optimizer.

A step along an orthogonal matrix needs the whole matrix. `torch.optim.Muon` on a sharded one multiplies it by itself
shard by shard: every iteration gathers it anew, and bf16 sums depend on the number of ranks. Here each rank is sent as
many whole matrices as the others and works on those alone, so that a step has the same bits on any number of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer

from verl.errors import ConfigError

ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # of x, x^3, x^5: singular values end between 0.7 and 1.2
TINY = 1e-7
ADAMW_RMS = 0.2  # root mean square of an entry of AdamW's steps; ours are scaled to it, so that one lr fits both


class Muon(Optimizer):
    """`groups` are AdamW's; those with a key "momentum" hold matrices only, and are stepped by Muon."""

    def __init__(self, groups: Sequence[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(AdamW(groups, lr=lr, betas=betas).param_groups, {"lr": lr})
        self._rest = AdamW([nn.Parameter(torch.empty(0))])

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step for every parameter that has a gradient. Collective over the mesh of the matrices."""
        self._rest.param_groups = [group for group in self.param_groups if "momentum" not in group]
        self._rest.state = self.state
        self._rest.step()
        for group in self.param_groups:
            if "momentum" in group:
                self._step_matrices(group)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        trained = [matrix for matrix in group["params"] if matrix.grad is not None]
        trained.sort(key=lambda matrix: -matrix.numel())  # those of one exchange are of a size
        size = max((_layout(matrix).size for matrix in trained), default=1)
        for start in range(0, len(trained), size):
            some = trained[start : start + size]
            directions = [self._direction(matrix, group["momentum"]) for matrix in some]
            for matrix, step in zip(some, orthogonal_shards(some, directions), strict=True):
                local = _local(matrix)
                local.mul_(1 - group["lr"] * group["weight_decay"])
                scale = ADAMW_RMS * max(matrix.shape) ** 0.5
                local.add_(step.to(local), alpha=-group["lr"] * scale)

    def _direction(self, matrix: Tensor, momentum: float) -> Tensor:
        """This rank's rows of the matrix to be orthogonalised: gradient and running mean (Nesterov)."""
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        gradient, mean = _local(matrix.grad), _local(state["momentum_buffer"])  # type: ignore[arg-type]
        mean.lerp_(gradient, 1 - momentum)
        return gradient.lerp(mean, momentum)


def hidden_matrices(model: nn.Module) -> set[nn.Parameter]:
    """Trained matrices between embeddings and heads. A value head of one row is none, nor a stack of experts."""
    outer: set[Any] = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    outer |= set() if head is None else {head.weight}
    return {
        weight
        for weight in model.parameters()
        if weight.requires_grad and weight.ndim == 2 and min(weight.shape) > 1 and weight not in outer
    }


def orthogonalised(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix [M, N], singular values off by up to a third (Newton-Schulz)."""
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = x / x.norm().clamp(min=TINY)
    first, third, fifth = QUINTIC
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=third, alpha=fifth), x, beta=first)
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def orthogonal_shards(matrices: Sequence[Tensor], shards: Sequence[Tensor]) -> Iterator[Tensor]:
    """This rank's rows of what each matrix, given by the rows of all ranks, is orthogonalised to. Collective.

    There are at most as many matrices as ranks. Rank k has matrix k in whole for a moment.
    """
    layout = _layout(matrices[0])
    if layout.size == 1:
        yield from (orthogonalised(shard.to(_work_dtype(shard))) for shard in shards)
        return
    dtype = _work_dtype(shards[0])
    give = [shard.numel() for shard in shards] + [0] * (layout.size - len(shards))
    take = [0] * layout.size
    if layout.rank < len(matrices):
        shape = matrices[layout.rank].shape
        take = [rows * shape[1] for rows in _rows(shape[0], layout.size)]
    sent = torch.cat([shard.to(layout.device, dtype).flatten() for shard in shards])
    whole = sent.new_empty(sum(take))
    dist.all_to_all_single(whole, sent, take, give, group=layout.group)
    if whole.numel():
        whole = orthogonalised(whole.view(shape)).contiguous().flatten()
    dist.all_to_all_single(sent, whole, give, take, group=layout.group)
    yield from (part.view_as(shard) for part, shard in zip(sent.split(give[: len(shards)]), shards, strict=True))


class _Layout(NamedTuple):
    """Among whom the rows of a matrix are spread."""

    group: Any
    rank: int
    size: int
    device: str


def _layout(matrix: Tensor) -> _Layout:
    if not isinstance(matrix, DTensor):
        return _Layout(None, 0, 1, matrix.device.type)
    mesh = matrix.device_mesh
    dims = [dim for dim, placement in enumerate(matrix.placements) if not placement.is_replicate()]
    if not dims:
        return _Layout(None, 0, 1, mesh.device_type)
    if len(dims) > 1 or not matrix.placements[dims[0]].is_shard(0):
        raise ConfigError(f"optim.strategy=muon: weights are spread as {matrix.placements}, it needs them by rows")
    return _Layout(mesh.get_group(dims[0]), mesh.get_local_rank(dims[0]), mesh.size(dims[0]), mesh.device_type)


def _rows(count: int, size: int) -> list[int]:
    """Rows of each rank, as torch.chunk deals them."""
    each = -(-count // size)
    return [max(0, min(each, count - rank * each)) for rank in range(size)]


def _work_dtype(shard: Tensor) -> torch.dtype:
    """The iteration was made for bfloat16; float32 weights on a CPU are worked on as they are."""
    return shard.dtype if shard.device.type == "cpu" else torch.bfloat16


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
