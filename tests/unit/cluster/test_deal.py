# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl.cluster.deal import deal, join

BALANCE = json.loads((Path(__file__).parents[2] / "vectors/algorithms_balance.json").read_text())
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


def test_many_lengths_are_shared_to_the_token():
    lengths = np.random.default_rng(0).lognormal(7, 1, 256)
    hands = deal(number([[length] for length in lengths]), 8, total).hands
    assert max(map(total, hands)) - min(map(total, hands)) < 1


@pytest.mark.parametrize("case", BALANCE.values(), ids=BALANCE.keys())
def test_loads_differ_by_no_more_than_those_of_public_implementations(case):
    """Of verl and EasyR1, with the same number of rows for each rank or any."""
    hands = deal(number([[length] for length in case["lengths"]]), case["k"], total).hands
    loads = list(map(total, hands))
    assert len(hands) == case["k"] and all(hands) and sum(loads) == sum(case["lengths"])
    assert max(loads) - min(loads) <= case["max_minus_min"]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 3))
def test_the_heaviest_hand_is_close_to_the_best_there_is(lengths, ranks):
    """By the bound of differencing: 4/3 - 1/(3 ranks) of it (Michiels, Korst and Aarts, 2003)."""
    lengths = lengths[: len(lengths) - len(lengths) % ranks]  # no group is cut
    shares = itertools.product(range(ranks), repeat=len(lengths))
    best = min(max(np.bincount(share, lengths, ranks)) if lengths else 0 for share in shares)
    hands = deal(number([[length] for length in lengths]), ranks, total).hands
    assert max(map(total, hands)) <= (4 / 3 - 1 / (3 * ranks)) * best


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
