# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Builders for tests of the policy: prompts with clips made in memory, rows with random responses, gloo ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tests.metadata import video_metadata
from tests.ranks import one_rank as one_rank
from tests.ranks import run_ranks as run_ranks
from verl.config.model import FsdpConfig, ModelConfig, OffloadConfig, OptimConfig
from verl.fsdp.build import Blueprint
from verl.fsdp.network import LearningSettings, NetworkSettings
from verl.fsdp.packing import Packer
from verl.fsdp.patches import PatchCache
from verl.fsdp.policy import PolicySettings, TrainingSettings
from verl.fsdp.sampling import Sampling
from verl.models.adapter import ModelAdapter
from verl.models.ulysses import ALONE, SequenceGroup
from verl.types import (
    IMAGE_MARK,
    VIDEO_MARK,
    Experience,
    ImageClip,
    ImageMetadata,
    ImageSpec,
    MediaClip,
    MediaRef,
    Prompt,
    Record,
    Score,
    Trajectory,
    VideoClip,
    VideoSpec,
)

FAR = 1 << 40  # a budget that never binds


class MemoryReader:
    """Clips and images by key, and how often each was asked for."""

    def __init__(self) -> None:
        self.clips: dict[str, MediaClip] = {}
        self._seen: list[str] = []

    @property
    def opens(self) -> int:
        return len(self._seen)

    @property
    def distinct(self) -> int:
        return len(set(self._seen))

    def load(self, ref: MediaRef) -> MediaClip:
        self._seen.append(ref.key)
        return self.clips[ref.key]

    def clear(self) -> None:
        self._seen.clear()


class World:
    """An adapter, clips for it, and rows about them."""

    def __init__(
        self,
        adapter: ModelAdapter,
        *,
        shared_prompt: bool = True,
        max_bytes: int = FAR,
        group: SequenceGroup = ALONE,
    ) -> None:
        self.adapter = adapter
        self.reader = MemoryReader()
        self.patches = PatchCache(self.reader, adapter, max_bytes)
        self.packer = Packer(adapter, self.patches, shared_prompt, group)

    def clip(self, key: str, *, frames: int = 4, height: int = 64, width: int = 64) -> MediaRef:
        metadata = video_metadata(range(0, 2 * frames, 2), height, width, fps=4.0, total_frames=2 * frames)
        rng = np.random.default_rng(sum(key.encode()))
        pixels = rng.integers(0, 256, (frames, 3, height, width), dtype=np.uint8)
        self.reader.clips[key] = VideoClip(frames=pixels, metadata=metadata)
        spec = VideoSpec(fps=2.0, max_frames=frames, min_pixels=1, max_pixels=height * width)
        return MediaRef(path=f"{key}.mp4", spec=spec, key=key, entry=None, metadata=metadata)

    def image(self, key: str, *, height: int = 64, width: int = 64) -> MediaRef:
        metadata = ImageMetadata(
            height=height, width=width, source_height=height, source_width=width, orientation=1, resize="test"
        )
        pixels = np.random.default_rng(sum(key.encode())).integers(0, 256, (1, 3, height, width), dtype=np.uint8)
        self.reader.clips[key] = ImageClip(frames=pixels, metadata=metadata)
        spec = ImageSpec(min_pixels=1, max_pixels=height * width)
        return MediaRef(path=f"{key}.png", spec=spec, key=key, entry=None, metadata=metadata)

    def prompt(self, text: str, *clips: MediaRef) -> Prompt:
        marks = "".join(VIDEO_MARK if clip.kind == "video" else IMAGE_MARK for clip in clips)
        rendered = self.adapter.render(marks + text, marks.count(VIDEO_MARK), num_images=marks.count(IMAGE_MARK))
        collapsed = self.adapter.encode(rendered)
        expanded = self.adapter.expand(collapsed, [clip.metadata for clip in clips])
        record = Record(id=text, where=f"test:{text}", problem=text, answer="A", problem_type="open", data_type="video")
        return Prompt(
            record=record,
            text=rendered,
            collapsed_ids=collapsed,
            ids=expanded.ids,
            grids=expanded.grids,
            media=clips,
        )

    def rows(self, prompt: Prompt, group: int, lengths: Sequence[int]) -> list[Trajectory]:
        """Random responses of ordinary tokens."""
        rng = np.random.default_rng(group + 1)
        size = min(self.adapter.banned_ids, default=self.adapter.config.get_text_config().vocab_size)
        return [
            Trajectory(
                prompt=prompt,
                group=group,
                index=index,
                response_ids=rng.integers(0, size, length).astype(np.int32),
                rollout_logprobs=np.full(length, -3.0, np.float32),
                text="",
                truncated=False,
            )
            for index, length in enumerate(lengths)
        ]


