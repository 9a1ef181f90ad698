# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Clips made of noise, and what the libraries we must agree with want to hear about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from transformers.video_utils import VideoMetadata as HfMetadata

from tests.metadata import video_metadata
from verl.types import VideoClip, VideoMetadata


@dataclass(frozen=True)
class Shape:
    """One line of the table of shapes."""

    frames: int
    height: int
    width: int
    fps: float
    stride: int = 3
    first: int = 0  # source number of the first frame of an excerpt
    tail: int = 4  # frames behind the last one

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}@{self.fps}"


SHAPES = (
    Shape(8, 64, 64, 30.0),
    Shape(7, 64, 96, 29.97),
    Shape(4, 96, 32, 23.976, stride=11),
    Shape(2, 32, 128, 20.0, stride=7),
    Shape(1, 64, 64, 25.0),
    Shape(5, 64, 32, 1.0, stride=1),
    Shape(16, 32, 32, 59.94, stride=45),
)


def clip(shape: Shape, seed: int = 0) -> VideoClip:
    """Random frames."""
    frames = np.random.default_rng(seed).integers(0, 256, (shape.frames, 3, shape.height, shape.width), np.uint8)
    return VideoClip(frames=frames, metadata=metadata(shape))


def metadata(shape: Shape) -> VideoMetadata:
    """Every `stride`-th frame of a longer video, or of an excerpt of one."""
    indices = tuple(range(0, shape.frames * shape.stride, shape.stride))
    return video_metadata(
        [shape.first + index for index in indices],
        shape.height,
        shape.width,
        fps=shape.fps,
        timestamps=tuple(index / shape.fps for index in indices),
        total_frames=indices[-1] + 1 + shape.tail,
        first_frame=shape.first,
    )


def for_transformers(metadata: VideoMetadata) -> HfMetadata:
    """The same facts in transformers' words."""
    return HfMetadata(
        total_num_frames=metadata.total_frames,
        fps=metadata.source_fps,
        duration=metadata.duration,
        video_backend="cached",
        frames_indices=list(metadata.excerpt_indices),
    )
