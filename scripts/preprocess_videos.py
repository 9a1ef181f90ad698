#!/usr/bin/env python
# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Decode the videos of a data file once, into a cache that every stage of training reads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from verl.errors import VerlError
from verl.media.build import TIMEOUT_SECONDS
from verl.media.preprocess import PreprocessPlan, PreprocessReport, preprocess
from verl.types import VideoSpec


def main(argv: Sequence[str] | None = None) -> int:
    """0 when every video is in the cache, or --skip_errors was given; else 1."""
    arguments = parser().parse_args(argv)
    try:
        report = preprocess(plan(arguments))
    except VerlError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    summarise(report, arguments.output_file)
    return 1 if report.failed_rows and not arguments.skip_errors else 0


def parser() -> argparse.ArgumentParser:
    """All flags; a size is in pixels."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    flags.add_argument("--input_file", type=Path, required=True, help="JSON array or JSON lines")
    flags.add_argument("--output_dir", type=Path, required=True, help="the cache")
    flags.add_argument("--output_file", type=Path, required=True, help="JSON lines with the place of each clip")
    flags.add_argument("--video_fps", type=float, default=2.0, help="frames per second to keep")
    flags.add_argument("--video_min_frames", type=int, default=4)
    flags.add_argument("--video_max_frames", type=int, default=128)
    flags.add_argument("--video_min_pixels", type=int, default=4 * 32 * 32, help="per frame")
    flags.add_argument("--video_max_pixels", type=int, default=64 * 32 * 32, help="per frame")
    flags.add_argument("--video_total_pixels", type=int, default=None, help="per clip, each pair of frames once")
    flags.add_argument("--image_dir", type=Path, default=None, help="root of relative video paths")
    flags.add_argument("--workers", type=int, default=8, help="processes, best one per core")
    flags.add_argument("--skip_errors", action="store_true", help="end with 0 although videos failed")
    flags.add_argument("--retry_failed", action="store_true", help="try again what failed before")
    flags.add_argument("--timeout", type=float, default=TIMEOUT_SECONDS, help="seconds for one video")
    flags.add_argument(
        "--align", type=int, default=32, help="sizes are multiples of it: 32 for patch 16, 28 for patch 14"
    )
    flags.add_argument("--decoder", default="pyav", help="pyav or decord")
    return flags


def plan(arguments: argparse.Namespace) -> PreprocessPlan:
    """The flags as values."""
    spec = VideoSpec(
        fps=arguments.video_fps,
        min_frames=arguments.video_min_frames,
        max_frames=arguments.video_max_frames,
        min_pixels=arguments.video_min_pixels,
        max_pixels=arguments.video_max_pixels,
        total_pixels=arguments.video_total_pixels,
        align=arguments.align,
        decoder=arguments.decoder,
    )
    return PreprocessPlan(
        input_file=arguments.input_file,
        output_dir=arguments.output_dir,
        output_file=arguments.output_file,
        spec=spec,
        image_dir=arguments.image_dir,
        workers=arguments.workers,
        timeout_seconds=arguments.timeout,
        retry_failed=arguments.retry_failed,
    )


def summarise(report: PreprocessReport, output_file: Path) -> None:
    """Say what happened."""
    done = report.build
    print(
        f"{done.built} videos decoded ({done.bytes / 2**20:.1f} MiB), {done.reused} found in the cache, "
        f"{len(done.failed)} failed, in {done.seconds:.1f} s"
    )
    print(f"{report.rows} rows written to {output_file}")
    if report.failed_file:
        print(f"{report.failed_rows} rows left out, with the reasons: {report.failed_file}")


if __name__ == "__main__":
    sys.exit(main())
