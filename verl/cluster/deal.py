# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of rows to ranks by cost, and results back in the rows' own order. No Ray in here.

Siblings of one prompt stay on one rank, so a rank reads few distinct clips and can run a prompt once for all of its
responses. Only the groups left over when their number does not divide by the ranks are cut into runs of siblings.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, TypeVar

MAX_EXCHANGES = 200
LEAST_GAIN = 1e-3  # of the difference between two loads

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Deal(Generic[T]):
    """Who holds what: `hands[rank]` are rows, `places[rank]` their places in the flattened groups."""

    hands: tuple[tuple[T, ...], ...]
    places: tuple[tuple[int, ...], ...]

    @property
    def num_rows(self) -> int:
        """Rows over all ranks."""
        return sum(map(len, self.hands))

    def with_rows(self, rows: Sequence[U]) -> Deal[U]:
        """The same deal of other rows, given in flattened order."""
        hands = tuple(tuple(rows[place] for place in places) for places in self.places)
        return Deal(hands, self.places)

    def keep(self, wanted: Callable[[T], bool]) -> Deal[T]:
        """Only the rows that are wanted, with whoever holds them; places close up."""
        pairs = [
            [(row, place) for row, place in zip(hand, places, strict=True) if wanted(row)]
            for hand, places in zip(self.hands, self.places, strict=True)
        ]
        left = {place: at for at, place in enumerate(sorted(place for hand in pairs for _, place in hand))}
        return Deal(
            tuple(tuple(row for row, _ in hand) for hand in pairs),
            tuple(tuple(left[place] for _, place in hand) for hand in pairs),
        )

    def gather(self, results: Sequence[Sequence[U]]) -> list[U]:
        """Per-rank results, one per row of the hand, in flattened order."""
        for rank, (result, places) in enumerate(zip(results, self.places, strict=True)):
            if len(result) != len(places):
                raise ValueError(f"rank {rank} returned {len(result)} results for {len(places)} rows")
        by_place = {
            place: value
            for result, places in zip(results, self.places, strict=True)
            for value, place in zip(result, places, strict=True)
        }
        return [by_place[place] for place in range(len(by_place))]


def deal(groups: Sequence[Sequence[T]], num_ranks: int, cost: Callable[[Sequence[T]], float]) -> Deal[T]:
    """Share groups out so that every rank has about the same cost, whatever the number of its rows.

    By the largest differencing method (Karmarkar and Karp, 1982); then bundles of the most loaded rank are moved to
    others, or exchanged for theirs, as long as that relieves it.
    """
    bundles = _bundles(groups, num_ranks)
    flat = [row for group in groups for row in group]
    costs = [cost([flat[place] for place in bundle]) for bundle in bundles]
    taken = _difference(costs, num_ranks)
    _level(taken, costs)
    dealt = [tuple(place for index in sorted(indices) for place in bundles[index]) for indices in taken]
    places = tuple(sorted(dealt, key=lambda hand: (not hand, hand)))  # the first rows to the first rank
    return Deal(tuple(tuple(flat[place] for place in hand) for hand in places), places)


def _difference(costs: Sequence[float], num_ranks: int) -> list[list[int]]:
    """Start with a partition for each item; join the two most uneven ones, heaviest hands with lightest, to the end."""
    idle: list[tuple[float, list[int]]] = [(0.0, []) for _ in range(num_ranks - 1)]
    partitions = [(-value, index, [*idle, (value, [index])]) for index, value in enumerate(costs)]
    heapq.heapify(partitions)
    while len(partitions) > 1:
        (_, order, hands), (_, _, others) = heapq.heappop(partitions), heapq.heappop(partitions)
        pairs = zip(hands, reversed(others), strict=True)
        joined = sorted(((mine + theirs, here + there) for (mine, here), (theirs, there) in pairs), key=itemgetter(0))
        heapq.heappush(partitions, (joined[0][0] - joined[-1][0], order, joined))
    return [hand for _, hand in partitions[0][2]] if partitions else [[] for _ in range(num_ranks)]


def _level(taken: list[list[int]], costs: Sequence[float]) -> None:
    for _ in range(MAX_EXCHANGES):
        loads = [sum(costs[index] for index in hand) for hand in taken]
        most = loads.index(max(loads))
        for least in sorted(range(len(taken)), key=loads.__getitem__):
            found = _exchange(taken[most], taken[least], costs, loads[most] - loads[least])
            if found is not None:
                given, got = found
                taken[least].append(taken[most].pop(given))
                if got is not None:
                    taken[most].append(taken[least].pop(got))
                break
        else:
            return


def _exchange(
    ours: Sequence[int], theirs: Sequence[int], costs: Sequence[float], gap: float
) -> tuple[int, int | None] | None:
    """Which of our bundles to give, and which of theirs to take for it, to bring two loads closest together.

    Places in the two hands; the second is None where nothing is taken. None where no exchange brings them closer.
    """
    takes = [*((place, costs[index]) for place, index in enumerate(theirs)), (None, 0.0)]
    best, left = None, gap * (1 - LEAST_GAIN)
    for given, index in enumerate(ours):
        for got, relief in takes:
            if (rest := abs(gap - 2 * (costs[index] - relief))) < left:
                best, left = (given, got), rest
    return best


def _bundles(groups: Sequence[Sequence[T]], num_ranks: int) -> list[list[int]]:
    """Places that must stay together: whole groups, and for the left-over groups runs of siblings."""
    bundles: list[list[int]] = []
    start = 0
    whole = len(groups) - len(groups) % num_ranks
    for index, group in enumerate(groups):
        places = list(range(start, start + len(group)))
        start += len(group)
        pieces = 1 if index < whole else min(num_ranks, len(group))
        bundles += [places[len(places) * i // pieces : len(places) * (i + 1) // pieces] for i in range(pieces)]
    return [bundle for bundle in bundles if bundle]


def join(deals: Sequence[Deal[T]]) -> Deal[T]:
    """Several deals as one: every rank keeps its hands, places follow on."""
    starts = [sum(one.num_rows for one in deals[:index]) for index in range(len(deals))]
    ranks = range(len(deals[0].hands))
    hands = tuple(tuple(row for one in deals for row in one.hands[rank]) for rank in ranks)
    places = tuple(
        tuple(start + place for one, start in zip(deals, starts, strict=True) for place in one.places[rank])
        for rank in ranks
    )
    return Deal(hands, places)
