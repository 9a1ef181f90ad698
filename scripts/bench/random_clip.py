# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A video of random frames that no file holds, and a reader of it."""

from __future__ import annotations

import numpy as np

from verl.types import MediaRef, VideoClip, VideoMetadata, VideoSpec


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


class OneClip:
    """A reader that knows one random clip."""

    opens = distinct = 1

    def __init__(self, frames: int, height: int, width: int) -> None:
        self.clip = random_clip(frames, height, width)
        spec = VideoSpec(fps=2.0, max_frames=frames, min_pixels=1, max_pixels=height * width)
        self.ref = MediaRef(path="random", spec=spec, key="random", entry=None, metadata=self.clip.metadata)

    def load(self, ref: MediaRef) -> VideoClip:
        """The clip."""
        return self.clip

    def clear(self) -> None:
        """Nothing is held."""
