# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Ulysses sequence parallelism (arXiv 2309.14509): several ranks share a packed row, a slice of its tokens each.

All but attention looks at one token at a time and runs on the slice. Around attention, slices of all heads are
exchanged for all tokens of some heads, and back. An exchange moves numbers and computes none; its backward pass is the
exchange back. So the gradients of the ranks add up to those of one rank.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from verl.errors import ConfigError

KEY = "worker.actor.ulysses_size"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceGroup:
    """Ranks that share packed rows, and which of them this one is."""

    size: int = 1
    rank: int = 0
    ranks: dist.ProcessGroup | None = None  # None for a rank alone


ALONE = SequenceGroup()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Route:
    """Rows of a matrix from the ranks that hold them to those that want them, some of them to several."""

    send: Tensor  # [sent] int64: rows held here, by receiver
    num_sent: tuple[int, ...]  # to each rank
    num_received: tuple[int, ...]  # from each rank
    order: Tensor  # [wanted] int64: where each wanted row is among those received

    @classmethod
    def of(cls, group: SequenceGroup, held: Sequence[int], wanted: Sequence[Tensor]) -> Route:
        """Rank r holds `held[r]` rows, numbered from rank to rank, and wants the rows `wanted[r]`, in that order."""
        starts = torch.tensor([0, *accumulate(held)])
        owners = [torch.bucketize(rows, starts[1:], right=True) for rows in wanted]
        mine = [rows[owner == group.rank] for rows, owner in zip(wanted, owners, strict=True)]
        return cls(
            send=torch.cat(mine) - starts[group.rank],
            num_sent=tuple(map(len, mine)),
            num_received=tuple(torch.bincount(owners[group.rank], minlength=group.size).tolist()),
            order=owners[group.rank].argsort(stable=True).argsort(),
        )

    def deliver(self, rows: Tensor, group: SequenceGroup) -> Tensor:
        """[held, ...] -> [wanted, ...]. Collective over the group."""
        arrived = _Exchange.apply(rows.index_select(0, self.send), self.num_sent, self.num_received, group.ranks)
        return arrived.index_select(0, self.order)

    def to(self, device: torch.device | str) -> Route:
        """The same route with its tensors on `device`."""
        return replace(self, send=self.send.to(device), order=self.order.to(device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """What a rank needs to know of a row of which it has a slice."""

    group: SequenceGroup
    features: Route  # of vision features, from who computes them to whose slice holds their placeholders
    states: Route  # of hidden states, from the slices to who predicts with them: equally many targets each
    num_targets: tuple[int, ...]  # of each rank

    def to(self, device: torch.device | str) -> Share:
        """The same share with its tensors on `device`."""
        return replace(self, features=self.features.to(device), states=self.states.to(device))

    def own(self, targets: Tensor) -> Tensor:
        """[T] of the whole row -> those that this rank predicts."""
        return targets.split(self.num_targets)[self.group.rank]

    def whole(self, values: Tensor) -> Tensor:
        """One number per own target -> [T] of the whole row, on all ranks. Collective over the group.

        What follows must be the same on all ranks: the gradient of a rank's own numbers is taken from itself.
        """
        return _Gather.apply(values, self.num_targets, self.group)


def check_heads(num_heads: int, size: int) -> None:
    """Whether attention heads can be shared out. Raises ConfigError."""
    if num_heads % size:
        raise ConfigError(f"{KEY}={size} does not divide the {num_heads} attention heads of the model")


def to_heads(group: SequenceGroup, num_tokens: int, streams: Sequence[Tensor]) -> list[Tensor]:
    """This rank's tokens of all heads, [1, heads, n, dim] each -> all tokens of its heads, [1, heads / size, N, dim].

    Heads that are too few, of keys and values, are repeated. What pads the row at its end is cut off. Collective.
    """
    check_heads(streams[0].shape[1], group.size)
    parts = [repeated_heads(stream[0], group.size).unflatten(0, (group.size, -1)).transpose(1, 2) for stream in streams]
    whole = swap_equally(torch.cat(parts, 2), group).flatten(0, 1)[:num_tokens]  # [N, heads of all streams, dim]
    return [part.transpose(0, 1)[None] for part in whole.split([part.shape[2] for part in parts], 1)]


def to_tokens(group: SequenceGroup, output: Tensor) -> Tensor:
    """The way back of what attention makes: [1, N, heads / size, dim] -> [1, n, heads, dim], zero at what pads."""
    width = slice_width(output.shape[1], group.size)
    padded = F.pad(output[0], (0, 0, 0, 0, 0, width * group.size - output.shape[1]))
    return swap_equally(padded.unflatten(0, (group.size, width)), group).transpose(0, 1).flatten(1, 2)[None]


def slice_width(num_tokens: int, size: int) -> int:
    """Tokens of each slice of a row; padding at the end of the last makes them equal."""
    return -(-num_tokens // size)


def swap_equally(parts: Tensor, group: SequenceGroup) -> Tensor:
    """[size, n, ...]: part r of this rank goes to rank r, and what comes from rank r becomes part r."""
    counts = (parts.shape[1],) * group.size
    swapped: Tensor = _Exchange.apply(parts.flatten(0, 1), counts, counts, group.ranks)
    return swapped.view(parts.shape)


def repeated_heads(stream: Tensor, size: int) -> Tensor:
    """[heads, n, dim] with each head repeated until `size` divides their number."""
    heads = len(stream)
    return stream.repeat_interleave(math.lcm(heads, size) // heads, 0) if heads % size else stream


class _Exchange(torch.autograd.Function):
    """Rows to and from every rank, as many as `num_sent` and `num_received` say."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        num_sent: tuple[int, ...],
        num_received: tuple[int, ...],
        ranks: dist.ProcessGroup | None,
    ) -> Tensor:
        ctx.back = (num_received, num_sent, ranks)
        return _exchanged(rows, num_sent, num_received, ranks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchanged(gradient, *ctx.back), None, None, None


def _exchanged(
    rows: Tensor, num_sent: tuple[int, ...], num_received: tuple[int, ...], ranks: dist.ProcessGroup | None
) -> Tensor:
    received = rows.new_empty(sum(num_received), *rows.shape[1:])
    dist.all_to_all_single(received, rows.contiguous(), list(num_received), list(num_sent), group=ranks)
    return received


class _Gather(torch.autograd.Function):
    """`counts[r]` numbers of every rank r, end to end."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, counts: tuple[int, ...], group: SequenceGroup) -> Tensor:
        ctx.counts, ctx.rank = counts, group.rank
        width = max(counts)
        parts = [values.new_empty(width) for _ in counts]
        dist.all_gather(parts, F.pad(values, (0, width - len(values))), group=group.ranks)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.split(ctx.counts)[ctx.rank], None, None
