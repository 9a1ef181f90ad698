# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""The video reward as a user's file: copy it and change it.

Leaving worker.reward.reward_function empty gives the same scores without a copy.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import Any

from verl.rewards.custom import item_of
from verl.rewards.router import Router
from verl.types import Score

REWARD_NAME = "video"
REWARD_TYPE = "batch"

logger = logging.getLogger(__name__)


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]],
    accuracy_weight: float = 0.9,
    format_weight: float = 0.1,
    debug_sample_rate: float = 0.1,
) -> list[dict[str, float | None]]:
    """overall, accuracy and format of each response; None where the ground truth is invalid (it is masked).

    Logs one response of the batch with probability `debug_sample_rate`.
    """
    if abs(accuracy_weight + format_weight - 1.0) > 1e-6:
        raise ValueError(f"accuracy_weight {accuracy_weight} and format_weight {format_weight} must add up to 1")
    router = Router(accuracy_weight=accuracy_weight, format_weight=format_weight)
    scores: list[dict[str, float | None]] = []
    for verdict in router.score([item_of(row) for row in reward_inputs]):
        if isinstance(verdict, Score):
            accuracy, form = verdict.parts["accuracy"], verdict.parts["format"]
            scores.append({"overall": verdict.overall, "accuracy": accuracy, "format": form})
        else:
            scores.append({"overall": None, "accuracy": None, "format": None})
    if scores and random.random() < debug_sample_rate:
        at = random.randrange(len(scores))
        logger.info("%s -> %s", dict(reward_inputs[at]), scores[at])
    return scores
