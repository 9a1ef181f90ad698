# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The reward for all tasks as a user's file: copy it and change it.

Leaving worker.reward.reward_function empty gives the same scores without a copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from verl.rewards.custom import item_of
from verl.rewards.router import Router
from verl.types import Score

REWARD_NAME = "unified"
REWARD_TYPE = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]], accuracy_weight: float = 0.9, format_weight: float = 0.1
) -> list[dict[str, float | None]]:
    """overall, accuracy and format of each response; None where the ground truth is invalid (it is masked)."""
    scores: list[dict[str, float | None]] = []
    for verdict in _router(accuracy_weight, format_weight).score([item_of(row) for row in reward_inputs]):
        if isinstance(verdict, Score):
            accuracy, form = verdict.parts["accuracy"], verdict.parts["format"]
            scores.append({"overall": verdict.overall, "accuracy": accuracy, "format": form})
        else:
            scores.append({"overall": None, "accuracy": None, "format": None})
    return scores


@lru_cache(maxsize=8)
def _router(accuracy_weight: float, format_weight: float) -> Router:
    return Router(accuracy_weight=accuracy_weight, format_weight=format_weight)
