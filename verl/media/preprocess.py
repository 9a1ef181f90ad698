# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Fill the cache for a data file, and write the data file again with the place of each clip."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl.errors import DataError
from verl.media.build import TIMEOUT_SECONDS, BuildReport, build
from verl.media.cache import ClipCache
from verl.media.entry import publish
from verl.media.spec import source_id
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
    workers: int = 8
    timeout_seconds: float = TIMEOUT_SECONDS
    retry_failed: bool = False
    progress: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessReport:
    """Rows written and rows refused, and what the build did."""

    rows: int
    failed_rows: int
    failed_file: Path | None  # None when no row failed
    build: BuildReport


def preprocess(plan: PreprocessPlan) -> PreprocessReport:
    """Cache every video of `plan.input_file`, then write `plan.output_file` with the rows in their order.

    A row with videos gets `preprocessed_video`: the entry's path relative to the cache, a list of them for several
    videos. Rows without videos pass through unchanged. Rows with a video that failed go, with the reason in
    `preprocess_error`, to `<output_file>.failed.jsonl`. Raises DataError for a file that is not JSON rows.
    """
    rows = read_rows(plan.input_file)
    paths = [path for row in rows for path in _videos(row, plan)]
    report = build(
        [(path, plan.spec) for path in paths],
        plan.output_dir,
        num_workers=plan.workers,
        progress=plan.progress,
        timeout_seconds=plan.timeout_seconds,
        retry_failed=plan.retry_failed,
    )
    reasons = dict(report.failed)
    written, failed = [], []
    for row in rows:
        broken = [reasons[path] for path in _videos(row, plan) if path in reasons]
        if broken:
            failed.append(row | {"preprocess_error": "; ".join(broken)})
        else:
            written.append(_with_entries(row, plan))
    failed_file = plan.output_file.with_name(plan.output_file.name + ".failed.jsonl")
    _write_rows(plan.output_file, written)
    failed_file.unlink(missing_ok=True)
    if failed:
        _write_rows(failed_file, failed)
    return PreprocessReport(
        rows=len(written), failed_rows=len(failed), failed_file=failed_file if failed else None, build=report
    )


def read_rows(path: Path) -> list[Row]:
    """Rows of a JSON array or of JSON lines, told apart by the first character. Raises DataError."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot read this data file ({error.strerror})") from error
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


def _videos(row: Mapping[str, Any], plan: PreprocessPlan) -> list[str]:
    videos = row.get("videos") or []
    listed = [videos] if isinstance(videos, str) else videos
    return [str(plan.image_dir / video) if plan.image_dir else str(video) for video in listed]


def _with_entries(row: Row, plan: PreprocessPlan) -> Row:
    cache = ClipCache(plan.output_dir)
    entries = [
        str(cache.entry_path(plan.spec.cache_key(source_id(path))).relative_to(plan.output_dir))
        for path in _videos(row, plan)
    ]
    if not entries:
        return row
    return row | {"preprocessed_video": entries[0] if len(entries) == 1 else entries}


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    publish(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
