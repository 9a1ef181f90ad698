# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Prompts without a model, clips without a file."""

from __future__ import annotations

import numpy as np

from tests.metadata import video_metadata
from verl.types import (
    Grid,
    ImageClip,
    ImageMetadata,
    ImageSpec,
    MediaRef,
    Prompt,
    Record,
    VideoClip,
    VideoSpec,
)

PLACEHOLDER = 9


def make_clip(num_frames: int = 4, height: int = 32, width: int = 64) -> VideoClip:
    frames = np.arange(num_frames * 3 * height * width, dtype=np.uint32).astype(np.uint8)
    metadata = video_metadata(range(0, 15 * num_frames, 15), height, width, fps=30.0, total_frames=90)
    return VideoClip(frames=frames.reshape(num_frames, 3, height, width), metadata=metadata)


def make_ref(key: str) -> MediaRef:
    spec = VideoSpec(fps=2.0, max_frames=8, min_pixels=1024, max_pixels=4096)
    return MediaRef(path=f"{key}.mp4", spec=spec, key=key, entry=None, metadata=make_clip().metadata)


def make_image(height: int = 32, width: int = 64, seed: int = 1) -> ImageClip:
    pixels = np.random.default_rng(seed).integers(0, 256, (1, 3, height, width), np.uint8)
    metadata = ImageMetadata(
        height=height, width=width, source_height=height, source_width=width, orientation=1, resize="none"
    )
    return ImageClip(frames=pixels, metadata=metadata)


def make_image_ref(key: str) -> MediaRef:
    spec = ImageSpec(min_pixels=1024, max_pixels=4096)
    return MediaRef(path=f"{key}.png", spec=spec, key=key, entry=None, metadata=make_image().metadata)


def make_prompt(*keys: str, length: int = 10) -> Prompt:
    record = Record(id="row", where="rows.jsonl:3", problem="?", answer="A", problem_type="open", data_type="video")
    ids = np.arange(100, 100 + length, dtype=np.int32)
    return Prompt(
        record=record,
        text="?",
        collapsed_ids=np.array([1, *[PLACEHOLDER] * len(keys), 2], np.int32),
        ids=ids,
        grids=tuple(Grid(2, 2, 4) for _ in keys),
        media=tuple(make_ref(key) for key in keys),
    )
