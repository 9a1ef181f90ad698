# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What the critic's keys demand, to be asked where there is a critic: elsewhere they may have any value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from verl.config.keys import read
from verl.config.support import unsupported_critic
from verl.config.trainer import Config

_AT_LEAST_ONE = (
    "global_batch_size",
    "ppo_epochs",
    "max_token_len_per_gpu",
    "micro_batch_size_per_device_for_update",
    "micro_batch_size_per_device_for_experience",
    "optim.max_skipped_steps",
)
_ABOVE_ZERO = ("max_grad_norm", "cliprange_value")
_NOT_NEGATIVE = tuple(
    f"optim.{name}" for name in ("lr", "weight_decay", "lr_warmup_ratio", "lr_warmup_steps", "min_lr_ratio")
)


def critic_problems(config: Config) -> Iterator[str]:
    """One message for every rule that the critic's keys break."""
    yield from unsupported_critic(config)
    yield from _ranges(config)
    critic, data = config.worker.critic, config.data
    prompts, update = data.rollout_batch_size, critic.global_batch_size
    if update >= 1 and prompts % update:
        yield (
            f"data.rollout_batch_size={prompts} is not a multiple of worker.critic.global_batch_size={update}:"
            " a step is a whole number of the critic's optimizer steps"
        )
    longest, budget = data.max_prompt_length + data.max_response_length, critic.max_token_len_per_gpu
    if critic.ulysses_size != (size := config.worker.actor.ulysses_size):
        yield (
            f"worker.critic.ulysses_size={critic.ulysses_size}: the critic reads the rows that the policy's processes"
            f" hold, and those share them; set it to worker.actor.ulysses_size={size}"
        )
    if budget is not None and budget * size < longest:
        yield (
            f"worker.critic.max_token_len_per_gpu={budget} is less than data.max_prompt_length +"
            f" data.max_response_length = {longest}"
        )
    path = critic.model.model_path or ""
    if path.startswith(("/", ".", "~")) and not Path(path).expanduser().is_dir():
        yield f"worker.critic.model.model_path={path}: there is no such folder"


def _ranges(config: Config) -> Iterator[str]:
    for names, holds, rule in (
        (_AT_LEAST_ONE, lambda value: value >= 1, "must be at least 1"),
        (_ABOVE_ZERO, lambda value: 0 < value < math.inf, "must be above 0"),
        (_NOT_NEGATIVE, lambda value: 0 <= value < math.inf, "must not be negative"),
    ):
        for name in names:
            value = read(config.worker.critic, name)
            if value is not None and not holds(value):
                yield f"worker.critic.{name}={value}: {rule}"
