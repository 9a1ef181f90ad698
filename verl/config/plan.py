# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Numbers that follow from the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from verl.config.data import DataConfig
from verl.config.trainer import Config
from verl.config.worker import CriticConfig
from verl.errors import ConfigError
from verl.types import ImageSpec, VideoSpec

# The smallest and largest frame or image, in tokens, when neither its own keys nor the fallbacks are set.
_MIN_TOKENS, _MAX_TOKENS = 4, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticPlan:
    """The critic's own numbers, where there is one."""

    groups_per_update: int  # prompts in one optimizer step, over all processes
    token_budget_update: int  # tokens in one training pass of one process
    token_budget_experience: int  # tokens in one value pass of one process

    @classmethod
    def of(cls, critic: CriticConfig, longest: int) -> CriticPlan:
        """The numbers for rows of at most `longest` tokens."""
        budget = critic.max_token_len_per_gpu
        return cls(
            groups_per_update=critic.global_batch_size,
            token_budget_update=budget or critic.micro_batch_size_per_device_for_update * longest,
            token_budget_experience=budget or critic.micro_batch_size_per_device_for_experience * longest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much of everything one training step takes."""

    num_prompts_per_step: int
    rows_per_step: int  # responses
    updates_per_step: int  # optimizer steps in one pass over the rows of a step
    groups_per_update: int  # prompts in one optimizer step, over all processes
    rows_per_update: int
    token_budget_update: int  # tokens in one training pass of one process
    token_budget_experience: int  # tokens in one log-prob pass of one process
    num_servers: int  # inference engines
    max_model_len: int  # tokens, prompt and response
    critic: CriticPlan

    @classmethod
    def of(cls, config: Config, world_size: int, device: str | None = None) -> Plan:
        """The plan for `world_size` processes. `device`, "cpu" or "cuda", is what "auto" turned out to be."""
        data, actor, rollout = config.data, config.worker.actor, config.worker.rollout
        longest = data.max_prompt_length + data.max_response_length
        budget = actor.max_token_len_per_gpu
        device = device or config.trainer.device
        if device == "auto":
            raise ValueError("trainer.device is auto: say which device it turned out to be")
        servers, asked = world_size // rollout.tensor_parallel_size if device == "cuda" else 1, rollout.num_servers
        if device == "cuda" and (asked or 0) > servers:
            raise ConfigError(
                f"worker.rollout.num_servers={asked}: {world_size} devices have room for {servers} engines of"
                f" worker.rollout.tensor_parallel_size={rollout.tensor_parallel_size}; lower it, or set it to null"
            )
        return cls(
            num_prompts_per_step=data.rollout_batch_size,
            rows_per_step=data.rollout_batch_size * rollout.n,
            updates_per_step=data.rollout_batch_size // actor.global_batch_size,
            groups_per_update=actor.global_batch_size,
            rows_per_update=actor.global_batch_size * rollout.n,
            token_budget_update=budget or actor.micro_batch_size_per_device_for_update * longest,
            token_budget_experience=budget or actor.micro_batch_size_per_device_for_experience * longest,
            num_servers=rollout.num_servers or servers,
            max_model_len=rollout.max_model_len or longest,
            critic=CriticPlan.of(config.worker.critic, longest),
        )


def num_training_steps(config: Config, num_prompts: int) -> int:
    """Training steps over `num_prompts` training rows; an incomplete last batch of an epoch is left out."""
    per_epoch = num_prompts // config.data.rollout_batch_size
    return config.trainer.max_steps or per_epoch * config.trainer.total_epochs


def video_spec(data: DataConfig, align: int, *, train: bool) -> VideoSpec:
    """How videos are read for a model whose frame sides are multiples of `align` pixels.

    In validation each val_* key that is set takes the place of its training key. A pixel limit that is not
    set is data.min_pixels or data.max_pixels, and without those 4 or 64 times the pixels of one token.
    """
    fps, max_frames = data.video_fps, data.video_max_frames
    least, most, total = data.video_min_pixels, data.video_max_pixels, data.video_total_pixels
    if not train:
        fps, max_frames = data.val_video_fps or fps, data.val_video_max_frames or max_frames
        least, most = data.val_video_min_pixels or least, data.val_video_max_pixels or most
        total = data.val_video_total_pixels or total
    return VideoSpec(
        fps=fps,
        max_frames=max_frames,
        min_frames=data.video_min_frames,
        min_pixels=least or data.min_pixels or _MIN_TOKENS * align**2,
        max_pixels=most or data.max_pixels or _MAX_TOKENS * align**2,
        total_pixels=total,
        align=align,
        sampler=data.video_sampler,
        decoder=data.video_decoder,
        folder_fps=data.video_folder_fps,
    )


def image_spec(data: DataConfig, align: int, *, train: bool) -> ImageSpec:
    """How images are read; limits fall back as those of `video_spec` do."""
    least, most = data.image_min_pixels, data.image_max_pixels
    if not train:
        least, most = data.val_image_min_pixels or least, data.val_image_max_pixels or most
    return ImageSpec(
        min_pixels=least or data.min_pixels or _MIN_TOKENS * align**2,
        max_pixels=most or data.max_pixels or _MAX_TOKENS * align**2,
        align=align,
    )
