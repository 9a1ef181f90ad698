# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Clips and entries made without a decoder."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from tests.metadata import video_metadata
from verl.media.cache import ClipCache
from verl.types import SourceId, VideoClip, VideoSpec

SPEC = VideoSpec(fps=2.0, max_frames=16, min_pixels=1024, max_pixels=65536)


def make_clip(frames: int = 4, height: int = 64, width: int = 96, seed: int = 0) -> VideoClip:
    """A smooth moving pattern with a little noise, as videos have."""
    rng = np.random.default_rng(seed)
    t, c, y, x = np.ogrid[:frames, :3, :height, :width]
    smooth = 128 + 90 * np.sin((x + 5 * t) / 17 + c) * np.cos((y - 3 * t) / 13)
    pixels = np.clip(smooth + rng.normal(0, 2, (frames, 3, height, width)), 0, 255).astype(np.uint8)
    return VideoClip(
        frames=pixels,
        metadata=video_metadata(
            range(0, 10 * frames, 10),
            height,
            width,
            fps=25.0,
            total_frames=10 * frames,
            source_height=2 * height,
            source_width=2 * width,
            sampler=SPEC.sampler,
            decoder=SPEC.decoder,
            resize=SPEC.resize,
        ),
    )


def source_of(path: str | Path) -> SourceId:
    """Identity of a file that need not exist."""
    return SourceId(path=str(path), size=1000, mtime_ns=17)


def stored(
    cache: ClipCache, path: str | Path = "/videos/a.mp4", *, clip: VideoClip | None = None, spec: VideoSpec = SPEC
) -> Path:
    """The entry of `clip` as the video at `path`."""
    source = source_of(path)
    return cache.write(spec.cache_key(source), clip or make_clip(), spec, source)


def make_older(path: Path, seconds: float) -> None:
    """As if it had been written so long ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
