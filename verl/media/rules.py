# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Which frames of a video to keep, and at what size: one rule for each processor a model may have been trained with.

What holds for all: a video of one frame gives a clip of that frame, which every patcher shows twice. The published
processors refuse it. And no clip exceeds its total budget without an error: where a published rule lets a lower
limit win, the frames are made smaller here, and where frames of one block each are still too many, it is refused.
Everywhere else the numbers are the published ones.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from verl.errors import MediaError
from verl.registry import Registry
from verl.types import VideoSpec

MAX_ASPECT_RATIO = 200
TEMPORAL_MERGE = 2  # frames that share one row of patches
FRAME_CEILING = 768  # merged patches one frame may take (qwen-vl-utils 0.0.14)
CLIP_CEILING = 115_200  # merged patches a clip may take when the spec sets no total_pixels (0.9 * 128000)

Size = tuple[int, int]  # height, width


class SamplingRule(Protocol):
    """Which frames and what size, decided from header numbers alone. Raises MediaError where nothing fits."""

    def frames(self, spec: VideoSpec, total_frames: int, fps: float) -> tuple[int, ...]:
        """Source-frame indices to keep, ascending."""
        ...

    def size(self, spec: VideoSpec, num_frames: int, height: int, width: int) -> Size:
        """(height, width) in pixels to resize upright frames of the given size to."""
        ...


SAMPLERS: Registry[SamplingRule] = Registry("video sampler")


class QwenUtils:
    """qwen-vl-utils 0.0.14, which the public Qwen-VL recipes train with.

    `min_pixels` and `max_pixels` are of a frame; `total_pixels` is of the clip and counts each pair of frames once.
    An even number of frames, spread from the first to the last.
    """

    def frames(self, spec: VideoSpec, total_frames: int, fps: float) -> tuple[int, ...]:
        """As many as `fps` asks for, evenly from the first frame to the last."""
        least = TEMPORAL_MERGE * math.ceil(spec.min_frames / TEMPORAL_MERGE)
        wanted = min(max(total_frames / fps * spec.fps, least), _even(spec.max_frames), total_frames)
        return _spread(total_frames, _enough(_even(wanted), total_frames))

    def size(self, spec: VideoSpec, num_frames: int, height: int, width: int) -> Size:
        """The limits of a frame, and an even share of the total."""
        share = _share(spec.total_pixels or CLIP_CEILING * spec.align**2, num_frames)
        ceiling = max(min(FRAME_CEILING * spec.align**2, share), int(1.05 * spec.min_pixels))
        area = min(spec.max_pixels, ceiling)
        _check_shape(height, width)
        rounded = _rounded(height, width, spec.align)
        if math.prod(rounded) > area:
            rounded = _narrowed(height, width, spec.align, area)
        elif math.prod(rounded) < spec.min_pixels:
            rounded = _enlarged(height, width, spec.align, math.sqrt(spec.min_pixels / (height * width)))
        return _held(rounded, (height, width), spec, share)


class HfQwen3:
    """Qwen3VLVideoProcessor of transformers 5.19, without its `cap_pixels_per_frame`.

    `min_pixels` and `max_pixels` are its `size`: shortest_edge and longest_edge, both of the whole clip with every
    frame counted; `total_pixels`, where set, lowers the upper one, and counts each pair of frames once.
    The number of frames may be odd; the budget is then counted as the processor does, for an even number near it.
    """

    def frames(self, spec: VideoSpec, total_frames: int, fps: float) -> tuple[int, ...]:
        """As many as `fps` asks for, evenly from the first frame to the last."""
        wanted = min(max(int(total_frames / fps * spec.fps), spec.min_frames), spec.max_frames, total_frames)
        return _spread(total_frames, _enough(wanted, total_frames))

    def size(self, spec: VideoSpec, num_frames: int, height: int, width: int) -> Size:
        """The limits of the clip."""
        frames = max(num_frames, TEMPORAL_MERGE)
        most = spec.max_pixels if spec.total_pixels is None else min(spec.max_pixels, 2 * spec.total_pixels)
        if min(height, width) < spec.align:
            scale = max(spec.align / height, spec.align / width)
            height, width = int(height * scale), int(width * scale)
        _check_shape(height, width)
        counted = round(frames / TEMPORAL_MERGE) * TEMPORAL_MERGE
        rounded = _rounded(height, width, spec.align)
        if counted * math.prod(rounded) > most:
            rounded = _reduced(height, width, spec.align, math.sqrt((frames * height * width) / most))
        elif counted * math.prod(rounded) < spec.min_pixels:
            rounded = _enlarged(height, width, spec.align, math.sqrt(spec.min_pixels / (frames * height * width)))
        return _held(rounded, (height, width), spec, most / min(counted, frames))


