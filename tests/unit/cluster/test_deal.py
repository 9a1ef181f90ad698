# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl.cluster.deal import deal, join

GROUPS = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=6), min_size=1, max_size=12)


def number(groups):
    """Give every row an identity: (group, place in the flattened list, cost)."""
    place = iter(range(1000))
    return [[(index, next(place), cost) for cost in group] for index, group in enumerate(groups)]


def total(rows):
    return float(sum(row[2] for row in rows))


@given(GROUPS, st.integers(1, 5))
def test_every_row_is_dealt_once_and_gathers_back_in_order(groups, ranks):
    rows = number(groups)
    flat = [row for group in rows for row in group]
    dealt = deal(rows, ranks, total)
    assert sorted(row for hand in dealt.hands for row in hand) == sorted(flat)
    assert dealt.gather(dealt.hands) == flat
    assert dealt.with_rows(range(len(flat))).gather(dealt.hands) == flat


@given(GROUPS, st.integers(1, 5))
def test_siblings_share_a_rank_but_for_the_groups_left_over(groups, ranks):
    rows = number(groups)
    dealt = deal(rows, ranks, total)
    whole = len(groups) - len(groups) % ranks
    for group in range(whole):
        holders = [rank for rank, hand in enumerate(dealt.hands) if any(row[0] == group for row in hand)]
        assert len(holders) == 1


def test_costs_are_balanced():
    rows = number([[cost] for cost in (100, 1, 1, 1, 98, 1, 1, 1)])
    hands = deal(rows, 2, total).hands
    assert abs(total(hands[0]) - total(hands[1])) <= 4


def test_what_the_greedy_deal_leaves_uneven_is_exchanged():
    lengths = np.random.default_rng(0).lognormal(7, 1, 256)
    hands = deal(number([[length] for length in lengths]), 8, total).hands
    assert max(map(total, hands)) <= 1.001 * sum(lengths) / 8
    assert {len(hand) for hand in hands} == {32}


RANDOM = [2356, 1505, 3601, 2089, 1339, 1713, 1538, 851, 3492, 88, 438, 1274, 331, 3156, 190, 3659]
RANDOM += [2179, 2957, 2116, 2114, 461, 2174, 2679, 3731, 3479, 3972, 419, 3305, 267, 421, 1388, 1816]
HEAVY_TAIL = [9000, 8000, 252, 163, 219, 180, 119, 112, 56, 235, 234, 296, 132, 289, 169, 36]
HEAVY_TAIL += [125, 51, 164, 138, 96, 78, 211, 103, 22, 45, 275, 35, 238, 186, 25, 56]


@pytest.mark.parametrize(
    ("lengths", "ranks", "theirs"),
    [(RANDOM, 4, 15282), (HEAVY_TAIL, 4, 9848), (RANDOM, 2, 30549), (HEAVY_TAIL, 2, 10670)],
)
def test_the_heaviest_hand_is_that_of_karmarkar_and_karp(lengths, ranks, theirs):
    """`theirs` is the load of verl's get_seqlen_balanced_partitions with as many rows for each rank."""
    hands = deal(number([[length] for length in lengths]), ranks, total).hands
    assert {len(hand) for hand in hands} == {len(lengths) // ranks}
    assert max(map(total, hands)) <= 1.002 * theirs


def test_a_single_group_is_cut_into_runs_of_siblings():
    hands = deal(number([[1, 1, 1, 1]]), 2, total).hands
    assert [[row[1] for row in hand] for hand in hands] == [[0, 1], [2, 3]]


@given(GROUPS, GROUPS, st.integers(1, 4))
def test_joined_deals_gather_one_after_the_other(first, second, ranks):
    deals = [deal(number(groups), ranks, total) for groups in (first, second)]
    joined = join(deals)
    expected = [row for one in deals for row in one.gather(one.hands)]
    assert joined.gather(joined.hands) == expected


def test_a_rank_that_returns_too_little_is_named():
    dealt = deal(number([[1], [1]]), 2, total)
    with pytest.raises(ValueError, match="rank 1 returned 0 results for 1 rows"):
        dealt.gather([dealt.hands[0], ()])
