# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows -> tensors: the one door. Rows are packed end to end without padding, under a strict token budget.

Rows with the same prompt and media share one pass over them (`shared_prompt`), or each brings its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from verl.errors import AlignmentError, ConfigError, DataError
from verl.fsdp.patches import PatchCache
from verl.fsdp.slices import slice_row
from verl.models.adapter import ModelAdapter, PackedRow
from verl.models.patches import Patches
from verl.models.segments import group_segments, plain_segments
from verl.models.ulysses import ALONE, SequenceGroup
from verl.types import Flags, Floats, MediaRef, Prompt, Trajectory

Bundle: TypeAlias = tuple[int, ...]  # places of rows that go behind one copy of their prompt
Bin: TypeAlias = tuple[Bundle, ...]  # what one micro-batch holds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MicroBatch:
    """Rows that go through the model together. B rows, R the longest response, T response tokens in all.

    Where ranks share rows, `row` is this rank's slice, and the rest is of the whole row, on all of them.
    """

    row: PackedRow
    select: Tensor  # [T] int64: the token of the row whose hidden state predicts the target
    targets: Tensor  # [T] int64: response tokens, row by row
    row_lengths: tuple[int, ...]  # [B] response tokens of each row
    order: tuple[int, ...]  # [B] each row's place in the list that was packed; empty for a filler

    def to(self, device: torch.device | str) -> MicroBatch:
        """The same micro-batch on another device."""
        return replace(self, row=self.row.to(device), select=self.select.to(device), targets=self.targets.to(device))

    def own_states(self, hidden: Tensor) -> Tensor:
        """[N, D] of the row -> what this rank predicts its own targets from, all T of them if it is alone."""
        share = self.row.share
        return hidden[self.select] if share is None else share.states.deliver(hidden, share.group)

    @property
    def own_targets(self) -> Tensor:
        """Those of [T] that this rank predicts."""
        return self.targets if self.row.share is None else self.row.share.own(self.targets)

    def whole(self, values: Tensor) -> Tensor:
        """One value per own target -> [T]."""
        return values if self.row.share is None else self.row.share.whole(values)

    @property
    def mask(self) -> Tensor:
        """[B, R] bool, True on response tokens; all False in a filler."""
        lengths = torch.tensor(self.row_lengths, device=self.targets.device)
        inside = torch.arange(max(self.row_lengths), device=self.targets.device) < lengths[:, None]
        return inside & bool(self.order)

    def pad(self, values: Tensor) -> Tensor:
        """One value per target, [T], as [B, R]."""
        return pad_sequence(list(values.split(self.row_lengths)), batch_first=True)

    def stream(self, values: Sequence[Floats] | Sequence[Flags]) -> Tensor:
        """Per-row numbers in the order of the packed list, as [B, R]; zeros for a filler."""
        if not self.order:
            return torch.zeros(1, 1, device=self.targets.device)
        rows = [torch.from_numpy(np.array(values[place], dtype=np.float32)) for place in self.order]
        found = tuple(map(len, rows))
        if found != self.row_lengths:
            raise DataError(f"{found} numbers for responses of {self.row_lengths} tokens; rows and values are mixed up")
        return pad_sequence(rows, batch_first=True).to(self.targets.device)


def plan(rows: Sequence[Trajectory], budget: int, *, shared_prompt: bool) -> list[Bin]:
    """Which rows share a micro-batch: at most `budget` packed tokens each, by first fit, costliest first.

    Siblings that do not fit together are spread over several, each with the prompt. Raises ConfigError when a single
    row is longer than the budget.
    """
    bundles = [bundle for group in _siblings(rows, shared_prompt) for bundle in _cut(group, rows, budget)]
    costs = {bundle: _cost(bundle, rows) for bundle in bundles}
    bins: list[list[Bundle]] = []
    room: list[int] = []
    for bundle in sorted(bundles, key=lambda bundle: (-costs[bundle], bundle)):
        index = next((i for i, left in enumerate(room) if left >= costs[bundle]), len(bins))
        if index == len(bins):
            bins.append([])
            room.append(budget)
        bins[index].append(bundle)
        room[index] -= costs[bundle]
    return [tuple(bin_) for bin_ in bins]


