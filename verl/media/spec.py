# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Recipe to plan: which frames of a video to keep, and at what size. No pixels and no decoder here."""

from __future__ import annotations

import math
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np

from verl.errors import ConfigError, ContractError, MediaError
from verl.registry import Registry
from verl.types import SourceId, VideoSpec

MAX_ASPECT_RATIO = 200
TEMPORAL_MERGE = 2  # frames that share one row of patches: a pixel budget counts every pair of frames once
FRAME_CEILING = 768  # merged patches one frame may take (qwen-vl-utils 0.0.14)
CLIP_CEILING = 115_200  # merged patches a clip may take when the spec sets no total_pixels (0.9 * 128000)


class SamplingRule(Protocol):
    """Which frames and what size, decided from header numbers alone. Raises MediaError where nothing fits."""

    def frames(self, spec: VideoSpec, total_frames: int, fps: float) -> tuple[int, ...]:
        """Source-frame indices to keep, ascending."""
        ...

    def size(self, spec: VideoSpec, num_frames: int, height: int, width: int) -> tuple[int, int]:
        """(height, width) in pixels to resize upright frames of the given size to."""
        ...


SAMPLERS: Registry[SamplingRule] = Registry("video sampler")


def source_id(path: str | Path) -> SourceId:
    """Identity of the file at `path`, symbolic links resolved. Raises MediaError if there is no such file."""
    resolved = Path(path).expanduser().resolve()
    try:
        status = resolved.stat()
    except OSError as error:
        raise MediaError(f"{path}: cannot open this video ({error.strerror}); check the path") from error
    if not resolved.is_file():
        raise MediaError(f"{path}: not a file")
    return SourceId(path=str(resolved), size=status.st_size, mtime_ns=status.st_mtime_ns)


def check(spec: VideoSpec) -> None:
    """Raise ConfigError for a spec that can never work."""
    if spec.fps <= 0:
        raise ConfigError(f"video fps must be positive, got {spec.fps}")
    if spec.align <= 0 or spec.min_frames < 0 or spec.max_frames < TEMPORAL_MERGE:
        raise ConfigError(
            f"video align must be positive, min_frames not negative and max_frames at least {TEMPORAL_MERGE}: "
            f"got {spec.align}, {spec.min_frames}, {spec.max_frames}"
        )
    if not 0 < spec.min_pixels <= spec.max_pixels:
        raise ConfigError(
            f"video min_pixels and max_pixels must satisfy 0 < min <= max, got {spec.min_pixels} and {spec.max_pixels}"
        )
    if spec.total_pixels is not None and spec.total_pixels <= 0:
        raise ConfigError(f"video total_pixels must be positive or unset, got {spec.total_pixels}")
    SAMPLERS.resolve(spec.sampler)


def plan_frames(spec: VideoSpec, total_frames: int, fps: float) -> tuple[int, ...]:
    """Indices [F] to keep of a video of `total_frames` at `fps`, by the rule that `spec.sampler` names."""
    chosen = SAMPLERS.resolve(spec.sampler).frames(spec, total_frames, fps)
    inside = bool(chosen) and chosen[0] >= 0 and chosen[-1] < total_frames
    if not inside or any(after <= before for before, after in pairwise(chosen)):
        raise ContractError(
            f"video sampler {spec.sampler!r} must choose ascending frames of {total_frames}, chose {chosen}"
        )
    return chosen


def plan_size(spec: VideoSpec, num_frames: int, height: int, width: int) -> tuple[int, int]:
    """(height, width) for each of `num_frames` upright frames, by the rule that `spec.sampler` names."""
    return SAMPLERS.resolve(spec.sampler).size(spec, num_frames, height, width)


def build_command(spec: VideoSpec, cache_dir: str | Path) -> str:
    """Shell command that fills `cache_dir` for this spec; the names in capitals are the reader's to fill in."""
    flags = {
        "output_dir": cache_dir,
        "video_fps": spec.fps,
        "video_min_frames": spec.min_frames,
        "video_max_frames": spec.max_frames,
        "video_min_pixels": spec.min_pixels,
        "video_max_pixels": spec.max_pixels,
        "video_total_pixels": spec.total_pixels,
        "align": spec.align,
        "decoder": spec.decoder,
    }
    given = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in flags.items() if value is not None)
    return f"python scripts/preprocess_videos.py --input_file DATA --output_file CACHED_DATA {given}"


class _QwenUtils:
    """The rule of qwen-vl-utils 0.0.14, which the public Qwen-VL recipes train with.

    One deviation: there `min_pixels` (times 1.05) may push a clip past its `total_pixels`; here the clip budget
    always holds, so the tokens of a clip are bounded, and many-frame clips get frames below `min_pixels`.
    """

    def frames(self, spec: VideoSpec, total_frames: int, fps: float) -> tuple[int, ...]:
        least = TEMPORAL_MERGE * math.ceil(spec.min_frames / TEMPORAL_MERGE)
        most = spec.max_frames // TEMPORAL_MERGE * TEMPORAL_MERGE
        wanted = min(max(total_frames / fps * spec.fps, least), most, total_frames)
        count = int(wanted // TEMPORAL_MERGE) * TEMPORAL_MERGE
        if count < TEMPORAL_MERGE:
            raise MediaError(f"{total_frames} frame(s) are too few, a clip needs at least {TEMPORAL_MERGE}")
        return tuple(np.linspace(0, total_frames - 1, count).round().astype(int).tolist())

    def size(self, spec: VideoSpec, num_frames: int, height: int, width: int) -> tuple[int, int]:
        budget = spec.total_pixels if spec.total_pixels is not None else CLIP_CEILING * spec.align**2
        share = budget / num_frames * TEMPORAL_MERGE
        ceiling = max(FRAME_CEILING * spec.align**2, int(1.05 * spec.min_pixels))
        high = min(spec.max_pixels, ceiling, share)
        chosen = _fit(height, width, spec.align, (min(spec.min_pixels, high), high))
        if math.prod(chosen) > share:  # rounding up to `min_pixels` overshot the clip's budget
            chosen = _shrink(height, width, spec.align, share)
        if math.prod(chosen) > share:
            raise MediaError(
                f"{num_frames} frames of {height}x{width} do not fit into total_pixels={budget} at multiples of "
                f"{spec.align}; raise total_pixels or lower max_frames"
            )
        return chosen


SAMPLERS.register("qwen_utils")(_QwenUtils())


def _fit(height: int, width: int, align: int, bounds: tuple[float, float]) -> tuple[int, int]:
    """Nearest multiples of `align` with the area in `bounds`, keeping the aspect ratio as well as they can."""
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise MediaError(f"aspect ratio of {height}x{width} exceeds {MAX_ASPECT_RATIO}")
    low, high = bounds
    rounded = tuple(max(align, round(side / align) * align) for side in (height, width))
    area = math.prod(rounded)
    if area > high:
        return _shrink(height, width, align, high)
    if area < low:
        scale = math.sqrt(low / (height * width))
        return math.ceil(height * scale / align) * align, math.ceil(width * scale / align) * align
    return rounded[0], rounded[1]


def _shrink(height: int, width: int, align: int, area: float) -> tuple[int, int]:
    scale = math.sqrt(height * width / area)
    return (
        max(align, math.floor(height / scale / align) * align),
        max(align, math.floor(width / scale / align) * align),
    )
