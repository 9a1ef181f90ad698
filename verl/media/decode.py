# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Videos to clips, by the decoder that a spec names. Other modules open videos through here only.

A folder of frames is read by a decoder of its own whatever the spec names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from verl.errors import MediaError
from verl.media.resize import RESIZERS
from verl.media.spec import plan_frames, plan_size
from verl.registry import Registry
from verl.types import VideoClip, VideoMetadata, VideoSpec

FOLDER = "frames"  # the decoder of folders
CLOSE = 1e-6  # seconds: times come as rounded fractions


class Decoder(Protocol):
    """Reads videos. Both methods raise MediaError for one that cannot be read to the letter."""

    def probe(self, path: str, spec: VideoSpec) -> VideoMetadata:
        """The metadata that `decode` would give, without the cost of decoding where the container allows it."""
        ...

    def decode(self, path: str, spec: VideoSpec) -> VideoClip:
        """The frames that `spec` asks for."""
        ...


DECODERS: Registry[Decoder] = Registry("video decoder", package="verl.media", ending="_decoder")


def probe(path: str, spec: VideoSpec) -> VideoMetadata:
    """What `decode(path, spec)` would give, in numbers. Raises MediaError."""
    with _naming(path):
        return _decoder(path, spec).probe(path, spec)


def decode(path: str, spec: VideoSpec) -> VideoClip:
    """The frames of the video at `path` that `spec` asks for. Raises MediaError."""
    with _naming(path):
        return _decoder(path, spec).decode(path, spec)


def _decoder(path: str, spec: VideoSpec) -> Decoder:
    return DECODERS.resolve(FOLDER if Path(path).is_dir() else spec.decoder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What a decoder finds out about a video before any rule is applied to it."""

    decoder: str
    times: NDArray[np.float64]  # presentation time of every frame, seconds from the first, in display order
    fps: float
    height: int  # upright
    width: int
    rotation: int  # degrees clockwise that make it upright
    errors: int = 0  # places that a tolerant decoder passed over

    def metadata(self, spec: VideoSpec) -> VideoMetadata:
        """Apply the rules of `spec`. Raises MediaError where they leave nothing."""
        first, total = self._excerpt(spec)
        indices = plan_frames(spec, total, self.fps)
        height, width = plan_size(spec, len(indices), self.height, self.width)
        return VideoMetadata(
            source_fps=self.fps,
            frame_indices=tuple(first + index for index in indices),
            timestamps=tuple(float(self.times[first + index] - self.times[first]) for index in indices),
            total_frames=total,
            duration=total / self.fps,
            height=height,
            width=width,
            source_height=self.height,
            source_width=self.width,
            rotation=self.rotation,
            sampler=spec.sampler,
            decoder=self.decoder,
            resize=spec.resize,
            decode_errors=self.errors,
            first_frame=first,
        )

    def _excerpt(self, spec: VideoSpec) -> tuple[int, int]:
        """Number of the first frame shown from `spec.start` on, and how many are shown before `spec.end`."""
        start, end = spec.start or 0.0, math.inf if spec.end is None else spec.end
        first, stop = (int(place) for place in np.searchsorted(self.times, (start - CLOSE, end - CLOSE)))
        if first >= stop:
            raise MediaError(
                f"has no frame from {start:g} to {end:g} s: its last one is shown at {self.times[-1]:.2f} s"
            )
        return first, stop - first


def resized(metadata: VideoMetadata, spec: VideoSpec, frame: Callable[[int], NDArray[np.uint8]]) -> VideoClip:
    """The frames of `metadata`, each of them [H, W, 3] from `frame(number)`; one at a time, as memory is bounded."""
    resize = RESIZERS.resolve(spec.resize)
    frames = np.empty((metadata.num_frames, 3, metadata.height, metadata.width), np.uint8)
    for slot, index in enumerate(metadata.frame_indices):
        resize(frame(index), frames[slot])
    return VideoClip(frames=frames, metadata=metadata)


@contextmanager
def _naming(path: str) -> Iterator[None]:
    try:
        yield
    except MediaError as error:
        raise MediaError(f"{path}: {error}") from error.__cause__
