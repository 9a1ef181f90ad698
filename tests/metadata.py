# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Metadata of videos that nobody decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verl.types import VideoMetadata


def video_metadata(indices: Sequence[int], height: int, width: int, *, fps: float, **others: Any) -> VideoMetadata:
    """Those frames of a video of constant rate, which ends with the last of them unless `others` tell its length."""
    total = others.get("total_frames", max(indices, default=-1) + 1)
    fields: dict[str, Any] = {
        "source_fps": fps,
        "frame_indices": tuple(indices),
        "timestamps": tuple(index / fps for index in indices),
        "total_frames": total,
        "duration": total / fps,
        "height": height,
        "width": width,
        "source_height": height,
        "source_width": width,
        "rotation": 0,
        "sampler": "test",
        "decoder": "test",
        "resize": "test",
    }
    return VideoMetadata(**(fields | others))
