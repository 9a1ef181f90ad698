# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""In which order rows are drawn: functions of the seed and the epoch alone, so that a resumed run finds them again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

from verl.errors import DataError


class DrawOrder(Protocol):
    """An order of rows for every epoch. All epochs have as many draws as there are rows."""

    @property
    def name(self) -> str:
        """What tells this order from others of as many rows."""

    def of(self, epoch: int) -> list[int]:
        """Row numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Every row once in an epoch."""

    size: int
    shuffle: bool
    seed: int

    @property
    def name(self) -> str:
        """See DrawOrder."""
        return f"seed {self.seed}" if self.shuffle else "in file order"

    def of(self, epoch: int) -> list[int]:
        """See DrawOrder."""
        return shuffled(self.size, f"{self.seed}/{epoch}") if self.shuffle else list(range(self.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedOrder:
    """Several sources, laid end to end in the row numbers, drawn in given proportions.

    An epoch has as many draws as there are rows in all. Each source gets its share of them, to the nearest whole
    draw, spread evenly: any stretch of an epoch, so any batch, has nearly the proportions of the whole. A source
    goes through all its rows before it begins again, in another order if rows are shuffled, and goes on across
    epochs where it stopped: a small share shows all of its rows in time, a large one repeats them within an epoch.
    """

    sizes: tuple[int, ...]
    ratios: tuple[float, ...]
    shuffle: bool
    seed: int

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.ratios):
            raise DataError(f"{len(self.ratios)} ratios in data.mix_ratios for {len(self.sizes)} sources")
        for source, (draws, size) in enumerate(zip(self.draws, self.sizes, strict=True)):
            if not draws or not size:
                raise DataError(
                    f"source {source} of data.train_files has {size} rows and a share of {self.ratios[source]} of"
                    f" {sum(self.ratios):g}: none of the {sum(self.sizes)} draws of an epoch would be its; raise its"
                    " entry in data.mix_ratios, or leave the source out"
                )

    @property
    def name(self) -> str:
        """See DrawOrder."""
        rows = f"seed {self.seed}" if self.shuffle else "in file order"
        return f"{rows}, draws {list(self.draws)} of sources {list(self.sizes)}"

    @property
    def draws(self) -> tuple[int, ...]:
        """Draws of each source in an epoch: its share, rounded so that the sum is right (largest remainders)."""
        total = sum(self.sizes)
        exact = [total * ratio / sum(self.ratios) for ratio in self.ratios]
        draws = [int(share) for share in exact]
        by_remainder = sorted(range(len(exact)), key=lambda source: (draws[source] - exact[source], source))
        for source in by_remainder[: total - sum(draws)]:
            draws[source] += 1
        return tuple(draws)

    def of(self, epoch: int) -> list[int]:
        """See DrawOrder."""
        rows = [self._rows(source, epoch) for source in range(len(self.sizes))]
        turns = sorted(
            ((draw + 0.5) / count, source, draw) for source, count in enumerate(self.draws) for draw in range(count)
        )
        return [rows[source][draw] for _, source, draw in turns]

    def _rows(self, source: int, epoch: int) -> Sequence[int]:
        """What one source gives in an epoch: a stretch of its passes over its rows, laid end to end."""
        size, count = self.sizes[source], self.draws[source]
        first = list(accumulate(self.sizes, initial=0))[source]
        start = epoch * count
        passes = range(start // size, (start + count - 1) // size + 1)
        rows = [first + row for number in passes for row in self._pass(source, number)]
        begin = start - passes[0] * size
        return rows[begin : begin + count]

    def _pass(self, source: int, number: int) -> list[int]:
        size = self.sizes[source]
        return shuffled(size, f"{self.seed}/{source}/{number}") if self.shuffle else list(range(size))


def shuffled(size: int, key: str) -> list[int]:
    """0 to size - 1 in an order that depends on `key` alone. By hash: no random generator's next version changes it."""
    return sorted(range(size), key=lambda row: hashlib.blake2b(f"{key}/{row}".encode(), digest_size=8).digest())
