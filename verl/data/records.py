# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows to records: columns get their meaning, and every problem of every row is reported at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl.config.data import DataConfig
from verl.data.files import Row, list_files, read_rows
from verl.errors import DataError
from verl.registry import nearest
from verl.types import Record

MAX_REPORTED = 20  # problems that one error lists


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFormat:
    """Which column means what, and where relative paths start."""

    problem: str = "problem"
    answer: str = "answer"
    images: str = "images"
    videos: str = "videos"
    options: str = "options"
    problem_type: str = "problem_type"
    image_root: str | None = None
    video_root: str | None = None

    @classmethod
    def of(cls, config: DataConfig) -> RowFormat:
        """The format that the data section describes."""
        return cls(
            problem=config.prompt_key,
            answer=config.answer_key,
            images=config.image_key,
            videos=config.video_key,
            options=config.options_key,
            problem_type=config.problem_type_key,
            image_root=config.image_dir,
            video_root=config.video_dir or config.image_dir,
        )


class RowError(DataError):
    """A row that makes no record."""


Check = Callable[[Record], Iterable[str]]


def read_records(locations: Sequence[str], format: RowFormat, check: Check | None = None) -> list[Record]:
    """The records of all files, in order. `check` names further problems of a record.

    Raises one DataError that lists the first problems, each with its file and line, and their number.
    """
    records: list[Record] = []
    problems: list[str] = []
    for location in locations:
        for file in list_files(location):
            for row in read_rows(file):
                try:
                    record = to_record(row, format)
                except RowError as error:
                    problems.append(str(error))
                    continue
                problems += [f"{row.where}: {problem}" for problem in (check(record) if check else ())]
                records.append(record)
    if problems:
        raise DataError(_report(problems))
    if not records:
        raise DataError(f"{', '.join(locations) or 'no file'}: there are no rows in it")
    return records


def to_record(row: Row, format: RowFormat) -> Record:
    """The row, understood. Raises RowError when a column is missing or holds something else than it should."""
    fields = row.fields
    try:
        videos = _paths(fields.get(format.videos), format.video_root, format.videos)
        images = _paths(fields.get(format.images), format.image_root, format.images)
        return Record(
            id=str(_first(fields.get("problem_id"), row.where)),
            where=row.where,
            problem=_text(_required(fields, format.problem), format.problem),
            answer=_required(fields, format.answer),
            problem_type=_text(_first(fields.get(format.problem_type), ""), format.problem_type),
            data_type="video" if videos else "image" if images else "text",
            options=_strings(fields.get(format.options), format.options),
            videos=videos,
            images=images,
            offline_responses=_offline(fields),
            fields=fields,
        )
    except RowError as error:
        raise RowError(f"{row.where}: {error}") from None


def _report(problems: Sequence[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:MAX_REPORTED])
    more = len(problems) - MAX_REPORTED
    tail = f"\n  and {more} more" if more > 0 else ""
    return f"{len(problems)} problem{'s' * (len(problems) > 1)} in the data:\n{shown}{tail}"


def _first(value: Any, otherwise: Any) -> Any:
    return otherwise if value is None else value


def _required(fields: Any, column: str) -> Any:
    if column not in fields:
        known = nearest(column, fields)
        raise RowError(f"there is no column {column!r}{known} (columns: {', '.join(map(str, fields))})")
    value = fields[column]
    if value is None or (isinstance(value, str | list | dict) and not value):
        raise RowError(f"column {column!r} is empty")
    return value


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise RowError(f"column {column!r} should hold text, it holds {value!r:.80}")
    return value


def _strings(value: Any, column: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise RowError(f"column {column!r} should hold a list of text, it holds {value!r:.80}")
    return tuple(value)


def _paths(value: Any, root: str | None, column: str) -> tuple[str, ...]:
    """Absolute paths; one path may stand without a list around it."""
    names = _strings([value] if isinstance(value, str) and value else value or None, column)
    for name in names:
        if "://" in name:
            raise RowError(f"column {column!r}: {name} is an address; download it and name the file")
    start = Path(root).expanduser() if root is not None else Path()
    return tuple(str((start / Path(name).expanduser()).absolute()) for name in names)


def _offline(fields: Any) -> tuple[str, ...]:
    """Responses that somebody else wrote, in column offline_output, unless has_offline_trajectory denies them."""
    written = fields.get("offline_output") or ()
    responses = (written,) if isinstance(written, str) else _strings(written or None, "offline_output")
    promised = fields.get("has_offline_trajectory")
    if promised and not responses:
        raise RowError("has_offline_trajectory is true, but column 'offline_output' is empty")
    return responses if promised is not False else ()
