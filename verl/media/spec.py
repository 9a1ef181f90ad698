# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Recipe to plan: which frames of a video to keep, and at what size. No pixels and no decoder here."""

from __future__ import annotations

import math
import shlex
from itertools import pairwise
from pathlib import Path

from verl.errors import ConfigError, ContractError, MediaError
from verl.media.codec import RAW, check_storage
from verl.media.folder import folder_id
from verl.media.rules import SAMPLERS, TEMPORAL_MERGE
from verl.types import SourceId, VideoSpec


def source_id(path: str | Path) -> SourceId:
    """Identity of the file, or folder of frames, at `path`, symbolic links resolved. Raises MediaError for neither."""
    resolved = Path(path).expanduser().resolve()
    try:
        status = resolved.stat()
    except OSError as error:
        raise MediaError(f"{path}: cannot open this file ({error.strerror}); check the path") from error
    if resolved.is_dir():
        try:
            return folder_id(resolved)
        except MediaError as error:
            raise MediaError(f"{path}: {error}") from error.__cause__
    if not resolved.is_file():
        raise MediaError(f"{path}: not a file")
    return SourceId(path=str(resolved), size=status.st_size, mtime_ns=status.st_mtime_ns)


def check(spec: VideoSpec) -> None:
    """Raise ConfigError for a spec that can never work."""
    if spec.fps <= 0 or (spec.folder_fps is not None and spec.folder_fps <= 0):
        raise ConfigError(f"video fps and folder_fps must be positive, got {spec.fps} and {spec.folder_fps}")
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
    if not 0 <= (spec.start or 0.0) < (math.inf if spec.end is None else spec.end):
        raise ConfigError(f"an excerpt must start at 0 or later and before it ends, got {spec.start} to {spec.end}")
    check_storage(RAW, spec.lossy)
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
    chosen = SAMPLERS.resolve(spec.sampler).size(spec, num_frames, height, width)
    if any(side <= 0 or side % spec.align for side in chosen):
        raise ContractError(f"video sampler {spec.sampler!r} must choose multiples of {spec.align}, chose {chosen}")
    return chosen


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
        "sampler": spec.sampler,
        "decoder": spec.decoder,
        "lossy": spec.lossy,
        "folder_fps": spec.folder_fps,
    }
    given = " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in flags.items() if value is not None)
    return f"python scripts/preprocess_videos.py --input_file DATA --output_file CACHED_DATA {given}"
