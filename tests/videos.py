# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Builders of videos whose every frame carries its number, so that a test can tell which frame it got."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

BITS = 12  # frame numbers 0..4095
ROWS, COLUMNS = 3, 4
DARK, BRIGHT = 16, 235
TICKS = 90_000  # per second, when `times` are given


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecipe:
    """How to encode a numbered video. The container follows from the file name."""

    num_frames: int = 60
    fps: int = 30
    width: int = 96  # at least 48
    height: int = 72  # at least 36
    gop: int = 12
    b_frames: int = 2
    codec: str = "libx264"
    rotation: int = 0  # degrees clockwise a player must turn the stored frames; width and height are upright
    times: Sequence[float] | None = None  # presentation times in seconds, for a variable frame rate
    offset: int = 0  # number on the first frame
    pixel_format: str | None = None  # None: 4:2:0, or 4:4:4 where a side is odd
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)  # the muxer's options


def numbered_frame(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """RGB [height, width, 3]: a 3x4 board of dark and bright blocks that spell `number` in binary."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    board = np.array(bits, np.uint8).reshape(ROWS, COLUMNS) * (BRIGHT - DARK) + DARK
    rows = np.arange(height) * ROWS // height
    columns = np.arange(width) * COLUMNS // width
    return np.repeat(board[rows][:, columns, None], 3, axis=2)


def read_number(frame: NDArray[np.uint8]) -> int:
    """The number on an upright frame [3, H, W], at whatever size it was resized to."""
    grey = frame.mean(axis=0)
    rows = ((np.arange(ROWS) + 0.5) * grey.shape[0] / ROWS).astype(int)
    columns = ((np.arange(COLUMNS) + 0.5) * grey.shape[1] / COLUMNS).astype(int)
    bits = (grey[rows][:, columns] > (DARK + BRIGHT) / 2).reshape(-1)
    return sum(int(bit) << position for position, bit in enumerate(bits))


def numbered_video(path: Path, recipe: VideoRecipe | None = None) -> Path:
    """Write a video of numbered frames to `path`, which is returned. Same recipe, same bytes."""
    recipe = recipe or VideoRecipe()
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=recipe.container) as container:
        stream = container.add_stream(recipe.codec, rate=recipe.fps)
        size = (recipe.width, recipe.height)
        stream.width, stream.height = size if recipe.rotation % 180 == 0 else size[::-1]
        odd = recipe.width % 2 or recipe.height % 2
        stream.pix_fmt = recipe.pixel_format or ("yuv444p" if odd else "yuv420p")
        stream.options = {"g": str(recipe.gop), "bf": str(recipe.b_frames), "threads": "1"} | recipe.options
        ticks = recipe.fps if recipe.times is None else TICKS
        stream.time_base = stream.codec_context.time_base = Fraction(1, ticks)
        if recipe.rotation:
            stream.set_display_rotation(-recipe.rotation)
        for index in range(recipe.num_frames):
            image = numbered_frame(recipe.offset + index, recipe.height, recipe.width)
            image = np.ascontiguousarray(np.rot90(image, recipe.rotation // 90))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            seconds = index / recipe.fps if recipe.times is None else recipe.times[index]
            frame.pts, frame.time_base = round(seconds * ticks), Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_numbered_frames(folder: Path, numbers: Iterable[int], name: str = "{:05d}.jpg") -> Path:
    """Write a folder of numbered images, 96 x 72, which is returned."""
    folder.mkdir(parents=True)
    for number in numbers:
        Image.fromarray(numbered_frame(number, 72, 96)).save(folder / name.format(number))
    return folder
