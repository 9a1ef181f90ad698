# Copyright 2026 the verl authors
# SPDX-License-Identifier: Apache-2.0
"""What a record must satisfy before a job starts: looked at row by row, without opening a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from verl.types import Record

VIDEO_MARK, IMAGE_MARK = "<video>", "<image>"

AnswerCheck = Callable[[Record], str | None]  # why the ground truth cannot be scored against, or None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCheck:
    """Names the problems of a record. `answer` is the reward's own opinion of the ground truth."""

    answer: AnswerCheck | None = None
    _found: dict[str, bool] = field(default_factory=dict)  # video files are shared by many rows

    def __call__(self, record: Record) -> Iterator[str]:
        """Every problem, with its cure."""
        yield from _marks(record)
        for path in record.videos:
            if not self._exists(path):
                yield f"there is no video {path}; correct the path, or set data.video_dir"
        reason = self.answer(record) if self.answer is not None else None
        if reason is not None:
            yield f"ground truth {record.answer!r:.80}: {reason}"

    def _exists(self, path: str) -> bool:
        if path not in self._found:
            self._found[path] = Path(path).is_file()
        return self._found[path]


def _marks(record: Record) -> Iterator[str]:
    """Media and the places where they go."""
    if record.images or IMAGE_MARK in record.problem:
        yield "images are not supported yet; leave the row out"
    marks, videos = record.problem.count(VIDEO_MARK), len(record.videos)
    if marks != videos:
        yield (
            f"the problem holds {marks} {VIDEO_MARK} for {videos} video{'s' * (videos != 1)};"
            f" write one {VIDEO_MARK} where each video goes"
        )
    if record.fields.get("data_type") == "video" and not videos:
        yield "data_type is 'video', but there is no video; is data.video_key the right column?"
