# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): which groups are worth a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from verl.config.algorithm import AlgorithmConfig
from verl.trainer.groups import has_signal, values_of
from verl.types import Scored, Source

SHOWN = 5  # kinds of dropped groups that a message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFilter:
    """Keeps a group when any one of `keys` says that something can be learned from it.

    A key is a part of the score, or "overall". "variance": its values differ among the siblings. "band": their mean
    lies between `low` and `high`, both excluded; of responses only, not of a greedy baseline.
    """

    keys: tuple[str, ...]
    mode: Literal["variance", "band"] = "variance"
    low: float = 0.01
    high: float = 0.99

    @classmethod
    def of(cls, config: AlgorithmConfig, *, by_component: bool) -> GroupFilter | None:
        """As configured; None without filtering. An estimator that weighs components apart is filtered by all."""
        if not config.online_filtering:
            return None
        keys = config.gdpo_reward_keys if by_component else (config.filter_key,)
        return cls(keys=keys, mode=config.filter_mode, low=config.filter_low, high=config.filter_high)

    def keeps(self, group: Sequence[Scored]) -> bool:
        """Whether to train on the group. Raises ContractError when a score lacks a key."""
        if self.mode == "variance":
            return any(has_signal(group, key) for key in self.keys)
        return any(self._in_band(values_of(_responses(group), key)) for key in self.keys)

    def describe(self, groups: Sequence[Sequence[Scored]]) -> str:
        """What groups look like that were dropped: the commonest kinds, with their numbers."""
        kinds = Counter(map(self._kind, groups)).most_common()
        told = [f"{count} with {kind}" for kind, count in kinds[:SHOWN]]
        rest = sum(count for _, count in kinds[SHOWN:])
        return ", ".join([*told, *([f"{rest} of other kinds"] if rest else [])])

    def _in_band(self, values: Sequence[float]) -> bool:
        return bool(values) and self.low < sum(values) / len(values) < self.high

    def _kind(self, group: Sequence[Scored]) -> str:
        judges_each = self.mode == "variance"
        rows = group if judges_each else _responses(group)
        scores = {key: values_of(rows, key) for key in self.keys}
        if min(map(len, scores.values())) < 1 + judges_each:
            return "too few responses that could be scored"
        word = "every" if judges_each else "a mean"
        return " and ".join(f"{word} {key} = {sum(values) / len(values):.3g}" for key, values in scores.items())


def _responses(group: Sequence[Scored]) -> list[Scored]:
    return [row for row in group if row.trajectory.source is not Source.GREEDY]
