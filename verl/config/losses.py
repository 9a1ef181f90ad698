# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the keys of the loss demand of each other."""

from __future__ import annotations

from collections.abc import Iterator

from verl.config.trainer import Config


def loss_problems(config: Config) -> Iterator[str]:
    """One message for every rule of the actor's loss that is broken."""
    actor, algorithm, rollout = config.worker.actor, config.algorithm, config.worker.rollout
    low = actor.clip_ratio_low
    if low is not None and not 0 < low <= 1:
        yield (
            f"worker.actor.clip_ratio_low={low}: must be above 0 and at most 1, which is no lower bound; null is the"
            " loss's own"
        )
    if actor.clip_ratio_dual <= 1:
        yield f"worker.actor.clip_ratio_dual={actor.clip_ratio_dual}: must be above 1"
    if algorithm.kl_bias_correction and (algorithm.disable_kl or not algorithm.use_kl_loss):
        yield (
            "algorithm.kl_bias_correction=true corrects the KL in the loss: set algorithm.use_kl_loss=true and"
            " algorithm.disable_kl=false"
        )
    if actor.off_policy_loss != "on_policy" and not rollout.enable_mix_policy:
        yield (
            f"worker.actor.off_policy_loss={actor.off_policy_loss} is for responses from the data: set"
            " worker.rollout.enable_mix_policy=true, or on_policy"
        )
    if (rollout.top_p < 1 or rollout.top_k > 0) and not algorithm.disable_kl:
        yield (
            f"worker.rollout.top_p={rollout.top_p} and worker.rollout.top_k={rollout.top_k} sample from a part of the"
            " vocabulary, another one for the reference policy, and the KL between such distributions is infinite:"
            " set algorithm.disable_kl=true, or top_p=1 and top_k=-1"
        )
