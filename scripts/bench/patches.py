# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What it costs to make a vision tower's patches of cached frames: transformers' video processor, and ours.

    python -m scripts.bench.patches [--repeats N]

uint8 frames to normalised bfloat16 patches, on one CPU thread, best of N. The two must be equal bit by bit; the exit
status says whether they are and whether ours is WANTED_SPEEDUP times as fast.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

import torch
from torch import Tensor
from transformers import AutoVideoProcessor
from transformers.utils import logging as transformers_logging
from transformers.video_utils import VideoMetadata as TheirMetadata

from examples.quickstart.make_model import build_tiny_qwen3_vl
from scripts.bench.random_clip import random_clip
from verl.models.adapter import ModelAdapter, load_adapter
from verl.types import VideoClip

SHAPES = ((128, 512, 512), (128, 256, 480))  # frames, height, width
WANTED_SPEEDUP = 8.0


def main() -> int:
    """Print the tables; 1 when a bit differs or ours is not fast enough."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        build_tiny_qwen3_vl(Path(scratch))
        adapter = load_adapter(scratch)
        processor = AutoVideoProcessor.from_pretrained(scratch, local_files_only=True)
    results = [compare(adapter, processor, shape, repeats) for shape in SHAPES]
    print(f"bits: {'equal' if all(equal for equal, _ in results) else 'DIFFERENT'}")
    slowest = min(speedup for _, speedup in results)
    print(f"ours: {'at least' if slowest >= WANTED_SPEEDUP else 'LESS THAN'} {WANTED_SPEEDUP:.0f}x as fast")
    return 0 if all(equal for equal, _ in results) and slowest >= WANTED_SPEEDUP else 1


def compare(adapter: ModelAdapter, processor: Any, shape: tuple[int, int, int], repeats: int) -> tuple[bool, float]:
    """Print one table; whether all bits are equal, and how many times faster ours is."""
    made = random_clip(*shape)
    patches = adapter.patches(made)
    variants: dict[str, Callable[[], Any]] = {
        "uint8 patches": lambda: adapter.patches(made),
        "ours, float32": lambda: adapter.patches(made).normalised(torch.float32),
        "ours, bfloat16": lambda: adapter.patches(made).normalised(torch.bfloat16),
        "transformers, float32": lambda: theirs(processor, made),
        "transformers, bfloat16": lambda: theirs(processor, made).bfloat16(),
    }
    costs = {name: _best(run, repeats) for name, run in variants.items()}
    frames, height, width = shape
    print(f"{frames} frames of {height}x{width}: {len(patches.values)} patches, {made.frames.nbytes / 1e6:.0f} MB")
    slow = costs["transformers, bfloat16"]
    for name, seconds in costs.items():
        print(f"  {name:24} {1e3 * seconds:7.1f} ms {slow / seconds:6.1f}x")
    full = theirs(processor, made)
    equal = torch.equal(patches.normalised(torch.float32), full)
    equal &= torch.equal(patches.normalised(torch.bfloat16), full.bfloat16())
    return equal, slow / costs["ours, bfloat16"]


def theirs(processor: Any, made: VideoClip) -> Tensor:
    """float32 patches by transformers, from uint8 frames that it neither resizes nor samples."""
    metadata = TheirMetadata(
        total_num_frames=made.metadata.total_frames,
        fps=made.metadata.source_fps,
        frames_indices=list(made.metadata.frame_indices),
    )
    return processor(
        videos=[torch.from_numpy(made.frames)],
        video_metadata=[metadata],
        do_resize=False,
        do_sample_frames=False,
        return_tensors="pt",
    )["pixel_values_videos"]


def _best(run: Callable[[], Any], repeats: int) -> float:
    """Shortest of several runs, seconds of CPU time: other processes do not count."""
    times = []
    for _ in range(repeats + 1):  # what happens once per process stays out of the measurement
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times[1:])


if __name__ == "__main__":
    sys.exit(main())
