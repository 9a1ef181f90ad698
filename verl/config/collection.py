# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the keys that fill a step's batch demand of each other."""

from __future__ import annotations

from collections.abc import Iterator

from verl.config.algorithm import AlgorithmConfig
from verl.config.trainer import Config


def collection_problems(config: Config) -> Iterator[str]:
    """One message for every rule that is broken."""
    algorithm, untouched = config.algorithm, AlgorithmConfig()
    bounds = (algorithm.filter_low, algorithm.filter_high)
    if algorithm.filter_mode == "variance" and bounds != (untouched.filter_low, untouched.filter_high):
        yield (
            f"algorithm.filter_low={bounds[0]} and algorithm.filter_high={bounds[1]} are for groups chosen by their"
            " mean: set algorithm.filter_mode=band, or leave them out"
        )
    if algorithm.online_filtering and algorithm.filter_mode == "band" and algorithm.filter_low >= algorithm.filter_high:
        yield (
            f"algorithm.filter_low={algorithm.filter_low}: must be below"
            f" algorithm.filter_high={algorithm.filter_high}, or every group is dropped"
        )
    if config.worker.rollout.enable_mix_policy:
        yield from _mixing(config)


def _mixing(config: Config) -> Iterator[str]:
    rollout = config.worker.rollout
    most, threshold = rollout.mix_policy_max_responses, rollout.mix_policy_accuracy_threshold
    if not 1 <= most < rollout.n:
        yield (
            f"worker.rollout.mix_policy_max_responses={most}: must be at least 1 and less than"
            f" worker.rollout.n={rollout.n}: a group holds a response of the policy too"
        )
    if threshold is not None and not 0 <= threshold <= 1:
        yield f"worker.rollout.mix_policy_accuracy_threshold={threshold}: is an accuracy, at least 0 and at most 1"
