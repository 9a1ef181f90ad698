# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""Rows to records: columns get their meaning, and every problem of every row is reported at once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verl.config.data import DataConfig
from verl.data.files import Row, list_files, read_rows
from verl.errors import DataError
from verl.registry import nearest
from verl.types import IMAGE_MARK, VIDEO_MARK, Record

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a row turned out to be. A record may have problems too."""

    where: str
    record: Record | None = None
    problems: tuple[str, ...] = ()


def scan(location: str, format: RowFormat, check: Check | None = None) -> Iterator[Found]:
    """Every row of a location in order, bad ones too. `check` names further problems of a record.

    Raises DataError when there are no such files.
    """
    for file in list_files(location):
        for row in read_rows(file):
            if isinstance(row, DataError):
                yield Found(where=file.name, problems=(str(row),))
                continue
            try:
                record = to_record(row, format)
            except RowError as error:
                yield Found(where=row.where, problems=(str(error),))
                continue
            problems = tuple(f"{row.where}: {problem}" for problem in (check(record) if check else ()))
            yield Found(where=row.where, record=record, problems=problems)


def read_sources(locations: Sequence[str], format: RowFormat, check: Check | None = None) -> list[list[Record]]:
    """The records of each location, in order.

    Raises one DataError that lists the first problems, each with its file and line, and their number.
    """
    found = [list(scan(location, format, check)) for location in locations]
    problems = [problem for rows in found for row in rows for problem in row.problems]
    if problems:
        raise DataError(report(problems, f"problem{'s' * (len(problems) > 1)} in the data"))
    sources = [[row.record for row in rows if row.record is not None] for rows in found]
    empty = [location for location, records in zip(locations, sources, strict=True) if not records]
    if empty or not sources:
        raise DataError(f"{', '.join(empty) or 'no file'}: there are no rows in it")
    _tell_unplaced([record for records in sources for record in records], format)
    return sources


def read_records(locations: Sequence[str], format: RowFormat, check: Check | None = None) -> list[Record]:
    """The records of all locations, in order; see `read_sources`."""
    return [record for records in read_sources(locations, format, check) for record in records]


def to_record(row: Row, format: RowFormat) -> Record:
    """The row, understood. Raises RowError when a column is missing or holds something else than it should."""
    fields = row.fields
    try:
        videos = _paths(fields.get(format.videos), format.video_root, format.videos)
        images = _paths(fields.get(format.images), format.image_root, format.images)
        options = _strings(fields.get(format.options), format.options)
        problem = _text(_required(fields, format.problem), format.problem)
        written = _offline(fields)
        columns = {format.videos: VIDEO_MARK * len(videos), format.images: IMAGE_MARK * len(images)}
        return Record(
            id=str(_first(fields.get("problem_id"), row.where)),
            where=row.where,
            problem=_front([columns[name] for name in fields if name in columns], problem, options) + problem,
            answer=_required(fields, format.answer),
            problem_type=_text(_first(fields.get(format.problem_type), ""), format.problem_type),
            data_type="video" if videos else "image" if images else "text",
            options=options,
            videos=videos,
            images=images,
            offline_responses=written,
            offline_logprobs=_offline_logprobs(fields, len(written)),
            fields=fields,
        )
    except RowError as error:
        raise RowError(f"{row.where}: {error}") from None


def report(problems: Sequence[str], what: str) -> str:
    """How many problems of what, and the first of them."""
    shown = "\n".join(f"  {problem}" for problem in problems[:MAX_REPORTED])
    more = len(problems) - MAX_REPORTED
    tail = f"\n  and {more} more" if more > 0 else ""
    return f"{len(problems)} {what}:\n{shown}{tail}"


def is_unplaced(record: Record, format: RowFormat) -> bool:
    """Whether the row did not say where its media go."""
    return record.problem != record.fields[format.problem]


def _tell_unplaced(records: Sequence[Record], format: RowFormat) -> None:
    unplaced = [record.where for record in records if is_unplaced(record, format)]
    if unplaced:
        logger.warning(
            "%d of %d rows do not say where their media go: these are put at the front, beginning with %s",
            len(unplaced),
            len(records),
            unplaced[0],
        )


def _front(marks: Iterable[str], problem: str, options: Iterable[str]) -> str:
    """Marks to put in front of a question: of those given, which stand in the row's order, one string for a kind of
    media, all that neither the question nor an option places itself.
    """
    written = "\n".join([problem, *options])
    return "".join(run for run in marks if run and run[: run.index(">") + 1] not in written)


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
    if any(isinstance(item, bytes | dict) for item in (value if isinstance(value, list) else [value])):
        raise RowError(f"column {column!r} holds the media themselves; write them to files and name the files")
    names = _strings([value] if isinstance(value, str) and value else value or None, column)
    for name in names:
        if "://" in name:
            raise RowError(f"column {column!r}: {name} is an address; download it and name the file")
    start = Path(root).expanduser() if root is not None else Path()
    return tuple(str((start / Path(name).expanduser()).absolute()) for name in names)


def _offline(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Responses that somebody else wrote, in column offline_output, unless has_offline_trajectory denies them."""
    written, promised = fields.get("offline_output") or (), fields.get("has_offline_trajectory")
    if promised not in (None, True, False):
        raise RowError(f"column 'has_offline_trajectory' should hold true or false, it holds {promised!r:.80}")
    responses = (written,) if isinstance(written, str) else _strings(written or None, "offline_output")
    if promised is not None and not promised:
        return ()
    if promised and not responses:
        raise RowError("has_offline_trajectory is true, but column 'offline_output' is empty")
    if not all(response.strip() for response in responses):
        raise RowError("column 'offline_output' holds an empty response; leave it out")
    return responses


def _offline_logprobs(fields: Mapping[str, Any], count: int) -> tuple[tuple[float, ...], ...]:
    """Their author's log-probabilities, in column offline_logprobs: a list per response, or for the only one."""
    given = fields.get("offline_logprobs")
    if not given or not count:
        return ()
    lists = given if isinstance(given, list) and isinstance(given[0], list) else [given]
    if not all(isinstance(one, list) and all(map(_is_logprob, one)) for one in lists):
        raise RowError("column 'offline_logprobs' should hold lists of log-probabilities, finite and not above 0")
    if len(lists) != count:
        raise RowError(f"column 'offline_logprobs' holds {len(lists)} lists for {count} responses in 'offline_output'")
    return tuple(tuple(map(float, one)) for one in lists)


def _is_logprob(value: Any) -> bool:
    return type(value) in (int, float) and -math.inf < value <= 0
