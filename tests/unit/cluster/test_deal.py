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