@dataclass(frozen=True, slots=True)
class Packer:
    """Turns planned rows into tensors for one model family: whole ones, or this rank's slices of them."""

    adapter: ModelAdapter
    patches: PatchCache
    shared_prompt: bool = True
    group: SequenceGroup = ALONE  # ranks that share rows; they pack the same ones

    def plan(self, rows: Sequence[Trajectory], budget: int) -> list[Bin]:
        """See `plan`. The budget is that of one rank."""
        return plan(rows, budget * self.group.size, shared_prompt=self.shared_prompt)

    def pack(self, rows: Sequence[Trajectory], bin_: Bin) -> MicroBatch:
        """The micro-batch of one bin of a plan of `rows`."""
        builder = _RowBuilder(self.adapter, self.patches)
        for bundle in bin_:
            prompt = rows[bundle[0]].prompt
            builder.add(prompt, [rows[place].response_ids for place in bundle])
        places = tuple(place for bundle in bin_ for place in bundle)
        return self._sliced(builder.build(places, shared_prompt=self.shared_prompt))

    def num_bytes(self, rows: Sequence[Trajectory], bin_: Bin) -> int:
        """Size of the patches in that micro-batch, each distinct clip once."""
        prompts = [rows[bundle[0]].prompt for bundle in bin_]
        grids = {ref.key: grid for prompt in prompts for ref, grid in zip(prompt.media, prompt.grids, strict=True)}
        per_patch = 3 * self.adapter.temporal_patch_size * self.adapter.patch_size**2  # of RGB in uint8
        return sum(math.prod(grid) for grid in grids.values()) * per_patch

    def filler(self) -> MicroBatch:
        """One text token of no weight, for a rank that has nothing left while others go on: ranks must gather alike."""
        one = torch.zeros(1, dtype=torch.int64)
        row = PackedRow(
            ids=torch.full((1,), self.adapter.pad_id),
            positions=torch.zeros(self.adapter.num_position_axes, 1, dtype=torch.int64),
            segments=plain_segments([1]),
            media=(),
            slots=(),
            visual_index=torch.zeros(0, dtype=torch.int64),
        )
        return self._sliced(MicroBatch(row=row, select=one, targets=one, row_lengths=(1,), order=()))

    def _sliced(self, batch: MicroBatch) -> MicroBatch:
        if self.group.size == 1:
            return batch
        return replace(batch, row=slice_row(batch.row, batch.select, self.group, self.adapter.merge_size))


