# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a record must satisfy before a job starts: looked at row by row, without opening its media."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from verl.types import IMAGE_MARK, VIDEO_MARK, Record

AnswerCheck = Callable[[Record], str | None]  # why the ground truth cannot be scored against, or None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCheck:
    """Names the problems of a record. `answer` is the reward's own opinion of the ground truth."""

    answer: AnswerCheck | None = None
    _found: dict[str, bool] = field(default_factory=dict)  # files are shared by many rows

    def __call__(self, record: Record) -> Iterator[str]:
        """Every problem, with its cure."""
        for kind, paths in (("video", record.videos), ("image", record.images)):
            yield from _marks(record, kind, len(paths))
            for path in paths:
                if not self._exists(path, kind):
                    yield f"there is no {kind} {path}; correct the path, or set data.{kind}_dir"
        reason = self.answer(record) if self.answer is not None else None
        if reason is not None:
            yield f"ground truth {record.answer!r:.80}: {reason}"

    def _exists(self, path: str, kind: str) -> bool:
        """A video may be a folder of frames."""
        if path not in self._found:
            self._found[path] = Path(path).is_file() or (kind == "video" and Path(path).is_dir())
        return self._found[path]


def _marks(record: Record, kind: str, count: int) -> Iterator[str]:
    """Media and the places where they go, which may be in the options too."""
    mark = VIDEO_MARK if kind == "video" else IMAGE_MARK
    marks = record.problem.count(mark) + sum(option.count(mark) for option in record.options)
    if marks != count:
        yield (
            f"the problem holds {marks} {mark} for {count} {kind}{'s' * (count != 1)};"
            f" write one {mark} where each {kind} goes, or none to have them put at the front"
        )
    if record.fields.get("data_type") == kind and not count:
        yield f"data_type is {kind!r}, but there is no {kind}; is data.{kind}_key the right column?"