def experience(row: Trajectory) -> Experience:
    """A row with numbers that depend on its group and index only."""
    rng = np.random.default_rng(1000 * row.group + row.index)
    length = len(row.response_ids)

    def stream(scale: float) -> Any:
        return (scale * rng.standard_normal(length)).astype(np.float32)

    return Experience(
        trajectory=row,
        score=Score(overall=1.0),
        old_logprobs=stream(0.1) - np.float32(6),
        ref_logprobs=stream(0.1) - np.float32(6),
        values=None,
        advantages=stream(1.0),
        returns=np.zeros(length, np.float32),
    )


def valued(row: Trajectory) -> Experience:
    """The same with values and returns, some of them further apart than a clip allows."""
    rng = np.random.default_rng(7000 + 1000 * row.group + row.index)
    length = len(row.response_ids)
    values, returns = (rng.standard_normal(length).astype(np.float32) for _ in range(2))
    return replace(experience(row), values=values, returns=returns)


def stock_states(model: Any, made: World, row: Trajectory) -> torch.Tensor:
    """Hidden states [R, D] by transformers' own code, each before its response token."""
    ids = torch.from_numpy(np.concatenate([row.prompt.ids, row.response_ids])).long()[None]
    media: dict[str, Any] = {}
    if row.prompt.media:
        clips = [made.patches.get(ref) for ref in row.prompt.media]
        media = {
            "pixel_values_videos": torch.cat([clip.normalised(torch.float32) for clip in clips]),
            "video_grid_thw": torch.tensor([clip.grid for clip in clips]),
            "mm_token_type_ids": 2 * (ids == model.config.video_token_id).int(),
        }
    hidden = model.model(input_ids=ids, attention_mask=torch.ones_like(ids), **media).last_hidden_state[0]
    return hidden[len(row.prompt.ids) - 1 : -1]


def critic_settings(**changes: Any) -> NetworkSettings:
    model, fsdp = ModelConfig(**changes.pop("model", {})), FsdpConfig(**changes.pop("fsdp", {}))
    blueprint = Blueprint(model=model, fsdp=fsdp, values=True)
    return NetworkSettings(blueprint=blueprint, **{"offload": OffloadConfig(), "token_budget": 600, **changes})


def learning_settings(**changes: Any) -> LearningSettings:
    defaults = {
        "optim": OptimConfig(lr=1e-3),
        "num_training_steps": 10,
        "num_epochs": 1,
        "max_grad_norm": 1.0,
        "token_budget": 600,
    }
    return LearningSettings(**{**defaults, **changes})


def policy_settings(**changes: Any) -> PolicySettings:
    model, fsdp = ModelConfig(**changes.pop("model", {})), FsdpConfig(**changes.pop("fsdp", {}))
    blueprint = Blueprint(model=model, fsdp=fsdp, trainable=changes.pop("trainable", True))
    defaults = {"offload": OffloadConfig(), "sampling": Sampling(), "token_budget": 600}
    return PolicySettings(blueprint=blueprint, **{**defaults, **changes})


def training_settings(**changes: Any) -> TrainingSettings:
    defaults = {
        "optim": OptimConfig(lr=1e-3),
        "num_training_steps": 10,
        "loss": "default",
        "num_epochs": 1,
        "max_grad_norm": 1.0,
        "token_budget": 600,
    }
    return TrainingSettings(**{**defaults, **changes})