class HfQwen2:
    """Qwen2VLVideoProcessor of transformers 5.19, which serves Qwen2-VL and Qwen2.5-VL.

    `min_pixels` and `max_pixels` are its `size`: shortest_edge and longest_edge of a frame. Without `total_pixels`
    nothing bounds a clip, as there; with it, frames shrink as with its `cap_pixels_per_frame`.
    An even number of frames, one from the beginning of each of as many equal stretches.
    """

    def frames(self, spec: VideoSpec, total_frames: int, fps: float) -> tuple[int, ...]:
        """As many as `fps` asks for, from the beginning of each stretch."""
        most = _even(min(spec.max_frames, total_frames))
        wanted = min(max(total_frames / fps * spec.fps, spec.min_frames), most, total_frames)
        count = _enough(_even(wanted), total_frames)
        return tuple(_torch_arange(total_frames / count, count).astype(int).tolist())

    def size(self, spec: VideoSpec, num_frames: int, height: int, width: int) -> Size:
        """The limits of a frame, and an even share of the total if there is one."""
        share, most = math.inf, spec.max_pixels
        if spec.total_pixels is not None:
            share = int(_share(spec.total_pixels, num_frames))
            most = max(min(most, share), int(spec.min_pixels * 1.05))
        _check_shape(height, width)
        rounded = round(height / spec.align) * spec.align, round(width / spec.align) * spec.align
        if math.prod(rounded) > most:
            rounded = _reduced(height, width, spec.align, math.sqrt((height * width) / most))
        elif math.prod(rounded) < spec.min_pixels:
            rounded = _enlarged(height, width, spec.align, math.sqrt(spec.min_pixels / (height * width)))
        return _held(rounded, (height, width), spec, share)


SAMPLERS.register("qwen_utils")(QwenUtils())
SAMPLERS.register("hf_qwen3")(HfQwen3())
SAMPLERS.register("hf_qwen2")(HfQwen2())


def _even(count: float) -> int:
    return int(count // TEMPORAL_MERGE) * TEMPORAL_MERGE


def _enough(count: int, total_frames: int) -> int:
    """`count` if it makes a clip, 1 for a video of one frame."""
    if total_frames == 1:
        return 1
    if total_frames < 1 or count < TEMPORAL_MERGE:
        raise MediaError(
            f"{count} of {total_frames} frame(s) are too few, a clip needs {TEMPORAL_MERGE}; raise fps or min_frames"
        )
    return count


def _spread(total_frames: int, count: int) -> tuple[int, ...]:
    return tuple(np.linspace(0, total_frames - 1, count).round().astype(int).tolist())


def _torch_arange(step: float, count: int) -> NDArray[np.float32]:
    """0, step, 2 step, ... with the rounding of torch.arange on a CPU.

    It counts in float32 by blocks of eight, two at a time, and what is left by products. This changes the whole part
    of a number somewhere in one of some hundred videos of more than an hour, and nowhere else.
    """
    places = np.arange(count)
    blocks = np.where(places < count // 16 * 16, places // 8 * 8, places)
    starts = (blocks * step).astype(np.float32).astype(np.float64)
    return (starts + (places - blocks) * step).astype(np.float32)


def _check_shape(height: int, width: int) -> None:
    if max(height, width) > MAX_ASPECT_RATIO * min(height, width):
        raise MediaError(f"aspect ratio of {height}x{width} exceeds {MAX_ASPECT_RATIO}")


def _share(total_pixels: int, num_frames: int) -> float:
    """Pixels of one frame if a clip takes all of its budget."""
    return total_pixels * TEMPORAL_MERGE / max(num_frames, TEMPORAL_MERGE)


def _rounded(height: int, width: int, align: int) -> Size:
    return max(align, round(height / align) * align), max(align, round(width / align) * align)


def _enlarged(height: int, width: int, align: int, scale: float) -> Size:
    return math.ceil(height * scale / align) * align, math.ceil(width * scale / align) * align


def _reduced(height: int, width: int, align: int, divisor: float) -> Size:
    """May be larger than meant, where a side cannot become shorter."""
    return (
        max(align, math.floor(height / divisor / align) * align),
        max(align, math.floor(width / divisor / align) * align),
    )


def _narrowed(height: int, width: int, align: int, area: float) -> Size:
    """Of at most `area` pixels: where a side cannot become shorter, the other does. At least one block."""
    found = _reduced(height, width, align, math.sqrt(height * width / area))
    if math.prod(found) <= area:
        return found
    longest = max(align, math.floor(area / align / align) * align)
    return (min(found[0], longest), align) if found[0] > found[1] else (align, min(found[1], longest))


def _held(size: Size, source: Size, spec: VideoSpec, share: float) -> Size:
    """`size`, or one of at most `share` pixels. Raises MediaError where one block per frame is too much."""
    if math.prod(size) > share:
        size = _narrowed(*source, spec.align, share)
    if math.prod(size) > share:
        raise MediaError(
            f"even frames of {spec.align}x{spec.align} pixels do not fit into the clip's budget, which leaves "
            f"{share:.0f} pixels for each; raise total_pixels or lower max_frames"
        )
    return size
