# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Mixing several sources by ratio."""

from __future__ import annotations

import json
import logging
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.data.test_loader import FakeDataset, draw
from verl.config.load import load
from verl.data.loader import PromptLoader, build_loader
from verl.data.order import MixedOrder
from verl.errors import CheckpointError, DataError


def mixed(sizes: tuple[int, ...], ratios: tuple[float, ...], *, shuffle: bool = True, seed: int = 1) -> MixedOrder:
    return MixedOrder(sizes=sizes, ratios=ratios, shuffle=shuffle, seed=seed)


def sources(rows: list[int], sizes: tuple[int, ...]) -> list[int]:
    """Which source each row is of."""
    starts = [sum(sizes[:source]) for source in range(len(sizes))]
    return [max(source for source, start in enumerate(starts) if row >= start) for row in rows]


def test_draws_are_shared_by_ratio_and_evenly_spread():
    order = mixed((4, 8), (1, 1), shuffle=False)
    assert order.draws == (6, 6)
    assert order.of(0) == [0, 4, 1, 5, 2, 6, 3, 7, 0, 8, 1, 9]


def test_a_source_goes_on_where_the_epoch_before_left_it():
    order = mixed((4, 8), (1, 1), shuffle=False)
    assert order.of(1) == [2, 10, 3, 11, 0, 4, 1, 5, 2, 6, 3, 7]


def test_ratios_are_relative():
    assert mixed((5, 5), (3, 1)).of(2) == mixed((5, 5), (0.75, 0.25)).of(2)


def test_the_order_of_a_seed_never_changes():
    assert mixed((3, 4), (2, 1)).of(0) == [2, 4, 0, 1, 2, 3, 1]


def test_seed_and_epoch_give_other_orders():
    order = mixed((6, 6), (1, 1))
    assert len({tuple(rows) for rows in (order.of(0), order.of(1), mixed((6, 6), (1, 1), seed=2).of(0))}) == 3
    assert order.of(3) == mixed((6, 6), (1, 1)).of(3)


SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=4)


@given(sizes=SIZES, data=st.data(), shuffle=st.booleans())
def test_ratios_hold_in_every_stretch_and_every_row_has_its_turn(sizes, data, shuffle):
    ratios = tuple(data.draw(st.floats(0.2, 5)) for _ in sizes)
    total = sum(sizes)
    assume(all(total * ratio / sum(ratios) >= 1 for ratio in ratios))
    order = mixed(tuple(sizes), ratios, shuffle=shuffle)
    assert sum(order.draws) == total
    assert all(abs(n - total * r / sum(ratios)) < 1 for n, r in zip(order.draws, ratios, strict=True))
    drawn = [row for epoch in range(3) for row in order.of(epoch)]
    of = sources(drawn, tuple(sizes))
    for end in range(1, total + 1):
        for source, count in enumerate(order.draws):
            assert abs(of[:end].count(source) - end * count / total) <= len(sizes)
    for source, size in enumerate(sizes):
        mine = [row for row, its in zip(drawn, of, strict=True) if its == source]
        for start in range(0, len(mine) - size + 1, size):
            assert len(set(mine[start : start + size])) == size, "a row came twice before all had come"


def test_a_source_that_would_never_be_drawn_is_refused():
    with pytest.raises(DataError, match=r"source 1 of data\.train_files has 2 rows and a share of 0.001"):
        mixed((8, 2), (1, 0.001))
    with pytest.raises(DataError, match=r"source 0 of data\.train_files has 0 rows"):
        mixed((0, 2), (1, 1))
    with pytest.raises(DataError, match=r"2 ratios in data\.mix_ratios for 1 sources"):
        mixed((2,), (1, 1))


def mixed_loader(batch: int = 2, ratios: tuple[float, ...] = (1, 3)) -> PromptLoader:
    sizes = (3, 8)
    return PromptLoader(FakeDataset(sum(sizes)), batch, mixed(sizes, ratios), workers=2)  # type: ignore[arg-type]


@pytest.mark.parametrize("drawn", [0, 3, 5, 8])
def test_a_restored_loader_goes_on_exactly_where_the_other_stood(drawn: int):
    source = mixed_loader()
    draw(source, drawn)
    state = json.loads(json.dumps(source.state()))
    expected = draw(source, 12)
    other = mixed_loader()
    other.restore(state)
    assert draw(other, 12) == expected


def test_a_place_in_another_mixture_is_refused():
    with pytest.raises(CheckpointError, match=r"data\.mix_ratios"):
        mixed_loader(ratios=(1, 1)).restore(mixed_loader().state())


def test_the_loader_mixes_as_configured_and_says_how(caplog):
    config = load(["data.rollout_batch_size=4", "data.train_files=[a.json,b.json]", "data.mix_ratios=[3,1]"]).data
    dataset = FakeDataset(8)
    dataset.source_sizes = (2, 6)  # type: ignore[attr-defined]
    with caplog.at_level(logging.INFO):
        source = build_loader(config, dataset)  # type: ignore[arg-type]
    assert "a.json: 2 rows, 6 draws in an epoch (3.00 passes)" in caplog.messages
    for batch in draw(source, 6):
        assert Counter(sources(batch, (2, 6))) == {0: 3, 1: 1}
