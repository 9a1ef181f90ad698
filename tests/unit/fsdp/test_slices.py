# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Slices of a packed row, without processes: what ranks hold, send and get."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from verl.errors import AlignmentError, ConfigError
from verl.fsdp.mesh import sequence_group
from verl.fsdp.slices import share_out, slice_row
from verl.models.adapter import PackedRow
from verl.models.flops import Flops
from verl.models.patches import Patches, PatchRecipe
from verl.models.segments import plain_segments
from verl.models.ulysses import Route, SequenceGroup, check_heads, repeated_heads
from verl.types import Grid

RECIPE = PatchRecipe(patch_size=2, temporal_patch_size=2, merge_size=2, mean=(0.5,), std=(0.5,), rescale=1 / 255)


def clip(grid: Grid, first: int = 0) -> Patches:
    """Patches that hold their own numbers."""
    values = torch.arange(first, first + grid.t * grid.h * grid.w)[:, None]
    return Patches(values=values, grid=grid, recipe=RECIPE)


def groups(size: int) -> list[SequenceGroup]:
    return [SequenceGroup(size=size, rank=rank) for rank in range(size)]


def delivered(routes: list[Route], held: list[torch.Tensor]) -> list[torch.Tensor]:
    """What every rank gets, with lists in the place of the network."""
    parcels = [
        rows[route.send].split(list(route.num_sent)) if len(route.send) else [rows[:0]] * len(routes)
        for route, rows in zip(routes, held, strict=True)
    ]
    found = []
    for rank, route in enumerate(routes):
        arrived = [parcel[rank] for parcel in parcels]
        assert tuple(map(len, arrived)) == route.num_received
        found.append(torch.cat(arrived)[route.order])
    return found


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 5))
def test_a_route_brings_every_rank_the_rows_it_wants_in_its_order(data: Any, size: int) -> None:
    held = data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size).filter(sum))
    pick = st.lists(st.integers(0, sum(held) - 1), max_size=6)
    wanted = [torch.tensor(data.draw(pick), dtype=torch.int64) for _ in range(size)]
    routes = [Route.of(group, held, wanted) for group in groups(size)]
    rows = list(torch.arange(sum(held)).split(held))
    assert all(map(torch.equal, delivered(routes, rows), wanted))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)), max_size=5), st.integers(1, 4))
def test_shares_are_the_clips_in_order_and_as_even_as_whole_moments_allow(shapes: list[Any], size: int) -> None:
    media, done = [], 0
    for t, h, w in shapes:
        media.append(clip(Grid(t, 2 * h, 2 * w), done))
        done += len(media[-1].values)
    shares = share_out(media, size)
    flat = [part for share in shares for part in share]
    assert torch.cat([part.values for part in flat] or [torch.zeros(0, 1)]).flatten().tolist() == list(range(done))
    assert all(len(part.values) == part.grid.t * part.grid.h * part.grid.w for part in flat)
    largest = max((clip.grid.h * clip.grid.w for clip in media), default=0)
    assert all(abs(sum(len(part.values) for part in share) - done / size) <= largest for share in shares)


@pytest.mark.parametrize("size", [2, 3])
def test_slices_are_the_row_and_its_features_and_states_arrive_where_they_belong(size: int) -> None:
    first, second = clip(Grid(3, 2, 2)), clip(Grid(1, 4, 2), 12)  # 3 features, then 2
    ids = torch.arange(1, 15)
    at = torch.tensor([2, 3, 4, 6, 7, 11, 12])  # the second clip stands twice, before and after
    row = PackedRow(
        ids=ids,
        positions=torch.stack([ids, 10 * ids]),
        segments=plain_segments([14]),
        media=(first, second),
        slots=(0, 1, 1),
        visual_index=at,
    )
    select = torch.tensor([4, 9, 9, 13])
    parts = [slice_row(row, select, group, 2) for group in groups(size)]
    assert torch.cat([part.ids for part in parts]).tolist() == [*range(1, 15), *[0] * (-14 % size)]
    assert all(part.positions.shape == (2, -(-14 // size)) and part.segments is row.segments for part in parts)
    shares: list[Any] = [part.share for part in parts]
    features = [sum(each.grid.num_tokens(2) for each in part.media) for part in parts]
    found = delivered([share.features for share in shares], list(torch.arange(5).split(features)))
    assert torch.cat(found).tolist() == [0, 1, 2, 3, 4, 3, 4]
    width = len(parts[0].ids)
    places = [part.visual_index + rank * width for rank, part in enumerate(parts)]
    assert torch.cat(places).tolist() == at.tolist()
    states = delivered([share.states for share in shares], [part.ids for part in parts])
    assert torch.cat(states).tolist() == ids[select].tolist()
    targets = torch.arange(4)
    assert torch.cat([share.own(targets) for share in shares]).tolist() == [0, 1, 2, 3]
    with pytest.raises(AlignmentError, match="7 placeholders for 5 vision features"):
        slice_row(PackedRow(**{**fields(row), "slots": (0, 1)}), select, groups(size)[0], 2)


def fields(row: PackedRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("ids", "positions", "segments", "media", "slots", "visual_index")}


@pytest.mark.parametrize(("heads", "key_heads", "size"), [(8, 4, 2), (8, 2, 8), (12, 2, 3), (12, 4, 6), (6, 6, 3)])
def test_a_query_meets_its_own_key_head_on_every_rank(heads: int, key_heads: int, size: int) -> None:
    keys = repeated_heads(torch.arange(key_heads)[:, None, None], size).flatten()
    shared = keys.view(size, -1).repeat_interleave(heads // len(keys), 1)  # as grouped attention pairs them on a rank
    assert shared.flatten().tolist() == [query // (heads // key_heads) for query in range(heads)]


def test_what_cannot_be_shared_evenly_is_refused() -> None:
    class Ranks:
        device_type = "cpu"

        def size(self) -> int:
            return 6

    with pytest.raises(ConfigError, match="ulysses_size=4 does not divide 6 processes"):
        sequence_group(Ranks(), 4)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ulysses_size=3 does not divide the 4 attention heads"):
        check_heads(4, 3)


def test_ranks_that_share_a_row_share_the_decoders_work() -> None:
    whole = Flops(decoder=8.0, attention=4.0, vision=3.0, vision_attention=1.0)
    assert whole.with_decoder_over(2) == Flops(decoder=4.0, attention=2.0, vision=3.0, vision_attention=1.0)
