# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A packed row -> one rank's slice of it, where several ranks share rows (Ulysses)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from verl.errors import AlignmentError
from verl.models.adapter import PackedRow
from verl.models.patches import Patches
from verl.models.ulysses import Route, SequenceGroup, Share, slice_width
from verl.types import Grid


def slice_row(row: PackedRow, select: Tensor, group: SequenceGroup, merge_size: int) -> PackedRow:
    """This rank's tokens of a whole row, and the moments of its clips that this rank looks at.

    `select` [T] are the tokens of the row whose hidden states are wanted. The last slice is padded: its padding is seen
    by no other token and nothing is predicted from it.
    """
    size, width = group.size, slice_width(len(row.ids), group.size)
    start, padding = group.rank * width, (0, size * width - len(row.ids))
    shares = share_out(row.media, size)
    held = [sum(part.grid.num_tokens(merge_size) for part in share) for share in shares]
    features, at = _features(row, merge_size), row.visual_index // width
    return PackedRow(
        ids=F.pad(row.ids, padding)[start : start + width],
        positions=F.pad(row.positions, padding)[:, start : start + width],
        segments=row.segments,
        media=shares[group.rank],
        slots=(),
        visual_index=row.visual_index[at == group.rank] - start,
        share=Share(
            group=group,
            features=Route.of(group, held, [features[at == rank] for rank in range(size)]),
            states=Route.of(group, [width] * size, select.tensor_split(size)),
            num_targets=tuple(map(len, select.tensor_split(size))),
        ),
    )


def share_out(media: Sequence[Patches], size: int) -> list[tuple[Patches, ...]]:
    """Clips cut between moments, in order, into `size` shares of about as many patches; a share may be empty.

    Qwen's vision towers see a moment (a pair of frames) at a time, so that it does not matter where they are cut.
    """
    total = sum(math.prod(clip.grid) for clip in media)
    shares: list[list[Patches]] = [[] for _ in range(size)]
    done = 0
    for clip in media:
        moment = clip.grid.h * clip.grid.w
        ranks = [int((done + moment * (t + 0.5)) * size / total) for t in range(clip.grid.t)]
        for rank in dict.fromkeys(ranks):
            first, count = ranks.index(rank), ranks.count(rank)
            values = clip.values[first * moment : (first + count) * moment]
            shares[rank].append(replace(clip, values=values, grid=Grid(count, clip.grid.h, clip.grid.w)))
        done += clip.grid.t * moment
    return [tuple(share) for share in shares]


def _features(row: PackedRow, merge_size: int) -> Tensor:
    """[visual tokens] int64: which feature goes where, counted through the distinct clips."""
    counts = [clip.grid.num_tokens(merge_size) for clip in row.media]
    numbers = torch.arange(sum(counts)).split(counts) if counts else ()
    found = torch.cat([numbers[slot] for slot in row.slots]) if row.slots else torch.zeros(0, dtype=torch.int64)
    if len(found) != len(row.visual_index):
        raise AlignmentError(f"the row has {len(row.visual_index)} placeholders for {len(found)} vision features")
    return found
