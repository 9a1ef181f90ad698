# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Builders of the small world that tests run in: a tiny model, short videos, rows that ask about them."""

from __future__ import annotations

import atexit
import functools
import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from examples.quickstart import make_videos
from examples.quickstart.questions import COLOURS, Scene, Shape
from tests.families import BUILDERS

Family = str  # a key of BUILDERS


def tiny_model(directory: Path, family: Family = "qwen3_vl", *, seed: int = 0, tied: bool = False) -> Path:
    """A random model at `directory`, the caller's own copy. Each variant is built once per test process."""
    return Path(shutil.copytree(_built_model(family, seed, tied), directory, dirs_exist_ok=True))


def tiny_video(
    path: Path,
    *,
    num_frames: int = 16,
    fps: int = 4,
    size: int = 64,
    colour: str = "red",
    seed: int = 0,
) -> Path:
    """An H.264 file at `path` that shows one moving shape; another seed gives other pixels."""
    rng = random.Random(seed)
    shape = Shape(
        form="square",
        colour=COLOURS[colour],
        size=0.4,
        start=(rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8)),
        velocity=(rng.uniform(-0.3, 0.3), rng.uniform(-0.3, 0.3)),
    )
    video = make_videos.VideoFormat(seconds=num_frames / fps, fps=fps, size=size)
    return make_videos.write_video(path, make_videos.paint(Scene(shapes=(shape,), ground=35), video), fps)


def tiny_image(path: Path, size: tuple[int, int] = (96, 64), *, colour: str = "red", seed: int = 0) -> Path:
    """An image file of (width, height) at `path`: a ground of one colour, and noise that depends on the seed."""
    noise = np.random.default_rng(seed).integers(0, 64, (size[1], size[0], 3), np.uint8)
    Image.fromarray(np.asarray(Image.new("RGB", size, colour)) // 2 + noise).save(path)
    return path


def tiny_rows(
    directory: Path, count: int = 4, *, kinds: str = "colour", split: str = "train", seed: int = 0
) -> list[dict[str, Any]]:
    """Rows in the data format, their videos below `directory`/videos, and `directory`/`split`.jsonl with the rows.

    `kinds` is a mix such as "colour:3,boolean:1"; `videos` are relative to `directory`.
    """
    recipe = make_videos.Recipe(kinds=make_videos.parse_kinds(kinds), seed=seed)
    rows = list(make_videos.write_split(directory, split, count, recipe))
    (directory / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


@functools.cache
def _built_model(family: Family, seed: int, tied: bool) -> Path:
    return BUILDERS[family](_scratch() / f"{family}-{seed}-{tied}", seed, tied=tied)


@functools.cache
def _scratch() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="tiny-world-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
