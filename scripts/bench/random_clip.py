# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A video of random frames that no file holds."""

from __future__ import annotations

import numpy as np

from verl.types import VideoClip, VideoMetadata


def random_clip(frames: int, height: int, width: int) -> VideoClip:
    """Two frames per second, and all of them."""
    metadata = VideoMetadata(
        source_fps=2.0,
        frame_indices=tuple(range(frames)),
        timestamps=tuple(index / 2 for index in range(frames)),
        total_frames=frames,
        duration=frames / 2,
        height=height,
        width=width,
        source_height=height,
        source_width=width,
        rotation=0,
        sampler="none",
        decoder="none",
        resize="none",
    )
    pixels = np.random.default_rng(0).integers(0, 256, (frames, 3, height, width), dtype=np.uint8)
    return VideoClip(frames=pixels, metadata=metadata)
