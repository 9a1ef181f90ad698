#!/usr/bin/env python
# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Decode the videos of a data file once, into a cache that every stage of training reads."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from verl.errors import VerlError
from verl.media.build import KEEP_FREE_BYTES, MEMORY_LIMIT_BYTES, TIMEOUT_SECONDS, BuildOptions, Hire
from verl.media.crew import Crew
from verl.media.preprocess import PreprocessPlan, PreprocessReport, preprocess
from verl.types import VideoSpec

DONE, FAILURES, ERROR, DISK_FULL, INTERRUPTED = 0, 1, 1, 3, 130  # 2: bad flags
REASONS = 20  # to print
GIB = 1 << 30


def main(argv: Sequence[str] | None = None) -> int:
    """0: all videos are in the cache, or --skip_errors was given; 1: some failed; 3: disk full; 130: interrupted."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))  # what ends it politely lets it tidy up
    try:
        report = preprocess(plan(arguments), hire(arguments))
    except VerlError as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted: what is built is kept, the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    summarise(report, arguments.output_file)
    if report.build.shortage:
        return DISK_FULL
    return FAILURES if report.failed_rows and not arguments.skip_errors else DONE


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
    flags.add_argument("--workers", type=int, default=8, help="processes on each machine, best one per core")
    flags.add_argument("--ray", action="store_true", help="use all machines of the Ray cluster at RAY_ADDRESS")
    flags.add_argument("--skip_errors", action="store_true", help="end with 0 although videos failed")
    flags.add_argument("--retry_failed", action="store_true", help="try again what failed before")
    flags.add_argument("--timeout", type=float, default=TIMEOUT_SECONDS, help="seconds for one video")
    flags.add_argument(
        "--align", type=int, default=32, help="sizes are multiples of it: 32 for patch 16, 28 for patch 14"
    )
    flags.add_argument("--sampler", default="qwen_utils", help="qwen_utils, hf_qwen3, hf_qwen2 or file.py:rule")
    flags.add_argument("--decoder", default="pyav", help="pyav, pyav_tolerant, decord or torchcodec")
    flags.add_argument("--folder_fps", type=float, help="frame rate of videos that are folders of numbered images")
    flags.add_argument("--codec", default="raw", help="how entries are stored without loss: raw, or zrow to save disk")
    flags.add_argument("--lossy", default=None, help="jpeg95-444 or jpeg95-420: smaller entries with other pixels")
    flags.add_argument("--keep_free_gb", type=float, default=KEEP_FREE_BYTES / GIB, help="of the disk")
    flags.add_argument("--memory_limit_gb", type=float, default=MEMORY_LIMIT_BYTES / GIB, help="of one process")
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
        sampler=arguments.sampler,
        decoder=arguments.decoder,
        lossy=arguments.lossy,
        folder_fps=arguments.folder_fps,
    )
    options = BuildOptions(
        num_workers=arguments.workers,
        timeout_seconds=arguments.timeout,
        retry_failed=arguments.retry_failed,
        codec=arguments.codec,
        keep_free_bytes=int(arguments.keep_free_gb * GIB),
        memory_limit_bytes=int(arguments.memory_limit_gb * GIB),
    )
    return PreprocessPlan(
        input_file=arguments.input_file,
        output_dir=arguments.output_dir,
        output_file=arguments.output_file,
        spec=spec,
        image_dir=arguments.image_dir,
        options=options,
    )


def hire(arguments: argparse.Namespace) -> Hire:
    """Who does the work."""
    if not arguments.ray:
        return Crew
    from verl.workers.decoding import RayCrew, connect

    connect()
    return RayCrew


def summarise(report: PreprocessReport, output_file: Path) -> None:
    """Say what happened."""
    done = report.build
    print(
        f"{done.built} videos decoded ({done.bytes / 2**20:.1f} MiB), {done.reused} found in the cache, "
        f"{len(done.failed)} failed, in {done.seconds:.1f} s"
    )
    reasons = done.reasons()
    for count, reason, first in reasons[:REASONS]:
        print(f"  {count} x {reason} (first: {first})")
    if len(reasons) > REASONS:
        print(f"  and {len(reasons) - REASONS} more reasons")
    if done.shortage:
        print(f"stopped before the disk was full, {output_file} is not written: {done.shortage}", file=sys.stderr)
        return
    print(f"{report.rows} rows written to {output_file}")
    if report.failed_file:
        print(f"{report.failed_rows} rows left out, with the reasons: {report.failed_file}")


if __name__ == "__main__":
    sys.exit(main())
