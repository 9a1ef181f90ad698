# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""A picture of what the model sees: frames in order, each with its time, under the grid of its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from verl.media.entry import publish
from verl.types import VideoClip

BACKGROUND, INK, LINE = (24, 24, 24), (235, 235, 235), (255, 220, 0)
GAP, CAPTION, TITLE = 6, 16, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """How a contact sheet is laid out."""

    max_frames: int = 32  # of a longer clip, evenly spread ones are shown
    columns: int = 8
    width: int = 240  # pixels of each frame
    align: int = 32  # pixels of the clip that one token is wide and high
    grid: bool = True


def contact_sheet(clip: VideoClip, sheet: Sheet, title: str = "") -> Image.Image:
    """RGB picture of `clip`: `title` and the clip's numbers, then its frames with index and time."""
    metadata = clip.metadata
    count = min(metadata.num_frames, max(sheet.max_frames, 1))
    shown = np.linspace(0, metadata.num_frames - 1, count).round().astype(int).tolist()
    columns = min(max(sheet.columns, 1), count)
    height = max(round(sheet.width * metadata.height / metadata.width), 1)
    cell = (sheet.width + GAP, height + CAPTION + GAP)
    page = Image.new("RGB", (columns * cell[0] + GAP, -(-count // columns) * cell[1] + TITLE + GAP), BACKGROUND)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default()
    pen.multiline_text((GAP, GAP), f"{title}\n{summary(clip, sheet, count)}", INK, font)
    for place, index in enumerate(shown):
        corner = (GAP + place % columns * cell[0], TITLE + GAP + place // columns * cell[1])
        page.paste(_thumbnail(clip, index, sheet, height), corner)
        caption = f"{metadata.timestamps[index]:.2f} s  #{metadata.frame_indices[index]}"
        pen.text((corner[0], corner[1] + height + 2), caption, INK, font)
    return page


def summary(clip: VideoClip, sheet: Sheet, shown: int) -> str:
    """One line of numbers."""
    metadata = clip.metadata
    rows, columns, pairs = metadata.height // sheet.align, metadata.width // sheet.align, -(-metadata.num_frames // 2)
    source = f"{metadata.source_height}x{metadata.source_width}" if metadata.source_height else "unknown size"
    return (
        f"{shown} of {metadata.num_frames} frames, {metadata.height}x{metadata.width} pixels "
        f"(of {source}), {metadata.sampled_fps:.2f} per second of "
        f"{metadata.duration:.1f} s; {pairs} x {rows} x {columns} = {pairs * rows * columns} tokens"
    )


def write_sheet(path: Path, picture: Image.Image) -> None:
    """Write `picture` as a PNG; the name appears when it is complete."""
    data = BytesIO()
    picture.save(data, "PNG")
    publish(path, data.getvalue())


def _thumbnail(clip: VideoClip, index: int, sheet: Sheet, height: int) -> Image.Image:
    frame = np.ascontiguousarray(clip.frames[index].transpose(1, 2, 0))
    small = Image.fromarray(frame).resize((sheet.width, height), Image.Resampling.BILINEAR)
    if sheet.grid:
        pen = ImageDraw.Draw(small)
        for x in range(sheet.align, clip.metadata.width, sheet.align):
            place = round(x * sheet.width / clip.metadata.width)
            pen.line((place, 0, place, height), LINE)
        for y in range(sheet.align, clip.metadata.height, sheet.align):
            place = round(y * height / clip.metadata.height)
            pen.line((0, place, sheet.width, place), LINE)
    return small
