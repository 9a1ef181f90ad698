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
    """Share groups out so that every rank has about the same cost: costliest first, to the least loaded rank.

    Then bundles of the most loaded rank are exchanged for those of others as long as that relieves it.
    """
    bundles = _bundles(groups, num_ranks)
    flat = [row for group in groups for row in group]
    costs = [cost([flat[place] for place in bundle]) for bundle in bundles]
    room = -(-len(bundles) // num_ranks)  # no rank holds more bundles than its even share
    loads = [(0.0, rank) for rank in range(num_ranks)]
    taken: list[list[int]] = [[] for _ in range(num_ranks)]
    for index in sorted(range(len(bundles)), key=lambda i: (-costs[i], i)):
        load, rank = heapq.heappop(loads)
        taken[rank].append(index)
        if len(taken[rank]) < room:
            heapq.heappush(loads, (load + costs[index], rank))
    _level(taken, costs)
    places = tuple(tuple(place for index in sorted(indices) for place in bundles[index]) for indices in taken)
    return Deal(tuple(tuple(flat[place] for place in hand) for hand in places), places)


def _level(taken: list[list[int]], costs: Sequence[float]) -> None:
    for _ in range(MAX_EXCHANGES):
        loads = [sum(costs[index] for index in hand) for hand in taken]
        most = loads.index(max(loads))
        for least in sorted(range(len(taken)), key=loads.__getitem__):
            pair = _exchange(taken[most], taken[least], costs, loads[most] - loads[least])
            if pair is not None:
                given, got = pair
                taken[most][given], taken[least][got] = taken[least][got], taken[most][given]
                break
        else:
            return


def _exchange(ours: Sequence[int], theirs: Sequence[int], costs: Sequence[float], gap: float) -> tuple[int, int] | None:
    """Where in two hands the bundles are whose exchange brings their loads closest together; None where none does."""
    differences = [
        (abs(gap - 2 * (costs[i] - costs[j])), a, b) for a, i in enumerate(ours) for b, j in enumerate(theirs)
    ]
    left, given, got = min(differences, default=(gap, 0, 0))
    return (given, got) if left < gap * (1 - LEAST_GAIN) else None


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