class _RowBuilder:
    """Lays prompts and responses end to end."""

    def __init__(self, adapter: ModelAdapter, patches: PatchCache) -> None:
        self._adapter = adapter
        self._patches = patches
        self._length = 0
        self._ids: list[np.ndarray] = []
        self._positions: list[np.ndarray] = []
        self._select: list[np.ndarray] = []
        self._visual: list[np.ndarray] = []
        self._layout: list[tuple[int, list[int]]] = []  # prompt length, response lengths
        self._responses: list[np.ndarray] = []
        self._media: dict[str, Patches] = {}  # by cache key
        self._slots: list[str] = []

    def add(self, prompt: Prompt, responses: Sequence[np.ndarray]) -> None:
        """One prompt and the responses behind it."""
        try:
            positions = self._adapter.positions(prompt.ids, [ref.metadata for ref in prompt.media])
            self._visual.append(self._length + self._adapter.visual_index(prompt.ids, prompt.grids))
        except AlignmentError as error:
            raise AlignmentError(f"{prompt.record.where}: {error}") from error
        self._look(prompt)
        self._append(prompt.ids, positions)
        last = self._length - 1  # predicts the first token of every response
        for response in responses:
            start = self._length
            self._append(response, self._adapter.continue_positions(positions, len(response)))
            self._select.append(np.concatenate([[last], np.arange(start, self._length - 1)]))
            self._responses.append(response)
        self._layout.append((len(prompt.ids), [len(response) for response in responses]))

    def build(self, places: tuple[int, ...], *, shared_prompt: bool) -> MicroBatch:
        """The tensors."""
        fused = [prompt + response for prompt, responses in self._layout for response in responses]
        keys = list(self._media)
        row = PackedRow(
            ids=_integers(self._ids),
            positions=torch.from_numpy(np.concatenate(self._positions, axis=1)),
            segments=group_segments(self._layout) if shared_prompt else plain_segments(fused),
            media=tuple(self._media.values()),
            slots=tuple(keys.index(key) for key in self._slots),
            visual_index=_integers(self._visual),
        )
        return MicroBatch(
            row=row,
            select=_integers(self._select),
            targets=_integers(self._responses),
            row_lengths=tuple(map(len, self._responses)),
            order=places,
        )

    def _append(self, ids: np.ndarray, positions: np.ndarray) -> None:
        self._ids.append(ids)
        self._positions.append(positions)
        self._length += len(ids)

    def _look(self, prompt: Prompt) -> None:
        for ref, grid in zip(prompt.media, prompt.grids, strict=True):
            if ref.key not in self._media:
                self._media[ref.key] = self._read(ref, prompt.record.where)
            patches = self._media[ref.key]
            if patches.grid != grid:
                raise AlignmentError(
                    f"{prompt.record.where}: the prompt was expanded for {grid}, {ref.path} gives {patches.grid};"
                    " the video changed since the prompt was made: restart to read it anew"
                )
            self._slots.append(ref.key)

    def _read(self, ref: MediaRef, where: str) -> Patches:
        try:
            return self._patches.get(ref)
        except DataError as error:
            raise type(error)(f"{where}: {error}") from error
        except Exception as error:
            error.add_note(f"while reading {ref.path} for {where}")
            raise


def _integers(parts: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(parts).astype(np.int64))


def _siblings(rows: Sequence[Trajectory], shared_prompt: bool) -> list[list[int]]:
    """Places of rows with the same prompt and media; of single rows when they do not share."""
    if not shared_prompt:
        return [[place] for place in range(len(rows))]
    groups: dict[tuple[bytes, tuple[str, ...]], list[int]] = {}
    for place, row in enumerate(rows):
        media: tuple[MediaRef, ...] = row.prompt.media
        groups.setdefault((row.prompt.ids.tobytes(), tuple(ref.key for ref in media)), []).append(place)
    return list(groups.values())


def _cut(group: Sequence[int], rows: Sequence[Trajectory], budget: int) -> list[Bundle]:
    """Siblings in runs that fit the budget."""
    bundles: list[list[int]] = []
    cost = 0
    for place in group:
        row = rows[place]
        _check(row, budget)
        if not bundles or cost + len(row.response_ids) > budget:
            bundles.append([])
            cost = len(row.prompt.ids)
        bundles[-1].append(place)
        cost += len(row.response_ids)
    return [tuple(bundle) for bundle in bundles]


def _check(row: Trajectory, budget: int) -> None:
    where = f"response {row.index} to {row.prompt.record.where}"
    if len(row.response_ids) == 0:
        raise DataError(f"{where} is empty; a response holds at least an end-of-sequence token")
    if row.num_tokens > budget:
        raise ConfigError(
            f"{where} has {len(row.prompt.ids)} + {len(row.response_ids)} = {row.num_tokens} tokens, the token budget"
            f" of a micro-batch is {budget}; raise worker.actor.max_token_len_per_gpu, or lower"
            " data.max_prompt_length or data.max_response_length"
        )


def _cost(bundle: Bundle, rows: Sequence[Trajectory]) -> int:
    return len(rows[bundle[0]].prompt.ids) + sum(len(rows[place].response_ids) for place in bundle)
