# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Fill the cache for a data file, and write the data file again with the place of each clip."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl.errors import DataError
from verl.media.build import BuildOptions, BuildReport, Hire, build
from verl.media.cache import ClipCache
from verl.media.crew import Crew
from verl.media.entry import publish
from verl.media.writers import sweep
from verl.types import VideoSpec

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessPlan:
    """What to read, how to decode it, where to put it."""

    input_file: Path
    output_dir: Path
    output_file: Path
    spec: VideoSpec
    image_dir: Path | None = None  # root of relative video paths
    options: BuildOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessReport:
    """Rows written and rows refused, and what the build did. No rows at all if the build ended early."""

    rows: int
    failed_rows: int
    failed_file: Path | None  # None when no row failed
    build: BuildReport


def preprocess(plan: PreprocessPlan, hire: Hire = Crew) -> PreprocessReport:
    """Cache every video of `plan.input_file`, then write `plan.output_file` with the rows in their order.

    A row with videos gets `preprocessed_video`: the entry's path relative to the cache, a list of them for several
    videos. Rows without videos pass through unchanged. Rows with a video that failed go, with the reason in
    `preprocess_error`, to `<output_file>.failed.jsonl`. When the disk is too full for all clips, neither file is
    touched. Raises DataError for a file that is not JSON rows.
    """
    if plan.output_file.resolve() == plan.input_file.resolve():
        raise DataError(f"{plan.input_file} would be overwritten with its own rows; name another output file")
    rows = read_rows(plan.input_file)
    videos = [_videos(row, number, plan) for number, row in enumerate(rows, 1)]
    jobs = [(path, plan.spec) for paths in videos for path in paths]
    report = build(jobs, plan.output_dir, plan.options, hire)
    if report.shortage is not None:
        return PreprocessReport(rows=0, failed_rows=0, failed_file=None, build=report)
    reasons = {failure.path: f"{failure.path}: {failure.reason}" for failure in report.failed}
    written, failed = [], []
    for row, paths in zip(rows, videos, strict=True):
        broken = [reasons[path] for path in dict.fromkeys(paths) if path in reasons]
        if broken:
            failed.append(row | {"preprocess_error": "; ".join(broken)})
        else:
            written.append(_with_entries(row, [report.keys[path] for path in paths], plan.output_dir))
    failed_file = _write(plan.output_file, written, failed)
    return PreprocessReport(rows=len(written), failed_rows=len(failed), failed_file=failed_file, build=report)


def read_rows(path: Path) -> list[Row]:
    """Rows of a JSON array or of JSON lines, told apart by the first character. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot read this data file ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a JSON file in UTF-8 ({error})") from error
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
        else:
            rows = [_parse_line(path, number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number} is {type(row).__name__}, not an object")
    return rows


def _parse_line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not JSON ({error.msg})") from error


def _videos(row: Row, number: int, plan: PreprocessPlan) -> list[str]:
    videos = row.get("videos") or []
    listed = [videos] if isinstance(videos, str) else videos
    if not isinstance(listed, list) or not all(isinstance(video, str) for video in listed):
        raise DataError(f"{plan.input_file}: row {number}: videos must be a path or a list of paths, not {videos!r}")
    return [str(plan.image_dir / video) if plan.image_dir else video for video in listed]


def _with_entries(row: Row, keys: list[str], cache_dir: Path) -> Row:
    if not keys:
        return row
    cache = ClipCache(cache_dir)
    paths = [cache.entry_path(key) for key in keys]
    if gone := [path for path in paths if not path.is_file()]:
        raise DataError(f"{gone[0]} has been removed while the cache was being built; build again")
    entries = [str(path.relative_to(cache_dir)) for path in paths]
    return row | {"preprocessed_video": entries[0] if len(entries) == 1 else entries}


def _write(output_file: Path, rows: list[Row], failed: list[Row]) -> Path | None:
    """Write both files, whole or not at all, and return the second if there is one."""
    failed_file = output_file.with_name(output_file.name + ".failed.jsonl")
    sweep([output_file.parent])
    try:
        publish(output_file, _lines(rows))
        failed_file.unlink(missing_ok=True)
        if failed:
            publish(failed_file, _lines(failed))
    except OSError as error:
        raise DataError(f"{output_file}: cannot be written ({error.strerror}); the clips are in the cache") from error
    return failed_file if failed else None


def _lines(rows: Iterable[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
